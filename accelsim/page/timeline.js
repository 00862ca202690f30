// One run's timeline: its canvas, an overview with the part that is shown, buttons, and words about what is pointed at.

const LEAST = 8; // cycles in view at most zoomed in
const KEYS = "wheel, + and −: zoom; drag, ← and →: move; ↑ and ↓: unit; n and p: next and previous; " +
  "g: who gave its last token; Enter: zoom to it; Home: whole run; click: keep; Escape: let go";

class Timeline {
  constructor(section, run) {
    this.section = section;
    this.run = run;
    this.view = { from: 0, to: Math.max(run.cycles, LEAST) };
    this.chosen = null; // {row, span} kept by a click or a key
    this.pointed = null; // {row, span} under the pointer
    this.build();
    this.listen();
    new ResizeObserver(() => this.draw()).observe(this.canvas);
    this.say();
  }

  build() {
    this.range = make("span", { class: "range" });
    this.canvas = make("canvas", { tabindex: 0, role: "application", "aria-label": `Timeline of the units. ${KEYS}` });
    this.overview = make("canvas", { class: "overview", "aria-hidden": "true", title: "The whole run; drag to move" });
    this.words = make("dl", { class: "words" });
    this.section.replaceChildren(
      make("div", { class: "tools" }, [...this.buttons(), ...this.fields(), this.range]),
      this.canvas,
      this.overview,
      make("p", { class: "legend" }, this.legend()),
      this.words,
      make("p", { class: "keys" }, [KEYS]),
    );
  }

  buttons() {
    const acts = [
      ["−", "Zoom out", () => this.zoom(2)],
      ["+", "Zoom in", () => this.zoom(0.5)],
      ["◀", "Earlier", () => this.pan(-0.4)],
      ["▶", "Later", () => this.pan(0.4)],
      ["whole run", "Show all cycles", () => this.show(0, this.run.cycles)],
      ["previous", "Previous instruction or wait of the unit", () => this.step(-1)],
      ["next", "Next instruction or wait of the unit", () => this.step(1)],
    ];
    return acts.map(([text, title, act]) => {
      const button = make("button", { type: "button", title }, [text]);
      button.addEventListener("click", act);
      return button;
    });
  }

  /** Where to choose a layer and an instruction. */
  fields() {
    const layers = this.run.layers.map((name, layer) => make("option", { value: layer }, [name]));
    const none = make("option", { value: "" }, ["layer ..."]);
    this.pick = make("select", { "aria-label": "Show a layer" }, [none, ...layers]);
    this.goto = make("input", {
      type: "number", min: 0, max: this.run.count - 1, placeholder: "instruction", "aria-label": "Show an instruction",
    });
    return [this.pick, this.goto];
  }

  /** The reasons to wait; tokens look alike, whoever gives them. */
  legend() {
    const named = this.run.waits.map((name, wait) => [name.split(":", 1)[0], this.run.waitColors[wait]]);
    const waits = new Map(named.filter(([name]) => name && name !== "done"));
    return [...waits].map(([name, color]) => {
      const swatch = make("i", { class: "swatch", style: `background:${color}` });
      return make("span", {}, [swatch, `waits: ${name}`]);
    });
  }

  /** Show the cycles [from, to), as far as they exist, and at least a few. */
  show(from, to) {
    const whole = Math.max(this.run.cycles, LEAST);
    const length = Math.min(Math.max(to - from, LEAST), whole);
    const start = Math.min(Math.max(from, 0), whole - length);
    this.view = { from: start, to: start + length };
    this.draw();
  }

  /** Make the view `times` as long; the cycle `at` (its middle if not given) stays where it is. */
  zoom(times, at = (this.view.from + this.view.to) / 2) {
    const length = Math.min(Math.max((this.view.to - this.view.from) * times, LEAST), Math.max(this.run.cycles, LEAST));
    const share = (at - this.view.from) / (this.view.to - this.view.from);
    this.show(at - share * length, at + (1 - share) * length);
  }

