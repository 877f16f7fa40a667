"""Kernels over rows as they lie in memory: any distance between rows, nothing beyond their ends.

Arguments are addresses and distances in bytes, outputs first.
"""

from __future__ import annotations

from functools import reduce
from typing import Any

from .activations import ACTIVATIONS, SLOPES, derivative, evaluate
from .flow import F64, I64, const
from .optimizers import OPTIMIZERS, load_hyperparameters, state_arrays, step_vector
from .records import record
from .vector_math import RowVec, Vec, along_row

__all__ = ["activate_rows", "finite", "optimizer_items"]

_ACCUMULATORS = 4  # of `finite`: more than a multiply-add's latency, so that memory decides


@record("y ldy slope lds x ldx rows columns code")
def activate_rows(v: Vec, q: Any) -> None:
    """y = f(x), and slope = f'(x) where its address is not 0; y and x may be the same."""
    for name in v.cases(q.code, ACTIVATIONS):
        for wanted in v.either(v.b.icmp_signed("!=", q.slope, const(0))):
            with v.each(q.rows) as r:
                rows = [v.at(q.x, r, q.ldx), v.at(q.y, r, q.ldy), v.at(q.slope, r, q.lds)]
                for u, offset in along_row(v, q.columns):
                    x, y, f_slope = (v.at(row, offset) for row in rows)
                    value, slope = evaluate(u, name, u.load(x))
                    if wanted:
                        slope = slope if name in SLOPES else derivative(u, name, value)
                        u.store(slope, f_slope)
                    u.store(value, y)


@record("items count share shares code")
def optimizer_items(v: Vec, q: Any) -> None:
    """Step `count` arrays of parameters from their gradients, of each this share's part.

    An item is the numbers of rows and columns, the address of the hyperparameters, and address and
    distance of rows of the parameters, the gradient, and every array that the rule keeps.
    """
    b = v.b
    for name in v.cases(q.code, OPTIMIZERS):
        numbers = 3 + 2 * (2 + state_arrays(OPTIMIZERS[name]))
        with v.each(q.count, 8 * numbers) as shift:
            here = v.at(q.items, shift)
            values = [v.load_scalar(here, 8 * n, I64) for n in range(numbers)]
            rows, columns, hyper, *pairs = values
            arrays = list(zip(pairs[::2], pairs[1::2], strict=True))
            h = load_hyperparameters(v, hyper)
            top, rows, left, columns = _own(v, q, rows, columns)
            with v.each(rows) as r:
                row, far = b.add(top, r), v.times(left, v.size)
                places = [v.at(v.at(a, row, ld), far) for a, ld in arrays]
                for u, offset in along_row(v, columns):
                    at = [v.at(place, offset) for place in places]
                    step_vector(u, name, h, u.load(at[1]), at[0], at[2:], True)


def _own(v: Vec, q: Any, rows: Any, columns: Any) -> tuple[Any, Any, Any, Any]:
    """Return this share's first row, how many, its first column and how many: it has some of the
    rows; of one row alone, some of the columns.
    """
    b, own = v.b, list[Any]()
    alone = b.icmp_signed("==", rows, const(1))
    for n, is_whole in ((rows, alone), (columns, b.not_(alone))):
        first = b.udiv(b.mul(n, q.share), q.shares)
        count = b.sub(b.udiv(b.mul(n, b.add(q.share, const(1))), q.shares), first)
        own += b.select(is_whole, const(0), first), b.select(is_whole, n, count)
    return own[0], own[1], own[2], own[3]


@record("found x ldx rows columns share shares factor")
def finite(v: Vec, q: Any) -> None:
    """found = 0 unless the sum of this share's elements, times a factor, is finite; then it stays
    what it is.

    What is not finite makes a NaN of its product with 0, and an infinity or a NaN of that with
    another factor, and of every sum after it. The `factor` is the bits of a float64.
    """
    b = v.b
    zero, none = v.c(0.0), v.scalar(0.0)
    factor = v.splat(v.cast(b.bitcast(q.factor, F64), v.scalar))
    top, rows, left, columns = _own(v, q, q.rows, q.columns)
    start = v.at(v.at(q.x, top, q.ldx), left, v.size)
    whole = b.udiv(columns, const(v.length * _ACCUMULATORS))
    rest = RowVec(v, b.sub(columns, v.times(whole, v.length * _ACCUMULATORS)))

    def add(u: Vec, at: Any, sums: list[Any]) -> list[Any]:
        some = u.load_row(at, _ACCUMULATORS)
        return [v.fma(x, factor, s) for x, s in zip(some, sums, strict=True)]

    with v.loop(rows, [zero] * _ACCUMULATORS) as (r, sums):
        with v.loop(whole, [v.at(start, r, q.ldx), *sums]) as (_, state):
            at = state[0]
            state[:] = [v.at(at, _ACCUMULATORS * v.bytes), *add(v, at, state[1:])]
        sums[:] = add(rest, state[0], state[1:])
    total = b.fmul(v.first(v.reduce(reduce(b.fadd, sums), b.fadd)), none)
    kept = b.select(b.fcmp_ordered("==", total, none), v.load_scalar(q.found, 0, I64), const(0))
    v.store_scalar(kept, q.found)
