"""Operations to try the compiler's passes on, without a network around them."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from accelsim.compiler.ops import MatOp, VecOp, Window


def mat_op(
    *, height: int, width: int, channels: int, out: int, kernel=(1, 1), stride=(1, 1), pads=(0, 0, 0, 0),
    dilation=(1, 1), groups: int = 1, batched: bool = False, seed: int = 0, table: bool = False,
) -> MatOp:  # fmt: skip
    """A convolution with random weights, or (batched) a fully connected layer over a row of ``width`` pixels."""
    rng = np.random.default_rng(seed)
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation)]
    out_h = (height + pads[0] + pads[1] - spans[0]) // stride[0] + 1
    out_w = (width + pads[2] + pads[3] - spans[1]) // stride[1] + 1
    window = Window(
        in_h=height, in_w=width, in_c=channels, out_h=out_h, out_w=out_w, out_c=out, kernel=kernel, stride=stride,
        pads=pads, dilation=dilation,
    )  # fmt: skip
    return MatOp(
        name="op", layer="op", input="x", output="y", raw="y", window=window, batched=batched,
        weights=rng.integers(-128, 128, (out, *kernel, channels // groups)).astype(np.int8),
        bias=rng.integers(-1000, 1000, out).astype(np.int32), scale=rng.uniform(0.001, 0.1, out).astype(np.float32),
        groups=groups, zero=3, lo=-128, hi=127,
        table=np.arange(-128, 128).astype(np.int8) if table else None,
    )  # fmt: skip


def pool_op(*, height: int, width: int, channels: int, kind: str = "max", kernel=(2, 2), stride=(2, 2)) -> VecOp:
    """A pooling without padding."""
    window = Window(
        in_h=height, in_w=width, in_c=channels, out_h=(height - kernel[0]) // stride[0] + 1,
        out_w=(width - kernel[1]) // stride[1] + 1, out_c=channels, kernel=kernel, stride=stride,
    )  # fmt: skip
    return VecOp(name="op", layer="op", input="x", output="y", raw="y", window=window, batched=False, kind=kind)


@st.composite
def mat_ops(draw: st.DrawFn, max_hw: int = 8, max_c: int = 9) -> MatOp:
    """Convolutions of odd shapes, padding on either side, stride, dilation or groups; or fully connected layers."""
    seed = draw(st.integers(0, 2**16))
    if draw(st.integers(0, 4)) == 0:
        channels, out = draw(st.integers(1, 70)), draw(st.integers(1, 40))
        width = draw(st.integers(1, 5))
        return mat_op(height=1, width=width, channels=channels, out=out, batched=True, seed=seed)
    groups = draw(st.sampled_from((1, 1, 1, 2, 3)))
    kernel = (draw(st.integers(1, 3)), draw(st.integers(1, 4)))
    dilation = draw(st.sampled_from(((1, 1), (1, 1), (2, 1), (1, 2), (2, 3))))
    pads = tuple(draw(st.integers(0, 2)) for _ in range(4))
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation)]
    return mat_op(
        height=draw(st.integers(max(1, spans[0] - pads[0]), spans[0] + max_hw)),
        width=draw(st.integers(max(1, spans[1] - pads[2]), spans[1] + max_hw)),
        channels=groups * draw(st.integers(1, max_c // groups)), out=groups * draw(st.integers(1, max_c // groups)),
        kernel=kernel, stride=(draw(st.integers(1, 3)), draw(st.integers(1, 3))), pads=pads, dilation=dilation,
        groups=groups, seed=seed,
    )  # fmt: skip
