"""Kernels of what holds a network back: dropout, penalties, clipped gradients, bounded weights.

Formulas stand in `fastmlp.reference.dropout` and `fastmlp.reference.penalties`. Sums that decide
something are in float64, as there, and run in a fixed order.
"""

from __future__ import annotations

import functools
from typing import Any

from .activations import ACTIVATIONS, SLOPES, derivative
from .flow import F64, I32, const, constant, ir
from .optimizers import HYPERPARAMETERS, load_hyperparameters, whole_gradient
from .records import record
from .vector_math import Vec

__all__ = ["clip", "dropout", "gradient_squares", "limit_columns", "penalties", "reduce_penalties"]

_FIRST, _SECOND = 0x7FEB352D, 0x846CA68B  # the multipliers of reference.dropout.mix
_BLOCK = 16  # rows of W that belong together
_CHAINS = 4  # sums in flight hide the latency of the multiply-add
_SCALED = ("scale", "l1", "l2")  # hyperparameters that a gradient is proportional to


def _mix(v: Vec, x: Any, xor: Any = None) -> Any:
    """Emit reference.dropout.mix for 32-bit integers or vectors of them; `xor` is added bit by
    bit after the first multiplication.
    """
    b, c = v.b, functools.partial(constant, x.type)
    x = b.mul(b.xor(x, b.lshr(x, c(16))), c(_FIRST))
    x = x if xor is None else b.xor(x, xor)
    x = b.mul(b.xor(x, b.lshr(x, c(15))), c(_SECOND))
    return b.xor(x, b.lshr(x, c(16)))


@record("h slope ld vectors rows words place threshold scale code")
def dropout(v: Vec, q: Any) -> None:
    """Leave units out.

    h and f'(z) of rows at `place` of the batch are multiplied by 0 or by the value at `scale`;
    f'(z) is written to `slope`, where the SLOPES activations have it already. `words` are the two
    of the step and layer (uint32), `threshold` is compared with the draws.
    """
    b = v.b
    factor = v.splat(v.load_scalar(q.scale))
    limit = v.splat(b.trunc(q.threshold, I32))
    first_word, second_word = (v.load_scalar(q.words, at, I32) for at in (0, 4))
    lanes = ir.Constant(limit.type, list(range(v.length)))
    for name in v.cases(q.code, ACTIVATIONS):
        with v.each(q.rows) as r:
            number = b.trunc(b.add(q.place, r), I32)
            start = b.add(v.splat(_mix(v, b.add(first_word, number))), lanes)
            second = v.splat(_mix(v, b.add(second_word, number)))
            row_h, row_slope = v.at(q.h, r, q.ld), v.at(q.slope, r, q.ld)
            with v.each(q.vectors) as j:
                offset = v.times(j, v.bytes)
                unit = v.splat(b.trunc(v.times(j, v.length), I32))
                kept = b.icmp_unsigned(">=", _mix(v, b.add(start, unit), second), limit)
                a = v.load(row_h, offset)
                d = v.load(row_slope, offset) if name in SLOPES else derivative(v, name, a)
                for value, row_of in ((a, row_h), (d, row_slope)):
                    held = b.select(kept, b.fmul(value, factor), v.c(0.0))
                    v.store(held, row_of, offset)


@record("totals step w ldw vectors blocks coefficients")
def penalties(v: Vec, q: Any) -> None:
    """total = c1 sum |w| + c2 sum w^2 of each vector of columns in each block of 16 rows. Totals, 8
    bytes apart by blocks and `step` by vectors, and coefficients are float64.
    """
    b = v.b
    c1, c2 = (v.load_scalar(q.coefficients, 8 * i, F64) for i in range(2))
    squares = (c2, lambda x, s: v.fma(x, x, s))
    absolutes = (c1, lambda x, s: b.fadd(s, v.intrinsic("fabs", [x])))
    for none in v.either(b.fcmp_ordered("==", c1, F64(0.0))):
        with v.each(q.blocks) as i:
            rows = v.rows(v.at(q.w, i, v.times(q.ldw, _BLOCK)), q.ldw, _BLOCK)
            into = v.at(q.totals, i, 8)
            with v.each(q.vectors) as j:
                values = [v.load(row, v.times(j, v.bytes)) for row in rows]
                total = F64(0.0)
                for c, add in [squares] if none else [absolutes, squares]:
                    chains = [v.c(0.0)] * _CHAINS
                    for r, x in enumerate(values):
                        chains[r % _CHAINS] = add(x, chains[r % _CHAINS])
                    lanes = v.reduce(functools.reduce(b.fadd, chains), b.fadd)
                    total = b.fadd(total, b.fmul(c, v.cast(v.first(lanes), F64)))
                v.store_scalar(total, into, b.mul(j, q.step))


