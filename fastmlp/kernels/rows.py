"""Kernels that go over rows: input, bias sums, whole-buffer steps, activations, transposes.

Arguments are addresses and strides in bytes, outputs first. Buffers are padded as in
`microkernel`; lanes beyond a row's length never reach a result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ._simd import F64, I8, I64, const, element_type, ir
from .activations import SLOPES, activation_cases, derivative, evaluate
from .optimizers import update_cases
from .vector_math import Vec

__all__ = [
    "add",
    "bias_update",
    "gather_f32",
    "gather_f64",
    "gather_u8",
    "map_activation",
    "optimizer",
    "over_rows",
    "sample_number",
    "step_row",
    "to_f64",
    "transpose_block",
    "vector_count",
]


def over_rows(v: Vec, count: Any, body: Callable[[Any], None]) -> None:
    """Emit a loop over `count` rows without carried values."""

    def step(r: Any, _: list[Any]) -> list[Any]:
        body(r)
        return []

    v.loop(count, [], step)


def vector_count(v: Vec, n: Any) -> Any:
    """Return the vectors that hold n elements."""
    return v.b.udiv(v.b.add(n, const(v.length - 1)), const(v.length))


def to_f64(v: Vec, value: Any) -> Any:
    """Return a scalar of the network's dtype as float64."""
    return value if v.size == 8 else v.b.fpext(value, F64)


def sample_number(v: Vec, order: Any, r: Any) -> Any:
    """Return the sample's number in the data: order[r]."""
    return v.load_scalar(order, v.b.shl(r, const(3)), I64)


def _gather(v: Vec, args: list[Any], kind: ir.Type) -> None:
    """dst[r] = x[order[r]] / scale: (dst, ldd, x, ldx, order, n, rows, scale).

    `scale` is the address of a float64 divisor, or 0. The division happens in the wider of the
    two types, as NumPy's does (uint8 in the network's own: the caller has seen that this gives
    the same values). Only the n elements of a row are written.
    """
    dst, ldd, x, ldx, order, n, rows, scale = args
    b = v.b
    size = {I8: 1, F64: 8}.get(kind, 4)
    work = F64 if kind == F64 else (v.scalar if kind == I8 else kind)

    def convert(value: Any, divisor: Any, length: int | None) -> Any:
        def typed(scalar: ir.Type) -> ir.Type:
            return scalar if length is None else ir.VectorType(scalar, length)

        if kind == I8:
            value = b.uitofp(value, typed(work))
        if divisor is not None:
            divisor = divisor if work == F64 else b.fptrunc(divisor, work)
            if length is not None:
                wide = ir.Constant(typed(work), ir.Undefined)
                mask = ir.Constant(ir.VectorType(ir.IntType(32), length), [0] * length)
                first = b.insert_element(wide, divisor, ir.Constant(ir.IntType(32), 0))
                divisor = b.shuffle_vector(first, wide, mask)
            value = b.fdiv(value, divisor)
        if work == v.scalar:
            return value
        return (b.fptrunc if v.size == 4 else b.fpext)(value, typed(v.scalar))

    def allover_rows(divide: bool) -> list[Any]:
        divisor = v.load_scalar(scale, 0, F64) if divide else None

        def body(r: Any) -> None:
            src = v.at(x, b.mul(sample_number(v, order, r), ldx))
            row = v.at(dst, b.mul(r, ldd))
            whole = b.udiv(n, const(v.length))

            def vector(j: Any) -> None:
                kind_v = ir.VectorType(kind, v.length)
                offset = b.mul(j, const(v.length * size))
                value = b.load(v.pointer(v.at(src, offset), kind_v))
                value.align = 1
                v.store(convert(value, divisor, v.length), row, b.mul(j, const(v.bytes)))

            over_rows(v, whole, vector)
            done = b.mul(whole, const(v.length))

            def single(i: Any) -> None:
                at = b.add(done, i)
                value = v.load_scalar(src, b.mul(at, const(size)), kind)
                v.store_scalar(convert(value, divisor, None), row, b.mul(at, const(v.size)))

            over_rows(v, b.sub(n, done), single)

        over_rows(v, rows, body)
        return []

    nonzero = b.icmp_signed("!=", scale, const(0))
    v.choose(nonzero, lambda: allover_rows(True), lambda: allover_rows(False))


