// Draws the part of a run that is looked at: an axis of cycles, the layers, and two lanes per unit, above its work in
// the colours of layers, below its waits in greys. Where spans are narrower than a pixel, heights are shares of cycles.

const GUTTER = 52;
const AXIS = 22;
const LAYERS = 22;
const ROW = 46;
const LANES = { busy: { top: 3, height: 26 }, wait: { top: 31, height: 12 } };
const FONT = "11px system-ui, sans-serif";
const CROWD = 3; // fewer pixels than this per span, and spans are summed up

/** Height of the drawing in pixels. */
function paintHeight(run) {
  return AXIS + LAYERS + ROW * run.tracks.length + 4;
}

/** The row at a height: "layers", the number of a unit, or null. */
function rowAt(run, y) {
  if (y < AXIS) return null;
  if (y < AXIS + LAYERS) return "layers";
  const unit = Math.floor((y - AXIS - LAYERS) / ROW);
  return unit < run.tracks.length ? unit : null;
}

class Painter {
  /** `view` is {from, to} in cycles; `width` in pixels of the page, of which the canvas may have several each. */
  constructor(canvas, run, view, width, scale) {
    this.pen = canvas.getContext("2d");
    this.run = run;
    this.view = view;
    this.width = width;
    this.scale = scale;
    this.drawn = 0; // rectangles, so that tests can see that there are never too many
    this.perCycle = (width - GUTTER) / (view.to - view.from);
  }

  x(cycle) {
    return GUTTER + (cycle - this.view.from) * this.perCycle;
  }

  all(marked) {
    const { pen, run } = this;
    pen.setTransform(this.scale, 0, 0, this.scale, 0, 0);
    pen.clearRect(0, 0, this.width, paintHeight(run));
    pen.font = FONT;
    pen.textBaseline = "middle";
    this.axis();
    pen.save();
    pen.beginPath();
    pen.rect(GUTTER, 0, this.width - GUTTER, paintHeight(run));
    pen.clip();
    this.layers(AXIS + 2, LAYERS - 6, true);
    run.tracks.forEach((track, unit) => this.unit(track, AXIS + LAYERS + unit * ROW));
    if (marked) {
      this.mark(marked);
      this.token(marked);
    }
    pen.restore();
    this.names();
  }

  /** The layers of the whole run, and a frame around what is in view. */
  overview(shown) {
    const { pen } = this;
    pen.setTransform(this.scale, 0, 0, this.scale, 0, 0);
    pen.clearRect(0, 0, this.width, 16);
    this.layers(3, 10, false);
    const left = Math.min(this.x(shown.from), this.width - 4);
    pen.strokeStyle = "#000";
    pen.lineWidth = 2;
    pen.strokeRect(left + 1, 1, Math.max(this.x(shown.to) - left - 2, 2), 14);
  }

  names() {
    const { pen, run } = this;
    pen.fillStyle = "#222";
    pen.textAlign = "left";
    pen.fillText("layer", 2, AXIS + LAYERS / 2 - 1);
    run.tracks.forEach((track, unit) => pen.fillText(track.name, 2, AXIS + LAYERS + unit * ROW + 17));
  }

  axis() {
    const { pen, view } = this;
    const step = roundStep((view.to - view.from) / ((this.width - GUTTER) / 110));
    pen.textAlign = "center";
    for (let cycle = Math.ceil(view.from / step) * step; cycle <= view.to; cycle += step) {
      const x = Math.round(this.x(cycle)) + 0.5;
      pen.strokeStyle = "#e4e4e4";
      pen.beginPath();
      pen.moveTo(x, AXIS - 4);
      pen.lineTo(x, paintHeight(this.run));
      pen.stroke();
      pen.fillStyle = "#444";
      pen.fillText(count(cycle), Math.min(Math.max(x, GUTTER + 4), this.width - 34), AXIS / 2 - 1);
    }
  }

  /** The stretch of time each layer is charged with, in a row `height` pixels high. */
  layers(top, height, named) {
    this.run.layers.forEach((name, layer) => {
      const [start, stop] = bounds(this.run, "layers", layer);
      this.box(this.x(start), this.x(stop), top, height, this.run.colors[layer], named ? name : "");
    });
  }

  unit(track, top) {
    const { view, run } = this;
    const [first, end] = visible(track, view.from, view.to);
    const pixels = Math.max(1, Math.round((this.width - GUTTER) * this.scale));
    if ((end - first) * CROWD > this.width - GUTTER) {
      this.crowd(track, top, pixels);
      return;
    }
    for (let s = first; s < end; s++) {
      const lane = LANES[track.wait[s] ? "wait" : "busy"];
      if (run.waits[track.wait[s]] === "done") continue;
      const label = track.wait[s] ? run.waits[track.wait[s]] : spanName(run, track, s);
      this.box(this.x(track.starts[s]), this.x(track.starts[s + 1]), top + lane.top, lane.height,
        this.color(track, s), label);
    }
  }

