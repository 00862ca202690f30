"""What a run's time was bound by and which change of the machine would help, in words and figures.

Nothing is guessed: every advice is the outcome of a run with that change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from accelsim.arch import Arch
from accelsim.cyclesplit import CATEGORIES
from accelsim.dram_arch import plain
from accelsim.errors import AccelsimError, ConfigError
from accelsim.spelling import suggest

WORTHWHILE = 0.01
"""A change that saves less than this share of the cycles is not advised."""

_SHOWN_PERCENT = 1.0  # smaller parts of a cycle split are not named


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change of a machine, by dotted keys."""

    name: str
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What a change did: the run's cycles and those of its layers, by name; or the reason why it cannot be run."""

    change: Change
    cycles: int | None = None
    layers: Mapping[str, int] = field(default_factory=dict)
    reason: str = ""


def standard_changes(arch: Arch) -> tuple[Change, ...]:
    """Twice the bandwidth, with as many bursts under way as before and with twice as many (a port moves no more than
    ``outstanding`` bursts in a latency); twice the array in both directions; twice each buffer.
    """
    faster: dict[str, Any] = {"dram.bytes_per_cycle": plain(2 * arch.dram.bytes_per_cycle)}
    if arch.dram.kind == "banked":  # the device must be able to give what the port takes
        faster["dram.channels"] = 2 * arch.dram.device.channels
        faster["dram.peak"] = plain(2 * arch.dram.device.peak_bytes_per_s)
    rows, cols = arch.array.rows, arch.array.cols
    return (
        Change(name="2x DRAM bandwidth", settings=faster),
        Change(
            name="2x DRAM bandwidth and outstanding bursts",
            settings={**faster, "dram.outstanding": 2 * arch.dram.outstanding},
        ),
        Change(name="2x rows and columns of the array", settings={"array.rows": 2 * rows, "array.cols": 2 * cols}),
        Change(name="2x UB", settings={"ub.size": 2 * arch.ub_bytes}),
        Change(name="2x WGT", settings={"wgt.size": 2 * arch.wgt_bytes}),
        Change(name="2x ACC", settings={"acc.size": 2 * arch.acc_bytes}),
        Change(name="2x PARAM", settings={"param.size": 2 * arch.param_bytes}),
    )


