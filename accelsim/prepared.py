"""A compiled network ready to be run and reported, and how its time alone is kept in the cache.

For its time a program needs no constants: an entry holds the instruction words, what the report says about the layers,
and the hash of the whole program.
"""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from accelsim.arch import Arch
from accelsim.cache import Cache, key_of
from accelsim.compiler.pipeline import Compiled
from accelsim.errors import AccelsimError
from accelsim.isa.program import Program, program_hash, read_program, write_program
from accelsim.nn.facts import LayerFacts, NetworkFacts, layer_facts, network_facts
from accelsim.nn.graph import QGraph


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """``program`` lacks its constants when it comes from the cache (``constants`` is False)."""

    program: Program
    program_hash: str
    packing: dict[str, str]
    fused: dict[str, str]
    facts: tuple[LayerFacts, ...]
    network: NetworkFacts
    constants: bool = True

    @classmethod
    def of(cls, compiled: Compiled, graph: QGraph, batch: int) -> Prepared:
        """What a compilation made."""
        return cls(
            program=compiled.program, program_hash=program_hash(compiled.program), packing=compiled.packing,
            fused=compiled.fused, facts=layer_facts(graph, batch), network=network_facts(graph, batch),
        )  # fmt: skip

    def pack(self) -> bytes:
        """The entry of a cache: everything but the constants."""
        text = {
            "program_hash": self.program_hash,
            "packing": self.packing,
            "fused": self.fused,
            "facts": [dataclasses.asdict(row) for row in self.facts],
            "network": dataclasses.asdict(self.network),
        }
        buffer = io.BytesIO()
        write_program(replace(self.program, image=np.zeros(0, np.uint8), probes=()), buffer)
        line = json.dumps(text).encode()
        return line + b"\n" + buffer.getvalue()

    @classmethod
    def unpack(cls, content: bytes) -> Prepared | None:
        """What :meth:`pack` made; None for anything else."""
        line, _, rest = content.partition(b"\n")
        try:
            text: dict[str, Any] = json.loads(line)
            return cls(
                program=read_program(io.BytesIO(rest), "cache"),
                program_hash=text["program_hash"], packing=text["packing"], fused=text["fused"],
                facts=tuple(LayerFacts(**row) for row in text["facts"]), network=NetworkFacts(**text["network"]),
                constants=False,
            )  # fmt: skip
        except (AccelsimError, ValueError, KeyError, TypeError):
            return None


def time_key(digest: str, arch: Arch, options: Iterable[object]) -> str:
    """The entry of a network (by the digest of its files) on a machine."""
    machine = json.dumps(arch.to_dict() | {"name": ""}, sort_keys=True)
    return key_of("time", (digest, machine, *(repr(option) for option in options)))


def find(cache: Cache | None, key: str) -> Prepared | None:
    """The entry of a cache, if it is there and whole."""
    content = cache.read(key) if cache is not None else None
    return Prepared.unpack(content) if content is not None else None
