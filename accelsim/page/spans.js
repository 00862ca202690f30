// Which spans of a track lie where, and what is left of them when several share a pixel.

/** The span that holds a cycle, by halving; the first or last one for cycles outside. */
function spanAt(track, cycle) {
  let low = 0;
  let high = track.count - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (track.starts[middle] <= cycle) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** First cycle, and the one after the last, of a span of a row: a unit, or "layers". */
function bounds(run, row, span) {
  if (row === "layers") return [span ? run.ends[span - 1] : 0, run.ends[span]];
  return run.tracks[row].starts.slice(span, span + 2);
}

/** The spans from s to before e that overlap the cycles [from, to). */
function visible(track, from, to) {
  if (!track.count) return [0, 0];
  return [spanAt(track, from), spanAt(track, to - 1e-9) + 1];
}

/**
 * What each of `width` equal stretches of [from, to) holds: `busy` and `wait` are the shares of its cycles, `busySpan`
 * and `waitSpan` the span with the most of them (-1: none). Time over for good ("done") counts as neither.
 */
function shares(track, done, from, to, width) {
  const found = {
    busy: new Float64Array(width),
    wait: new Float64Array(width),
    busySpan: new Int32Array(width).fill(-1),
    waitSpan: new Int32Array(width).fill(-1),
  };
  const most = { busy: new Float64Array(width), wait: new Float64Array(width) };
  const cycles = (to - from) / width;
  const [first, end] = visible(track, from, to);
  for (let s = first; s < end; s++) {
    if (track.wait[s] === done) continue;
    const kind = track.wait[s] ? "wait" : "busy";
    const start = Math.max(track.starts[s], from);
    const stop = Math.min(track.starts[s + 1], to);
    const last = Math.min(width, Math.ceil((stop - from) / cycles));
    for (let x = Math.floor((start - from) / cycles); x < last; x++) {
      const part = Math.min(stop, from + (x + 1) * cycles) - Math.max(start, from + x * cycles);
      found[kind][x] += part / cycles;
      if (part > most[kind][x]) {
        most[kind][x] = part;
        found[`${kind}Span`][x] = s;
      }
    }
  }
  return found;
}