@record("penalty totals count")
def reduce_penalties(v: Vec, q: Any) -> None:
    """penalty = the sum of `count` totals, a multiple of four, in four interleaved sums."""
    b = v.b
    with v.loop(b.lshr(q.count, const(2)), [F64(0.0)] * 4) as (i, sums):
        at = v.at(q.totals, i, 4 * 8)
        sums[:] = [b.fadd(s, v.load_scalar(at, 8 * n, F64)) for n, s in enumerate(sums)]
    first, second, third, fourth = sums
    v.store_scalar(b.fadd(b.fadd(first, second), b.fadd(third, fourth)), q.penalty)


def _wide_zero(v: Vec) -> Any:
    return constant(ir.VectorType(F64, v.length), 0.0)


def _wide_sum(v: Vec, lanes: Any) -> Any:
    """Return the sum of the lanes of a float64 vector, in their order."""
    total = v.b.extract_element(lanes, I32(0))
    for i in range(1, v.length):
        total = v.b.fadd(total, v.b.extract_element(lanes, I32(i)))
    return total


@record("totals w g ld vectors rows blocks hyper")
def gradient_squares(v: Vec, q: Any) -> None:
    """total = the sum of squares of the gradient of some rows, its penalties included, for each of
    some blocks of that many rows. w, and the sums over samples g, are strided by ld; totals are
    float64.
    """
    b = v.b
    h = load_hyperparameters(v, q.hyper, _SCALED)
    with v.each(q.blocks) as i:
        start = b.mul(i, b.mul(q.rows, q.ld))
        w, g = v.at(q.w, start), v.at(q.g, start)
        with v.loop(q.rows, [_wide_zero(v)]) as (r, rows):
            first = b.mul(r, q.ld)
            with v.loop(q.vectors, rows[:]) as (j, lanes):
                offset = b.add(first, v.times(j, v.bytes))
                total, x = v.load(v.at(g, offset)), v.load(v.at(w, offset))
                wide = v.cast(whole_gradient(v, h, total, x, l1=True), F64)
                lanes[0] = b.fadd(lanes[0], b.fmul(wide, wide))
            rows[:] = lanes
        v.store_item(_wide_sum(v, rows[0]), q.totals, i)


@record("to hyper row_bytes squares count limit")
def clip(v: Vec, q: Any) -> None:
    """Copy two rows of hyperparameters so that the gradient's norm is at most a limit. The norm is
    the root of the sum of `squares`; where it is not within the limit, scale, l1 and l2 are
    multiplied by limit / norm.
    """
    b = v.b
    with v.loop(q.count, [F64(0.0)]) as (i, total):
        total[0] = b.fadd(total[0], v.load_item(q.squares, i, F64))
    norm, most = v.call("llvm.sqrt.f64", F64, total), v.load_scalar(q.limit, 0, F64)
    within = b.fcmp_ordered("<=", norm, most)
    factor = v.cast(b.select(within, F64(1.0), b.fdiv(most, norm)), v.scalar)
    for row in range(2):
        for i, name in enumerate(HYPERPARAMETERS):
            at = b.add(v.times(q.row_bytes, row), const(i * v.size))
            value = v.load_scalar(q.hyper, at)
            v.store_scalar(b.fmul(value, factor) if name in _SCALED else value, q.to, at)


@record("w ldw rows vectors limit")
def limit_columns(v: Vec, q: Any) -> None:
    """Scale down the columns of W whose norm is beyond a limit; the limit is float64."""
    b = v.b
    most = v.splat(v.load_scalar(q.limit, 0, F64))
    wide = most.type
    with v.each(q.vectors, v.bytes) as offset:
        top = v.at(q.w, offset)
        with v.loop(q.rows, [_wide_zero(v)]) as (r, total):
            x = v.cast(v.load(top, b.mul(r, q.ldw)), F64)
            total[0] = b.fadd(total[0], b.fmul(x, x))
        norm = v.call(f"llvm.sqrt.v{v.length}f64", wide, total)
        beyond = b.fcmp_ordered(">", norm, most)
        factor = v.cast(b.select(beyond, b.fdiv(most, norm), constant(wide, 1.0)), v.scalar)
        with v.each(q.rows, q.ldw) as at:
            v.store(b.fmul(v.load(top, at), factor), top, at)
