"""Plans as text, for the cache: what the search decided, without what can be derived from it again."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import numpy as np

from accelsim.arch import Arch
from accelsim.compiler.chain import chain_of
from accelsim.compiler.home import home_of
from accelsim.compiler.ops import Lowered, MatOp
from accelsim.compiler.packing import packed
from accelsim.compiler.place import Placement
from accelsim.compiler.plan import ChainPlan, Plan, Room

VERSION = 1


def structure(lowered: Lowered) -> str:
    """Everything about a network that plans can depend on: operations and shapes, not the values of weights."""
    ops = [
        [type(op).__name__, *(_text(getattr(op, f.name)) for f in fields(op))] for op in lowered.ops
    ]  # fmt: skip
    tensors = {name: tensor.shape for name, tensor in lowered.tensors.items()}
    parts = {name: (part.whole, part.first) for name, part in lowered.parts.items()}
    return json.dumps([ops, tensors, lowered.root, lowered.inputs, lowered.outputs, lowered.batch, parts])


def _text(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"array {value.shape}"
    return "number" if isinstance(value, np.floating) else repr(value)


def dump_plans(placement: Placement, plans: tuple[ChainPlan, ...]) -> bytes:
    """The text of a placement with the plan chosen for every chain."""
    data = {
        "version": VERSION,
        "chains": [[chain.batched, [op.name for op in chain.ops]] for chain in placement.chains],
        "homes": {home.tensor: [home.base, home.images] for home in placement.homes.values()},
        "workspace": placement.workspace,
        "rooms": [[sorted(room.on_chip), room.ub_bytes] for room in placement.rooms],
        "plans": [_chain_data(plan) for plan in plans],
    }
    return json.dumps(data).encode()


def _chain_data(plan: ChainPlan) -> dict[str, Any]:
    return {
        "plans": {name: _plan_data(part) for name, part in plan.plans.items()},
        "held": plan.held,
        "places": [[*key, offset] for key, offset in plan.places.items()],
        **{name: getattr(plan, name) for name in _NUMBERS},
    }


_NUMBERS = ("bytes", "side_rows", "cycles", "busy", "words", "energy_pj", "cost")
_PLAN = tuple(f.name for f in fields(Plan) if f.name != "packing")


def _plan_data(plan: Plan) -> dict[str, Any]:
    packing = plan.packing
    form = None if packing is None else [packing.pixels, packing.channels, packing.odd, packing.side]
    return {**{name: getattr(plan, name) for name in _PLAN}, "packing": form}


def load_plans(text: bytes, lowered: Lowered, arch: Arch) -> tuple[Placement, tuple[ChainPlan, ...]] | None:
    """What :func:`dump_plans` wrote for the same network and machine; None for anything else."""
    try:
        data = json.loads(text)
        return _load(data, lowered, arch) if data["version"] == VERSION else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _load(data: dict[str, Any], lowered: Lowered, arch: Arch) -> tuple[Placement, tuple[ChainPlan, ...]]:
    ops = {op.name: op for op in lowered.ops}
    plans: list[ChainPlan] = []
    for entry in data["plans"]:
        parts = {}
        for name, fields_of in entry["plans"].items():
            form, op = fields_of.pop("packing"), ops[name]
            packing = None
            if form is not None and isinstance(op, MatOp):
                packing = packed(op, arch, pixels=form[0], channels=form[1], odd=form[2], side=form[3])
            parts[name] = Plan(packing=packing, **fields_of)
        places = {(kind, name): offset for kind, name, offset in entry["places"]}
        numbers = {name: entry[name] for name in _NUMBERS}
        plans.append(ChainPlan(plans=parts, held=entry["held"], places=places, **numbers))
    homes = {
        tensor: home_of(lowered, tensor, base=base, images=images) for tensor, (base, images) in data["homes"].items()
    }
    placement = Placement(
        homes=homes,
        chains=tuple(
            chain_of([ops[name] for name in names], lowered, whole=whole) for whole, names in data["chains"]
        ),
        plans=tuple((plan,) for plan in plans),
        workspace=tuple(data["workspace"]),
        rooms=tuple(Room(on_chip=frozenset(names), ub_bytes=size) for names, size in data["rooms"]),
    )
    return placement, tuple(plans)
