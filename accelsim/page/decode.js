// Unpacks the timeline of a run: the other half of pack.py and timeline.py, which describe the columns.

/** The bytes of zlib data in base64. Rejects where the browser has no DecompressionStream, or the data is damaged. */
async function inflate(base64) {
  if (typeof DecompressionStream === "undefined") {
    throw new Error("it has no DecompressionStream, which browsers have since 2023");
  }
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

class Reader {
  constructor(bytes) {
    this.bytes = bytes;
    this.at = 0;
  }

  /** The next varint; products instead of shifts, which would cut at 32 bits. */
  number() {
    let value = 0;
    for (let unit = 1; ; unit *= 128) {
      const byte = this.bytes[this.at++];
      value += (byte & 127) * unit;
      if (byte < 128) return value;
    }
  }

  /** A column of numbers. */
  plain() {
    const column = new Float64Array(this.number());
    for (let i = 0; i < column.length; i++) column[i] = this.number();
    return column;
  }

  /** The next difference of either sign. */
  difference() {
    const folded = this.number();
    return folded % 2 ? -(folded + 1) / 2 : folded / 2;
  }

  /** A column of numbers that were stored as differences. */
  rising() {
    const column = new Float64Array(this.number());
    let value = 0;
    for (let i = 0; i < column.length; i++) column[i] = value += this.difference();
    return column;
  }

  /** A function from a place to its text. */
  texts(templates) {
    const template = this.plain();
    const rows = new Float64Array(template.length); // place among the texts of the same template
    const counts = templates.map(() => 0);
    for (let i = 0; i < template.length; i++) rows[i] = counts[template[i]]++;
    const size = this.number();
    const gaps = templates.map((pieces, t) => pieces.slice(1).map(() => this.gap(counts[t])));
    const read = gaps.reduce((sum, columns, t) => sum + columns.length * counts[t], 0);
    if (read !== size) throw new Error("its data is damaged");
    return (i) => {
      const t = template[i];
      return templates[t].map((piece, g) => (g ? gaps[t][g - 1][rows[i]] : "") + piece).join("");
    };
  }

  /** The numbers of one gap: as a rising column, without its length. */
  gap(count) {
    const column = new Float64Array(count);
    let value = 0;
    for (let i = 0; i < count; i++) column[i] = value += this.difference();
    return column;
  }
}

/**
 * A run to look at. A unit's spans tile it: span s lasts from cycle starts[s] to before starts[s + 1], is busy if
 * wait[s] is 0, and belongs to instruction index[s] (-1: none). Of instruction i there are asm(i), tile(i), layer[i]
 * (-1: none), accepted[i], landed[i], giver[i] (who gave it its last token, -1: it took none), unit[i] and span[i].
 */
async function decode(data) {
  const reader = new Reader(await inflate(data.columns));
  const run = { ...data, columns: "" };
  run.asm = reader.texts(data.asm);
  run.tile = reader.texts(data.tile);
  run.layer = reader.rising().map((layer) => layer - 1);
  const lasts = reader.plain();
  run.giver = reader.plain().map((back, i) => (back ? i - back : -1));
  run.count = lasts.length;
  run.accepted = new Float64Array(run.count);
  run.unit = new Uint8Array(run.count);
  run.span = new Float64Array(run.count);
  run.tracks = data.units.map((name, unit) => track(reader, run, name, unit));
  run.landed = run.accepted.map((cycle, i) => cycle + lasts[i]);
  return run;
}

function track(reader, run, name, unit) {
  const index = reader.rising();
  const wait = reader.plain();
  const lengths = reader.plain();
  const starts = new Float64Array(lengths.length + 1);
  for (let s = 0; s < lengths.length; s++) {
    starts[s + 1] = starts[s] + lengths[s];
    if (wait[s] === 0) {
      run.accepted[index[s]] = starts[s];
      run.unit[index[s]] = unit;
      run.span[index[s]] = s;
    }
  }
  return { name, index, wait, starts, count: lengths.length };
}
