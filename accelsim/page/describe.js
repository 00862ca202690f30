// What is under the pointer, in words: entries [name, text], two in a line unless the third is "short" or "long".

/** `row` is "layers" or a unit, `span` the place in it. */
function describe(run, { row, span }) {
  if (row === "layers") return describeLayer(run, span);
  const track = run.tracks[row];
  return track.wait[span] ? describeWait(run, track, span) : describeWork(run, track, span);
}

function describeLayer(run, layer) {
  return [["layer", run.layers[layer]], ["charged with", cycles(...bounds(run, "layers", layer))]];
}

function describeWork(run, track, span) {
  const index = track.index[span];
  const from = run.giver[index];
  return [
    ["instruction", `#${count(index)} on ${track.name}`],
    ["busy", cycles(track.starts[span], track.starts[span + 1])],
    ["assembly", run.asm(index), "long"],
    ["layer", layerName(run, index)],
    ["tile", run.tile(index) || "-"],
    ["accepted", `cycle ${count(run.accepted[index])}`],
    ["landed", `cycle ${count(run.landed[index])}`],
    ["waited before", waited(run, track, span) || "not at all"],
    ["last token from", from < 0 ? "nobody" : brief(run, from)],
  ];
}

function describeWait(run, track, span) {
  const index = track.index[span];
  const wait = run.waits[track.wait[span]];
  const time = ["waits", cycles(track.starts[span], track.starts[span + 1])];
  const why = ["wait reason", `${track.name} ${reason(run, wait, index)}`, "short"];
  if (index < 0) return [why, time];
  return [
    why,
    time,
    ["then accepts", `#${count(index)}`],
    ["assembly", run.asm(index), "long"],
    ["layer", layerName(run, index)],
    ["tile", run.tile(index) || "-"],
  ];
}

const REASONS = {
  queue: "queue: no instruction has come yet",
  port: "port: the word of its instruction waits for the DRAM port",
  drain: "drain: earlier work of the unit must first make room",
  bank: "bank: another unit holds banks of UB",
  done: "done: nothing is left to do",
};

function reason(run, wait, index) {
  if (!wait.startsWith("token:")) return REASONS[wait] || wait;
  const giver = run.giver[index];
  const given = giver < 0 ? "" : `, given by ${brief(run, giver)} when it landed in cycle ${count(run.landed[giver])}`;
  return `${wait}: a token of ${wait.slice(6)}${given}`;
}

/** The waits of an instruction stand right before its work. */
function waited(run, track, span) {
  const parts = [];
  for (let s = span - 1; s >= 0 && track.wait[s] && track.index[s] === track.index[span]; s--) {
    parts.unshift(`${run.waits[track.wait[s]]} ${count(track.starts[s + 1] - track.starts[s])}`);
  }
  return parts.length ? `${parts.join(", ")} cycles` : "";
}

function brief(run, index) {
  return `#${count(index)} ${run.asm(index).split(" ", 1)[0]} (${origin(run, index)})`;
}

function origin(run, index) {
  return `${layerName(run, index)} ${run.tile(index)}`.trim();
}

function layerName(run, index) {
  return run.layer[index] < 0 ? "none" : run.layers[run.layer[index]];
}

function cycles(start, stop) {
  return `cycles ${count(start)} to ${count(stop - 1)} (${count(stop - start)})`;
}
