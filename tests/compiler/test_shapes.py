"""Networks whose tensors are seen in two ways, and loops beyond an instruction's fields, from file to verdict."""

from __future__ import annotations

import pytest

from accelsim import runner

NETWORKS = {
    "whole-image conv, padded reader": ([2, 2, 3], ["kind: conv, channels: 3, kernel: 2",
                                                    "kind: conv, channels: 2, kernel: 3, padding: same"]),
    "flatten, padded reader": ([4, 4, 2], ["kind: maxpool, kernel: 2, stride: 2", "kind: flatten",
                                           "kind: conv, channels: 2, kernel: 3, padding: 1"]),
    "table on a vector, padded reader": ([1, 1, 2], ["kind: tanh", "kind: conv, channels: 2, kernel: 3, padding: 1"]),
    "fc, padded reader, fc": ([2, 2, 3], ["kind: fc, channels: 7", "kind: conv, channels: 2, kernel: 3, padding: 1",
                                          "kind: fc, channels: 5"]),
    "window of 66": ([70, 70, 2], ["kind: maxpool, kernel: 66", "kind: conv, channels: 2, kernel: 3, padding: 1"]),
    "global average of 100": ([100, 100, 3], ["kind: avgpool, kernel: 100"]),
    "row of 5000": ([3, 5000, 2], ["kind: maxpool, kernel: 1"]),
    "16400 channels": ([2, 2, 16400], ["kind: avgpool, kernel: 2"]),
}  # fmt: skip


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", NETWORKS)
def test_runs_bit_exact(name, batch, tmp_path):
    shape, layers = NETWORKS[name]
    lines = ["schema: 1", f"input: {{shape: {shape}}}", "layers:"]
    lines += [f"  - {{name: l{i}, {layer}}}" for i, layer in enumerate(layers)]
    path = tmp_path / "net.yaml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    result = runner.run(path, arch="edge", batch=batch)
    assert result.report["bit_exact"], result.mismatch
    assert result.report["totals"]["cycles"] >= result.report["totals"]["bound_cycles"]
