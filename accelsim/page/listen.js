// Wheel, pointer and keys of a timeline.

Timeline.prototype.listen = function listen() {
  const { canvas } = this;
  canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
  canvas.addEventListener("keydown", (event) => this.press(event));
  canvas.addEventListener("dblclick", (event) => this.zoom(0.25, this.cycleAt(event)));
  canvas.addEventListener("pointerleave", () => this.point(null));
  canvas.addEventListener("pointermove", (event) => {
    if (!event.buttons) this.point(this.placeAt(event));
  });
  this.dragging(canvas, (event, start) => {
    const by = ((start.x - event.offsetX) / (canvas.clientWidth - GUTTER)) * (start.to - start.from);
    this.show(start.from + by, start.to + by);
  }, (event) => this.choose(this.placeAt(event)));
  const jump = (event) => {
    const middle = ((event.offsetX - GUTTER) / (this.overview.clientWidth - GUTTER)) * this.run.cycles;
    const half = (this.view.to - this.view.from) / 2;
    this.show(middle - half, middle + half);
  };
  this.dragging(this.overview, jump, jump);
  this.pick.addEventListener("change", () => {
    if (this.pick.value) this.showLayer(Number(this.pick.value));
  });
  this.goto.addEventListener("change", () => this.showInstruction(Number(this.goto.value)));
};

/** `move` while the pointer is dragged, `click` when it is let go where it was pressed. */
Timeline.prototype.dragging = function dragging(canvas, move, click) {
  let start = null;
  let moved = false;
  canvas.addEventListener("pointerdown", (event) => {
    start = { x: event.offsetX, ...this.view };
    moved = false;
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!start) return;
    moved = moved || Math.abs(event.offsetX - start.x) > 3;
    if (moved) move(event, start);
  });
  canvas.addEventListener("pointerup", (event) => {
    if (start && !moved) click(event);
    start = null;
  });
  canvas.addEventListener("pointercancel", () => {
    start = null;
  });
};

/** Up zooms in at the pointer, down out; sideways moves. With all in view, down scrolls the page on. */
Timeline.prototype.wheel = function wheel(event) {
  if (event.deltaY > 0 && this.view.to - this.view.from >= this.run.cycles) return;
  if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) this.pan(event.deltaX / this.canvas.clientWidth);
  else this.zoom(Math.exp(Math.max(-1, Math.min(1, event.deltaY / 300))), this.cycleAt(event));
  event.preventDefault();
};

Timeline.prototype.press = function press(event) {
  const acts = {
    ArrowLeft: () => this.pan(-0.2),
    ArrowRight: () => this.pan(0.2),
    ArrowUp: () => this.turn(-1),
    ArrowDown: () => this.turn(1),
    "+": () => this.zoom(0.5),
    "=": () => this.zoom(0.5),
    "-": () => this.zoom(2),
    Home: () => this.show(0, this.run.cycles),
    g: () => this.trace(),
    n: () => this.step(1),
    p: () => this.step(-1),
    Enter: () => this.choose(this.chosen, true),
    Escape: () => this.choose(null),
  };
  if (!acts[event.key] || event.ctrlKey || event.altKey || event.metaKey) return;
  event.preventDefault();
  acts[event.key]();
};

/** Zoom to an instruction; numbers that there are not are left alone. */
Timeline.prototype.showInstruction = function showInstruction(index) {
  if (!(Number.isInteger(index) && index >= 0 && index < this.run.count)) return;
  this.choose({ row: this.run.unit[index], span: this.run.span[index] }, true);
};

Timeline.prototype.point = function point(place) {
  this.pointed = place;
  this.draw();
  this.say();
};

Timeline.prototype.cycleAt = function cycleAt(event) {
  const share = (event.offsetX - GUTTER) / (this.canvas.clientWidth - GUTTER);
  return this.view.from + Math.min(Math.max(share, 0), 1) * (this.view.to - this.view.from);
};

/** What lies under the pointer, null for nothing. */
Timeline.prototype.placeAt = function placeAt(event) {
  const row = rowAt(this.run, event.offsetY);
  const cycle = this.cycleAt(event);
  if (row === null || event.offsetX < GUTTER || cycle >= this.run.cycles) return null;
  if (row !== "layers") return this.run.tracks[row].count ? { row, span: spanAt(this.run.tracks[row], cycle) } : null;
  const layer = this.run.ends.findIndex((end) => end > cycle);
  return layer < 0 ? null : { row, span: layer };
};