def gather_u8(v: Vec, args: list[Any]) -> None:
    """Gather rows of uint8; see _gather."""
    _gather(v, args, I8)


def gather_f32(v: Vec, args: list[Any]) -> None:
    """Gather rows of float32; see _gather."""
    _gather(v, args, element_type("float32"))


def gather_f64(v: Vec, args: list[Any]) -> None:
    """Gather rows of float64; see _gather."""
    _gather(v, args, F64)


def bias_update(v: Vec, args: list[Any]) -> None:
    """Sum the rows of d per column, then the optimizer: (bias, d, ldd, rows, vectors, code,
    state, hyper). Rows are summed in order.
    """
    bias, d, ldd, rows, vectors, code, state, hyper = args
    b = v.b

    def column(j: Any) -> None:
        offset = b.mul(j, const(v.bytes))

        def step(_: Any, s: list[Any]) -> list[Any]:
            return [v.at(s[0], ldd), b.fadd(s[1], v.load(s[0]))]

        total = v.loop(rows, [v.at(d, offset), v.c(0.0)], step)[1]
        here = v.at(bias, offset)
        v.switch(code, update_cases(v, lambda use: use(total, here, 0), state, hyper))

    over_rows(v, vectors, column)


def optimizer(v: Vec, args: list[Any]) -> None:
    """Step a stretch of parameters from its gradient, and clear the gradient: (w, g, vectors,
    code, state, hyper).
    """
    w, g, vectors, code, state, hyper = args

    def visit(use: Callable[[Any, Any, int], None]) -> None:
        def body(j: Any) -> None:
            offset = v.b.mul(j, const(v.bytes))
            use(v.load(g, offset), v.at(w, offset), 0)
            v.store(v.c(0.0), g, offset)

        over_rows(v, vectors, body)

    v.switch(code, update_cases(v, visit, state, hyper, l1=True))


def add(v: Vec, args: list[Any]) -> None:
    """Add src to dst, and clear src: (dst, src, vectors)."""
    dst, src, vectors = args

    def body(j: Any) -> None:
        offset = v.b.mul(j, const(v.bytes))
        v.store(v.b.fadd(v.load(dst, offset), v.load(src, offset)), dst, offset)
        v.store(v.c(0.0), src, offset)

    over_rows(v, vectors, body)


def step_row(v: Vec, args: list[Any]) -> None:
    """dst = -(learning_rate * scale) src: (dst, src, vectors, hyper)."""
    dst, src, vectors, hyper = args
    rate = v.b.fmul(v.load_scalar(hyper), v.load_scalar(hyper, v.size))
    factor = v.splat(v.b.fsub(v.scalar(-0.0), rate))

    def body(j: Any) -> None:
        offset = v.b.mul(j, const(v.bytes))
        v.store(v.b.fmul(factor, v.load(src, offset)), dst, offset)

    over_rows(v, vectors, body)


def map_activation(v: Vec, args: list[Any]) -> None:
    """y = f(x), slope = f'(x): (y, slope, x, vectors, code, always). Unless `always` is set only
    the SLOPES activations write their slope. x and y may be the same.
    """
    y, slope, x, vectors, code, always = args

    def over(name: str, derivatives: bool) -> list[Any]:
        def body(j: Any) -> None:
            offset = v.b.mul(j, const(v.bytes))
            value, f_slope = evaluate(v, name, v.load(x, offset))
            if name in SLOPES:
                v.store(f_slope, slope, offset)
            elif derivatives:
                v.store(derivative(v, name, value), slope, offset)
            v.store(value, y, offset)

        over_rows(v, vectors, body)
        return []

    def both(name: str) -> None:
        if name in SLOPES:
            over(name, True)
            return
        v.choose(
            v.b.icmp_signed("!=", always, const(0)),
            lambda: over(name, True),
            lambda: over(name, False),
        )

    v.switch(code, activation_cases(both))


def transpose_block(v: Vec, args: list[Any]) -> None:
    """Write the transpose of a vector-by-vector block: (dst, ldd, src, lds)."""
    dst, ldd, src, lds = args
    rows = [v.load(src, v.b.mul(const(i), lds)) for i in range(v.length)]
    for i, row in enumerate(v.transpose(rows)):
        v.store(row, dst, v.b.mul(const(i), ldd))
