"""Operations to try the compiler's passes on, without a network around them."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from accelsim.compiler.chain import Chain, chain_of
from accelsim.compiler.ops import AddOp, DepthwiseOp, Lowered, LrnOp, MatOp, Op, VecOp, Window
from accelsim.nn.graph import Tensor

NO_PADS = (0, 0, 0, 0)


def window_of(
    *, height: int, width: int, channels: int, out: int, kernel=(1, 1), stride=(1, 1), pads=NO_PADS, dilation=(1, 1)
) -> Window:  # fmt: skip
    """The window with the output size that follows."""
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation)]
    return Window(
        in_h=height, in_w=width, in_c=channels, out_h=(height + pads[0] + pads[1] - spans[0]) // stride[0] + 1,
        out_w=(width + pads[2] + pads[3] - spans[1]) // stride[1] + 1, out_c=out, kernel=kernel, stride=stride,
        pads=pads, dilation=dilation,
    )  # fmt: skip


def names(name: str, inputs: tuple[str, ...]) -> dict:
    """The fields that tell an operation's place; its output is called ``<name>.out``."""
    output = f"{name}.out"
    return {"name": name, "layer": name, "inputs": inputs, "output": output, "raw": output}


def mat_op(
    *, out: int, groups: int = 1, batched: bool = False, seed: int = 0, table: bool = False, name: str = "op",
    inputs=("x",), **window,
) -> MatOp:  # fmt: skip
    """A convolution with random weights, or (batched) a fully connected layer over a row of ``width`` pixels."""
    rng = np.random.default_rng(seed)
    found = window_of(out=out, **window)
    return MatOp(
        **names(name, inputs), window=found, batched=batched,
        weights=rng.integers(-128, 128, (out, *found.kernel, found.in_c // groups)).astype(np.int8),
        bias=rng.integers(-1000, 1000, out).astype(np.int32), scale=rng.uniform(0.001, 0.1, out).astype(np.float32),
        groups=groups, zero_in=int(rng.integers(-128, 128)), zero=3, lo=-128, hi=127,
        table=np.arange(-128, 128).astype(np.int8) if table else None,
    )  # fmt: skip


def pool_op(*, kind: str = "max", name: str = "op", inputs=("x",), channels: int, **window) -> VecOp:
    """A pooling; a 2x2 one if nothing else is said."""
    found = window_of(channels=channels, out=channels, **({"kernel": (2, 2), "stride": (2, 2)} | window))
    return VecOp(**names(name, inputs), window=found, batched=False, kind=kind)


def table_op(*, name: str = "op", inputs=("x",), channels: int, observed: bool = True, **window) -> VecOp:
    """A table on every value."""
    found = window_of(channels=channels, out=channels, **window)
    return VecOp(
        **names(name, inputs), window=found, batched=False, kind="lut", observed=observed,
        table=np.arange(-128, 128).astype(np.int8),
    )  # fmt: skip


def depthwise_op(*, name: str = "op", inputs=("x",), channels: int, seed: int = 0, **window) -> DepthwiseOp:
    """A convolution of every channel by itself."""
    rng = np.random.default_rng(seed)
    found = window_of(channels=channels, out=channels, **window)
    return DepthwiseOp(
        **names(name, inputs), window=found, batched=False, zero_in=5, zero=3, lo=-128, hi=127,
        weights=rng.integers(-128, 128, (channels, *found.kernel)).astype(np.int8),
        bias=rng.integers(-1000, 1000, channels).astype(np.int32), scale=np.full(channels, 0.01, np.float32),
    )  # fmt: skip


def add_op(*, name: str = "op", inputs=("x", "z"), channels: int, height: int, width: int) -> AddOp:
    """The sum of two tensors."""
    found = window_of(height=height, width=width, channels=channels, out=channels)
    return AddOp(
        **names(name, inputs), window=found, batched=False, factors=(1 << 22, 1 << 21), bias=7,
        scale=np.float32(2**-23), zero=3, lo=-128, hi=127,
    )  # fmt: skip


def lrn_op(
    *, name: str = "op", inputs=("x", "squares"), channels: int, height: int = 2, width: int = 2, size: int = 5
) -> LrnOp:
    """A normalisation of the first input by its squares, the second one."""
    found = window_of(height=height, width=width, channels=channels, out=channels)
    return LrnOp(
        **names(name, inputs), window=found, batched=False, size=size, before=size // 2, index_scale=np.float32(0.1),
        index_zero=-128, factor=np.arange(-128, 128).astype(np.int8), scale=np.float32(0.1), zero_in=5, zero=3,
    )  # fmt: skip


def lowered_of(*ops: Op, batch: int = 1, outputs: tuple[str, ...] | None = None) -> Lowered:
    """The operations as a network. What none of them makes is an input; what none reads is an output."""
    shapes = {}
    for op in ops:
        w = op.window
        height, width = ((1, 1), (1, 1)) if op.batched else ((w.in_h, w.in_w), (w.out_h, w.out_w))
        shapes |= dict.fromkeys(op.inputs, (*height, w.in_c)) | {op.output: (*width, w.out_c)}
    made, read = {op.output for op in ops}, {name for op in ops for name in op.inputs}
    return Lowered(
        ops=ops, tensors={n: Tensor(name=n, shape=s, scale=np.float32(0.1), zero=5) for n, s in shapes.items()},
        root={name: name for name in shapes}, readers={n: tuple(op for op in ops if n in op.inputs) for n in read},
        makers={op.output: (op,) for op in ops}, inputs=tuple(name for name in shapes if name not in made),
        outputs=outputs or tuple(name for name in shapes if name not in read), batch=batch,
        layers=tuple(op.layer for op in ops), fused={},
    )  # fmt: skip


def chain_with(*ops: Op, batch: int = 1) -> tuple[Chain, Lowered]:
    """The operations as one chain; over all images at once if there are several."""
    lowered = lowered_of(*ops, batch=batch)
    return chain_of(ops, lowered, whole=batch > 1), lowered


@st.composite
def windows(draw: st.DrawFn, max_hw: int = 8) -> dict:
    """Odd geometries: padding on either side, stride and dilation; height and width are such that a window fits."""
    kernel = (draw(st.integers(1, 3)), draw(st.integers(1, 4)))
    dilation = draw(st.sampled_from(((1, 1), (1, 1), (2, 1), (1, 2), (2, 3))))
    pads = tuple(draw(st.integers(0, 2)) for _ in range(4))
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation)]
    return {
        "height": draw(st.integers(max(1, spans[0] - pads[0]), spans[0] + max_hw)),
        "width": draw(st.integers(max(1, spans[1] - pads[2]), spans[1] + max_hw)),
        "kernel": kernel, "stride": (draw(st.integers(1, 3)), draw(st.integers(1, 3))), "pads": pads,
        "dilation": dilation,
    }  # fmt: skip


@st.composite
def mat_ops(draw: st.DrawFn, max_hw: int = 8, max_c: int = 9) -> MatOp:
    """Convolutions of odd shapes, some with groups; or fully connected layers."""
    seed = draw(st.integers(0, 2**16))
    if draw(st.integers(0, 4)) == 0:
        channels, out = draw(st.integers(1, 70)), draw(st.integers(1, 40))
        width = draw(st.integers(1, 5))
        return mat_op(height=1, width=width, channels=channels, out=out, batched=True, seed=seed)
    groups = draw(st.sampled_from((1, 1, 1, 2, 3)))
    return mat_op(
        **draw(windows(max_hw)), channels=groups * draw(st.integers(1, max_c // groups)),
        out=groups * draw(st.integers(1, max_c // groups)), groups=groups, seed=seed,
    )  # fmt: skip