  /** Shares of the cycles of each pixel; equal neighbours are one rectangle. */
  crowd(track, top, pixels) {
    const { view, run, pen } = this;
    const found = shares(track, run.waits.indexOf("done"), view.from, view.to, pixels);
    for (const kind of ["busy", "wait"]) {
      const lane = LANES[kind];
      for (let x = 0; x < pixels; ) {
        const color = found[`${kind}Span`][x] < 0 ? "" : this.color(track, found[`${kind}Span`][x]);
        const part = found[kind][x];
        const start = x++;
        while (x < pixels && found[kind][x] === part && color
          && found[`${kind}Span`][x] >= 0 && this.color(track, found[`${kind}Span`][x]) === color) x++;
        if (!color) continue;
        const height = Math.max(1, part * lane.height);
        pen.fillStyle = color;
        const under = top + lane.top + lane.height;
        pen.fillRect(GUTTER + start / this.scale, under - height, (x - start) / this.scale, height);
        this.drawn++;
      }
    }
  }

  color(track, s) {
    const { run } = this;
    if (track.wait[s]) return run.waitColors[track.wait[s]];
    const layer = run.layer[track.index[s]];
    return layer < 0 ? run.noLayer : run.colors[layer];
  }

  /** A rectangle with a gap at its end if there is room, and a label if it fits. */
  box(left, right, top, height, color, label) {
    const { pen } = this;
    const start = Math.max(left, GUTTER - 2);
    const stop = Math.min(right, this.width + 2);
    if (stop <= start) return;
    const width = Math.max(stop - start - (right - left > 4 ? 1 : 0), 0.5);
    pen.fillStyle = color;
    pen.fillRect(start, top, width, height);
    this.drawn++;
    if (!label || width < 24) return;
    pen.textAlign = "left";
    const shown = fitted(pen, label, width - 6);
    if (!shown) return;
    pen.fillStyle = inkOn(color);
    pen.fillText(shown, start + 3, top + height / 2 + 0.5);
  }

  /** From the landing of who gave the last token to the acceptance of who took it. */
  token(marked) {
    const { pen, run } = this;
    const from = giverOf(run, marked);
    if (!from) return;
    const middle = (row) => AXIS + LAYERS + row * ROW + LANES.busy.top + LANES.busy.height / 2;
    const [x, y] = [this.x(run.accepted[from.index]), middle(marked.row)];
    pen.strokeStyle = pen.fillStyle = "#000";
    pen.lineWidth = 1.5;
    pen.beginPath();
    pen.moveTo(this.x(run.landed[from.giver] + 1), middle(from.row));
    pen.lineTo(x, y);
    pen.stroke();
    pen.beginPath();
    pen.arc(x, y, 3.5, 0, 2 * Math.PI);
    pen.fill();
    pen.lineWidth = 1;
  }

  /** A frame around a span; {row, span} as the pointer or the keyboard chose it. */
  mark({ row, span }) {
    const { pen, run } = this;
    const layers = row === "layers";
    const [start, stop] = bounds(run, row, span);
    const lane = layers ? null : LANES[run.tracks[row].wait[span] ? "wait" : "busy"];
    const top = layers ? AXIS + 1 : AXIS + LAYERS + row * ROW + lane.top - 1.5;
    const height = layers ? LAYERS - 4 : lane.height + 3;
    const left = Math.max(this.x(start), GUTTER - 4);
    const right = Math.min(this.x(stop), this.width + 4);
    pen.strokeStyle = "#000";
    pen.lineWidth = 2;
    pen.strokeRect(left - 1, top, Math.max(right - left, 2) + 1, height);
    pen.lineWidth = 1;
  }
}

/** A span of a unit, as {row, span}, whose instruction was given its last token by which one; null if by none. */
function giverOf(run, { row, span }) {
  const index = row === "layers" ? -1 : run.tracks[row].index[span];
  const giver = index < 0 ? -1 : run.giver[index];
  return giver < 0 ? null : { row: run.unit[giver], span: run.span[giver], giver, index };
}

/** Mnemonic and number of the instruction that a busy span belongs to. */
function spanName(run, track, s) {
  const index = track.index[s];
  return `${run.asm(index).split(" ", 1)[0]} #${count(index)}`;
}

/** 1, 2 or 5 times a power of ten, at least `least` and at least one cycle. */
function roundStep(least) {
  const power = 10 ** Math.floor(Math.log10(Math.max(least, 1)));
  return [1, 2, 5, 10].map((times) => times * power).find((step) => step >= least);
}

/** As much of a text as fits in so many pixels; nothing if that is next to nothing. */
function fitted(pen, text, room) {
  if (pen.measureText(text).width <= room) return text;
  const fits = Math.floor((text.length * room) / pen.measureText(text).width) - 1;
  return fits < 3 ? "" : `${text.slice(0, fits)}…`;
}

/** Black or white, whichever is read more easily on a colour #rrggbb. */
function inkOn(color) {
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));
  return 0.299 * red + 0.587 * green + 0.114 * blue > 140 ? "#000" : "#fff";
}

/** A number with its thousands separated. */
function count(value) {
  return value.toLocaleString("en-US");
}
