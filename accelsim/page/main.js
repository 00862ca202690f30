// Puts tables and timelines to work. A timeline inside a closed part of the page is made when that part is opened.

const data = JSON.parse(document.getElementById("data").textContent);
document.querySelectorAll("table.sortable").forEach(sortable);
document.querySelectorAll("section.timeline").forEach((section) => {
  const closed = section.closest("details:not([open])");
  if (closed) closed.addEventListener("toggle", () => start(section), { once: true });
  else start(section);
});

async function start(section) {
  try {
    const timeline = new Timeline(section, await decode(data[section.dataset.run - 1]));
    connect(section.parentElement, timeline);
    section.dataset.ready = "yes";
  } catch (error) {
    const text = `This browser cannot show the timeline: ${error.message}. Tables and plots are complete without it.`;
    section.replaceChildren(make("p", { class: "note" }, [text]));
  }
}

/** Names of layers in the table show the layer in the timeline; those that took no time of their own cannot. */
function connect(part, timeline) {
  part.querySelectorAll("button.layer").forEach((button) => {
    const layer = timeline.run.layers.indexOf(button.dataset.layer);
    button.disabled = layer < 0;
    button.addEventListener("click", () => {
      timeline.showLayer(layer);
      timeline.canvas.focus({ preventScroll: true });
      timeline.section.scrollIntoView({ block: "nearest" });
    });
  });
}
