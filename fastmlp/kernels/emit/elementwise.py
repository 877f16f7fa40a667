"""Kernels that go over rows: input, bias sums, whole-buffer steps.

Arguments are addresses and strides in bytes, outputs first. Buffers are padded as in
`microkernel`; lanes beyond a row's length never reach a result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .optimizers import update_cases
from .records import record
from .simd import F32, F64, I8, I64, const, ir
from .vector_math import Vec

__all__ = [
    "INPUTS",
    "add",
    "bias_update",
    "gather",
    "optimizer",
    "over_groups",
    "over_rows",
    "sample_number",
    "step_row",
    "to_f64",
    "vector_count",
]

INPUTS = {"u8": (I8, 1), "f32": (F32, 4), "f64": (F64, 8)}  # elements of X, and their bytes
_SUMS = 8  # columns at a time: rows lie pages apart, and one sum would wait for its own additions


def over_rows(v: Vec, count: Any, body: Callable[[Any], None]) -> None:
    """Emit a loop over `count` rows without carried values."""

    def step(r: Any, _: list[Any]) -> list[Any]:
        body(r)
        return []

    v.loop(count, [], step)


def over_groups(v: Vec, n: Any, size: int, body: Callable[[Any, int], None]) -> None:
    """Emit ``body(first, count)`` over n things, `size` at a time, what is left one by one."""
    b = v.b
    groups = b.udiv(n, const(size))
    over_rows(v, groups, lambda t: body(b.mul(t, const(size)), size))
    done = b.mul(groups, const(size))
    over_rows(v, b.sub(n, done), lambda t: body(b.add(done, t), 1))


def vector_count(v: Vec, n: Any) -> Any:
    """Return the vectors that hold n elements."""
    return v.b.udiv(v.b.add(n, const(v.length - 1)), const(v.length))


def to_f64(v: Vec, value: Any) -> Any:
    """Return a scalar of the network's dtype as float64."""
    return value if v.size == 8 else v.b.fpext(value, F64)


def sample_number(v: Vec, order: Any, r: Any) -> Any:
    """Return the sample's number in the data: order[r]."""
    return v.load_scalar(order, v.b.shl(r, const(3)), I64)


@record("dst ldd x ldx order n rows scale")
def gather(v: Vec, q: Any, kind: str) -> None:
    """dst[r] = x[order[r]] / scale, of uint8, float32 or float64.

    `scale` is the address of a float64 divisor, or 0. The division happens in the wider of the
    two types, as NumPy's does (uint8 in the network's own: the caller has seen that this gives
    the same values). Only the n elements of a row are written.
    """
    b, (scalar, size) = v.b, INPUTS[kind]
    work = v.scalar if kind == "u8" else scalar

    def convert(value: Any, divisor: Any) -> Any:
        lanes = getattr(value.type, "count", None)

        def typed(kind: ir.Type) -> ir.Type:
            return kind if lanes is None else ir.VectorType(kind, lanes)

        if kind == "u8":
            value = b.uitofp(value, typed(work))
        if divisor is not None:
            divisor = divisor if work == F64 else b.fptrunc(divisor, work)
            value = b.fdiv(value, divisor if lanes is None else v.splat(divisor))
        if work == v.scalar:
            return value
        return (b.fptrunc if v.size == 4 else b.fpext)(value, typed(v.scalar))

    def all_rows(divide: bool) -> None:
        divisor = v.load_scalar(q.scale, 0, F64) if divide else None

        def body(r: Any) -> None:
            src = v.at(q.x, b.mul(sample_number(v, q.order, r), q.ldx))
            row = v.at(q.dst, b.mul(r, q.ldd))
            whole = b.udiv(q.n, const(v.length))

            def vector(j: Any) -> None:
                offset = b.mul(j, const(v.length * size))
                value = b.load(v.pointer(v.at(src, offset), ir.VectorType(scalar, v.length)))
                value.align = 1
                v.store(convert(value, divisor), row, b.mul(j, const(v.bytes)))

            over_rows(v, whole, vector)
            done = b.mul(whole, const(v.length))

            def single(i: Any) -> None:
                at = b.add(done, i)
                value = v.load_scalar(src, b.mul(at, const(size)), scalar)
                v.store_scalar(convert(value, divisor), row, b.mul(at, const(v.size)))

            over_rows(v, b.sub(q.n, done), single)

        over_rows(v, q.rows, body)

    divides = b.icmp_signed("!=", q.scale, const(0))
    v.choose(divides, lambda: all_rows(True), lambda: all_rows(False))


@record("bias d ldd rows vectors code state hyper")
def bias_update(v: Vec, q: Any) -> None:
    """Sum the rows of d per column, then the optimizer. Rows are summed in order."""
    b = v.b

    def columns(first: Any, count: int) -> None:
        offset = b.mul(first, const(v.bytes))

        def step(_: Any, s: list[Any]) -> list[Any]:
            sums = [b.fadd(x, v.load(s[0], j * v.bytes)) for j, x in enumerate(s[1:])]
            return [v.at(s[0], q.ldd), *sums]

        totals = v.loop(q.rows, [v.at(q.d, offset), *[v.c(0.0)] * count], step)[1:]
        here = v.at(q.bias, offset)

        def visit(use: Callable[[Any, Any, int], None]) -> None:
            for j, total in enumerate(totals):
                use(total, here, j * v.bytes)

        v.switch(q.code, update_cases(v, visit, q.state, q.hyper))

    over_groups(v, q.vectors, _SUMS, columns)


@record("w g vectors code state hyper")
def optimizer(v: Vec, q: Any) -> None:
    """Step a stretch of parameters from its gradient, and clear the gradient."""

    def visit(use: Callable[[Any, Any, int], None]) -> None:
        def body(j: Any) -> None:
            offset = v.b.mul(j, const(v.bytes))
            use(v.load(q.g, offset), v.at(q.w, offset), 0)
            v.store(v.c(0.0), q.g, offset)

        over_rows(v, q.vectors, body)

    v.switch(q.code, update_cases(v, visit, q.state, q.hyper, l1=True))


@record("dst src vectors pieces distance")
def add(v: Vec, q: Any) -> None:
    """Add pieces to dst, in their order, and clear them; each lies `distance` bytes behind the one
    before it, the first at src.
    """
    b = v.b

    def piece(i: Any) -> None:
        src = v.at(q.src, b.mul(i, q.distance))

        def body(j: Any) -> None:
            offset = b.mul(j, const(v.bytes))
            v.store(b.fadd(v.load(q.dst, offset), v.load(src, offset)), q.dst, offset)
            v.store(v.c(0.0), src, offset)

        over_rows(v, q.vectors, body)

    over_rows(v, q.pieces, piece)


@record("dst src vectors hyper")
def step_row(v: Vec, q: Any) -> None:
    """dst = -(learning_rate * scale) src."""
    rate = v.b.fmul(v.load_scalar(q.hyper), v.load_scalar(q.hyper, v.size))
    factor = v.splat(v.b.fsub(v.scalar(-0.0), rate))

    def body(j: Any) -> None:
        offset = v.b.mul(j, const(v.bytes))
        v.store(v.b.fmul(factor, v.load(q.src, offset)), q.dst, offset)

    over_rows(v, q.vectors, body)