def try_changes(
    arch: Arch, changes: Sequence[Change], run: Callable[[Arch], Mapping[str, Any]]
) -> tuple[Effect, ...]:
    """Run every change; ``run`` gives the report of a machine. One that is impossible, or on which the network does not
    fit, has its reason instead of cycles.
    """
    effects = []
    for change in changes:
        try:
            report = run(arch.replace(change.settings))
        except AccelsimError as error:
            effects.append(Effect(change=change, reason=str(error).partition("\n")[0]))
            continue
        layers = {row["name"]: row["cycles"] for row in report["layers"]}
        effects.append(Effect(change=change, cycles=report["totals"]["cycles"], layers=layers))
    return tuple(effects)


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """A report, what each change did, and by layer what the compiler chose (sentences)."""

    report: Mapping[str, Any]
    effects: tuple[Effect, ...]
    choices: Mapping[str, Sequence[str]]

    def best(self, layer: str | None = None) -> tuple[Effect, int] | None:
        """The change that saves most cycles of the run or of ``layer``, and how many; None if none is worthwhile."""
        before = self.report["totals"]["cycles"] if layer is None else self.row(layer)["cycles"]
        saved = [
            (effect, before - (effect.cycles if layer is None else effect.layers[layer]))
            for effect in self.effects
            if effect.cycles is not None
        ]
        best = max(saved, key=lambda pair: pair[1], default=None)
        # Of changes that save the same the first counts: it is the smallest of its kind.
        return best if best is not None and best[1] >= max(1, WORTHWHILE * before) else None

    def row(self, layer: str) -> Mapping[str, Any]:
        """The report's row of a layer. Raises ConfigError for an unknown one."""
        rows = {row["name"]: row for row in self.report["layers"]}
        if layer not in rows:
            raise ConfigError(layer, "", f"{self.report['workload']} has no such layer", suggest(layer, rows))
        return rows[layer]

    def lines(self, layer: str | None = None) -> list[str]:
        """The explanation as text: of ``layer``, or of the run and all its layers."""
        if layer is not None:
            return [*self._layer(self.row(layer)), "", *self._effects(layer)]
        told = [row for row in self.report["layers"] if row["cycles"] or (not row["host"] and row["verdict"])]
        lines = [self._headline(), self._advice(None), ""]
        for row in told:
            lines += [*self._layer(row), ""]
        return [*lines, *self._effects(None)]

    def to_dict(self, layer: str | None = None) -> dict[str, Any]:
        """The same as JSON data."""
        rows = [self.row(layer)] if layer is not None else [row for row in self.report["layers"] if row["cycles"]]
        return {
            "schema": 1,
            "workload": self.report["workload"],
            "arch": self.report["arch"]["name"],
            "cycles": self.report["totals"]["cycles"],
            "advice": self._advice_data(None),
            "layers": [
                {
                    "name": row["name"], "cycles": row["cycles"], "bound_cycles": row["bound_cycles"],
                    "bound_by": row["bound_by"], "verdict": row["verdict"], "cycle_split": row["cycle_split"],
                    "choices": list(self.choices.get(row["name"], ())), "advice": self._advice_data(row["name"]),
                }
                for row in rows
            ],
            "changes": [
                {
                    "name": effect.change.name, "settings": dict(effect.change.settings), "cycles": effect.cycles,
                    "layers": dict(effect.layers), "reason": effect.reason or None,
                }
                for effect in self.effects
            ],
        }  # fmt: skip

    # ------------------------------------------------------------------------------------------------ words

    def _headline(self) -> str:
        totals, machine = self.report["totals"], self.report["arch"]["name"]
        ratio = totals["cycles"] / totals["bound_cycles"] if totals["bound_cycles"] else 1.0
        text = f"{self.report['workload']} on {machine}: {totals['cycles']:,} cycles, {ratio:.2f}x the bound of "
        return text + f"{totals['bound_cycles']:,} ({_bound_text(totals['bound_by'])})"

    def _layer(self, row: Mapping[str, Any]) -> list[str]:
        name, cycles = row["name"], row["cycles"]
        whole = self.report["totals"]["cycles"]
        lines = [f"{name} ({row['kind']}): {cycles:,} cycles, {100 * cycles / whole:.1f} % of the run"]
        if row["host"]:
            return [*lines, f"  its work is done in {row['host']}"]
        if row["bound_cycles"] and row["macs"]:
            ratio = cycles / row["bound_cycles"]
            lines[0] += f", {ratio:.2f}x its bound of {row['bound_cycles']:,} ({_bound_text(row['bound_by'])})"
        lines += [f"  {row['verdict']}"] if row["verdict"] else []
        parts = _split_text(row)
        lines += [f"  its cycles: {parts}"] if parts else []
        lines += [f"  {text}" for text in self.choices.get(name, ())]
        return [*lines, f"  {self._advice(name)}"] if cycles else lines

    def _advice(self, layer: str | None) -> str:
        found = self.best(layer)
        if found is None:
            return f"none of the {len(self.effects)} changes tried saves a percent of it"
        effect, saved = found
        after = effect.cycles if layer is None else effect.layers[layer]
        assert after is not None
        less = f"{100 * saved / (after + saved):.0f} % less"
        return f"{effect.change.name} helps most: {after:,} cycles, {less} (run and measured)"

    def _advice_data(self, layer: str | None) -> dict[str, Any] | None:
        found = self.best(layer)
        return None if found is None else {"change": found[0].change.name, "saved_cycles": found[1]}

    def _effects(self, layer: str | None) -> list[str]:
        """What every change did, as a list."""
        before = self.report["totals"]["cycles"] if layer is None else self.row(layer)["cycles"]
        lines = [f"changes tried, {'the whole run' if layer is None else layer}:"]
        width = max(len(effect.change.name) for effect in self.effects) if self.effects else 0
        for effect in self.effects:
            if effect.cycles is None:
                lines.append(f"  {effect.change.name:{width}}  cannot be run: {effect.reason}")
                continue
            after = effect.cycles if layer is None else effect.layers[layer]
            share = f" ({after / before:.3f}x)" if before else ""
            lines.append(f"  {effect.change.name:{width}}  {after:,} cycles{share}")
        return lines


def _bound_text(bound_by: str) -> str:
    return "the array's peak" if bound_by == "array" else "the bytes that must cross the DRAM port"


def _split_text(row: Mapping[str, Any]) -> str:
    split, cycles = row["cycle_split"], row["cycles"]
    if not cycles:
        return ""
    shares = sorted(((100 * split[name] / cycles, name) for name in CATEGORIES), reverse=True)
    return ", ".join(f"{name} {share:.0f} %" for share, name in shares if share >= _SHOWN_PERCENT)