  /** Move by a share of what is shown. */
  pan(share) {
    const by = share * (this.view.to - this.view.from);
    this.show(this.view.from + by, this.view.to + by);
  }

  showLayer(layer) {
    const [start, stop] = bounds(this.run, "layers", layer);
    const room = Math.max((stop - start) * 0.03, 4);
    this.choose({ row: "layers", span: layer });
    this.show(start - room, stop + room);
  }

  /** Choose something and make it visible, a fifth of the view long if it is zoomed to. */
  choose(place, zoomed = false) {
    this.chosen = place;
    this.pointed = null;
    if (place) {
      const [start, stop] = bounds(this.run, place.row, place.span);
      const shown = start >= this.view.from && stop <= this.view.to;
      const half = zoomed ? (stop - start) * 2.5 : (this.view.to - this.view.from) / 2;
      const middle = zoomed ? (start + stop) / 2 : start;
      if (zoomed || (!shown && place.row !== "layers")) this.show(middle - half, middle + half);
    }
    this.draw();
    this.say();
  }

  /** The next (1) or previous (-1) span of the chosen unit, from the middle of the view if none is chosen. */
  step(by) {
    const middle = (this.view.from + this.view.to) / 2;
    if (!this.chosen || this.chosen.row === "layers") {
      this.choose({ row: 0, span: spanAt(this.run.tracks[0], middle) });
      return;
    }
    const { row, span } = this.chosen;
    this.choose({ row, span: Math.min(Math.max(span + by, 0), this.run.tracks[row].count - 1) });
  }

  /** From what was chosen to the instruction that gave its last token: what it waited for, if it waited. */
  trace() {
    const from = this.chosen && giverOf(this.run, this.chosen);
    if (from) this.choose({ row: from.row, span: from.span });
  }

  /** The same cycle on the unit below (1) or above (-1). */
  turn(by) {
    if (!this.chosen || this.chosen.row === "layers") return this.step(0);
    const { row, span } = this.chosen;
    const other = Math.min(Math.max(row + by, 0), this.run.tracks.length - 1);
    return this.choose({ row: other, span: spanAt(this.run.tracks[other], this.run.tracks[row].starts[span]) });
  }

  draw() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = 0;
      this.paint();
    });
  }

  paint() {
    const { canvas, overview, run, view } = this;
    const painter = new Painter(canvas, run, view, ...fit(canvas, paintHeight(run)));
    painter.all(this.pointed || this.chosen);
    const whole = { from: 0, to: Math.max(run.cycles, LEAST) };
    new Painter(overview, run, whole, ...fit(overview, 16)).overview(view);
    const shown = [Math.floor(view.from), Math.ceil(view.to), run.cycles].map(count);
    this.range.textContent = `cycles ${shown[0]} to ${shown[1]} of ${shown[2]}`;
    Object.assign(canvas.dataset, { from: view.from, to: view.to, drawn: painter.drawn });
  }

  say() {
    const place = this.pointed || this.chosen;
    const rows = place ? describe(this.run, place) : [["", "Point at the work of a unit, or choose it with a click or n.", "short"]];
    this.words.replaceChildren(...rows.flatMap(([name, text, kind]) =>
      [make("dt", {}, [name]), make("dd", kind ? { class: kind } : {}, [text])]));
    // Read out what keys choose, not everything the pointer passes.
    this.words.setAttribute("aria-live", this.pointed ? "off" : "polite");
  }
}

/** An element with attributes and children (elements or texts). */
function make(name, attributes = {}, children = []) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** Give a canvas a pixel for each of the screen's; returns its width in those of the page, and how many of the
 * screen's that is each. */
function fit(canvas, height) {
  const scale = window.devicePixelRatio || 1;
  const width = canvas.clientWidth;
  canvas.style.height = `${height}px`;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  return [width, scale];
}
