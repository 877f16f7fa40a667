"""Kernels that go over rows: input, bias sums, whole-buffer steps.

Arguments are addresses and strides in bytes, outputs first. Buffers are padded as in
`microkernel`; lanes beyond a row's length never reach a result.
"""

from __future__ import annotations

from typing import Any

from .flow import F32, F64, I8, I64, const, ir
from .optimizers import updates
from .records import record
from .vector_math import Vec

__all__ = [
    "INPUTS",
    "add",
    "bias_update",
    "gather",
    "optimizer",
]

INPUTS = {"u8": (I8, 1), "f32": (F32, 4), "f64": (F64, 8)}  # elements of X, and their bytes
_SUMS = 8  # columns at a time: rows lie pages apart, and one sum would wait for its own additions


@record("dst ldd x ldx order n rows scale")
def gather(v: Vec, q: Any, kind: str) -> None:
    """dst[r] = x[order[r]] / scale, of uint8, float32 or float64.

    `scale` is the address of a float64 divisor, or 0. The division happens in the wider of the
    two types, as NumPy's does (uint8 in the network's own: the caller has seen that this gives
    the same values). Only the n elements of a row are written.
    """
    b, (scalar, size) = v.b, INPUTS[kind]
    work = v.scalar if kind == "u8" else scalar

    for divides in v.either(b.icmp_signed("!=", q.scale, const(0))):
        divisor = v.cast(v.load_scalar(q.scale, 0, F64), work) if divides else None
        with v.each(q.rows) as r:
            src = v.at(q.x, v.load_item(q.order, r, I64), q.ldx)
            row = v.at(q.dst, r, q.ldd)
            for first, count in v.groups(q.n, v.length):
                value = v.load_any(v.at(src, first, size), scalar, count)
                if kind == "u8":
                    value = b.uitofp(value, work if count == 1 else ir.VectorType(work, count))
                if divides:
                    value = b.fdiv(value, divisor if count == 1 else v.splat(divisor))
                v.store(v.cast(value, v.scalar), row, v.times(first, v.size))


@record("bias d ldd rows vectors code state hyper")
def bias_update(v: Vec, q: Any) -> None:
    """Sum the rows of d per column, then the optimizer. Rows are summed in order."""
    for first, count in v.groups(q.vectors, _SUMS):
        offset = v.times(first, v.bytes)
        with v.loop(q.rows, [v.at(q.d, offset), *[v.c(0.0)] * count]) as (_, state):
            row, *sums = state
            sums = [v.b.fadd(x, v.load(row, j * v.bytes)) for j, x in enumerate(sums)]
            state[:] = [v.at(row, q.ldd), *sums]
        here = v.at(q.bias, offset)
        for become in updates(v, q):
            for j, total in enumerate(state[1:]):
                become(total, here, j * v.bytes)


@record("w g vectors code state hyper")
def optimizer(v: Vec, q: Any) -> None:
    """Step a stretch of parameters from its gradient, and clear the gradient."""
    for become in updates(v, q, l1=True):
        with v.each(q.vectors, v.bytes) as offset:
            become(v.load(q.g, offset), v.at(q.w, offset), 0)
            v.store(v.c(0.0), q.g, offset)


@record("dst src vectors pieces distance")
def add(v: Vec, q: Any) -> None:
    """Add pieces to dst, in their order, and clear them; each lies `distance` bytes behind the one
    before it, the first at src.
    """
    with v.each(q.pieces, q.distance) as shift:
        src = v.at(q.src, shift)
        with v.each(q.vectors, v.bytes) as offset:
            v.store(v.b.fadd(v.load(q.dst, offset), v.load(src, offset)), q.dst, offset)
            v.store(v.c(0.0), src, offset)
