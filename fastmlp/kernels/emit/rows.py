"""Kernels over rows as they lie in memory: any distance between rows, nothing beyond their ends.

Arguments are addresses and distances in bytes, outputs first.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from .activations import SLOPES, activation_cases, derivative, evaluate
from .elementwise import over_rows
from .optimizers import OPTIMIZERS, load_hyperparameters, state_arrays, step_vector
from .records import record
from .simd import I64, const
from .vector_math import RowVec, Vec

__all__ = ["ITEM", "SLOT", "activate_rows", "finite", "optimizer_items"]

_ACCUMULATORS = 4  # of `finite`: more than a multiply-add's latency, so that memory decides
# An item of `optimizer_items`, and each of its state arrays behind it.
ITEM = ("w", "ldw", "g", "ldg", "rows", "columns", "hyper")
SLOT = ("address", "ld")


@record("y ldy slope lds x ldx rows columns code")
def activate_rows(v: Vec, q: Any) -> None:
    """y = f(x), and slope = f'(x) where its address is not 0; y and x may be the same."""
    b = v.b
    whole = b.udiv(q.columns, const(v.length))

    def over(name: str, derivatives: bool) -> None:
        def row(r: Any) -> None:
            x_r, y_r = v.at(q.x, b.mul(r, q.ldx)), v.at(q.y, b.mul(r, q.ldy))
            slope_r = v.at(q.slope, b.mul(r, q.lds))

            def vector(u: Vec, offset: Any) -> None:
                value, slope = evaluate(u, name, u.load(x_r, offset))
                if derivatives:
                    slope = slope if name in SLOPES else derivative(u, name, value)
                    u.store(slope, slope_r, offset)
                u.store(value, y_r, offset)

            over_rows(v, whole, lambda j: vector(v, b.mul(j, const(v.bytes))))
            done = b.mul(whole, const(v.bytes))
            left = b.icmp_signed("<", b.mul(whole, const(v.length)), q.columns)

            v.choose(left, lambda: vector(RowVec(v, q.columns), done))

        over_rows(v, q.rows, row)

    def both(name: str) -> None:
        wanted = b.icmp_signed("!=", q.slope, const(0))
        v.choose(wanted, lambda: over(name, True), lambda: over(name, False))

    v.switch(q.code, activation_cases(both))


@record("items count share shares code")
def optimizer_items(v: Vec, q: Any) -> None:
    """Step `count` arrays of parameters from their gradients, of each this share's rows.

    An item is the numbers of ITEM, then those of SLOT for every array that the rule keeps.
    """
    b = v.b

    def of_rule(name: str, code: int) -> None:
        slots = state_arrays(code)
        numbers = len(ITEM) + len(SLOT) * slots
        edge = v.room(2 + slots)  # where the last elements of a row are stepped

        def item(i: Any) -> None:
            here = v.at(q.items, b.mul(i, const(8 * numbers)))
            values = [v.load_scalar(here, 8 * n, I64) for n in range(numbers)]
            w, ldw, g, ldg, rows, columns, hyper = values[: len(ITEM)]
            arrays = [(w, ldw), (g, ldg)]
            arrays += [(values[n], values[n + 1]) for n in range(len(ITEM), numbers, 2)]
            h = load_hyperparameters(v, hyper)
            whole = b.udiv(columns, const(v.length))
            left = b.sub(columns, b.mul(whole, const(v.length)))
            first = b.udiv(b.mul(rows, q.share), q.shares)
            last = b.udiv(b.mul(rows, b.add(q.share, const(1))), q.shares)

            def row(r: Any) -> None:
                places = [v.at(a, b.mul(b.add(first, r), ld)) for a, ld in arrays]

                def step(at: list[Any]) -> None:
                    step_vector(v, name, h, v.load(at[1]), at[0], at[2:], True)

                def vector(j: Any) -> None:
                    step([v.at(place, b.mul(j, const(v.bytes))) for place in places])

                over_rows(v, whole, vector)

                def rest() -> None:
                    mask, offset = v.lanes_below(left), b.mul(whole, const(v.bytes))
                    room = [v.at(edge, n * v.bytes) for n in range(2 + slots)]
                    for to, place in zip(room, places, strict=True):
                        v.store(v.load_lanes(mask, place, offset), to)
                    step(room)
                    for n in (0, *range(2, 2 + slots)):
                        v.store_lanes(v.load(room[n]), mask, places[n], offset)

                v.choose(b.icmp_signed(">", left, const(0)), rest)

            over_rows(v, b.sub(last, first), row)

        over_rows(v, q.count, item)

    v.switch(q.code, {code: partial(of_rule, name, code) for name, code in OPTIMIZERS.items()})


@record("found x ldx step rows columns share shares")
def finite(v: Vec, q: Any) -> None:
    """found = 0 unless this share's elements are all finite; then it stays what it is.

    `step` bytes lie from column to column. A share has some of the rows; of one row alone, some of
    the columns. What is not finite makes a NaN of its product with 0, and of every sum after it.
    """
    b = v.b
    zero, none = v.c(0.0), v.scalar(0.0)

    def part(n: Any) -> tuple[Any, Any]:
        following = b.mul(n, b.add(q.share, const(1)))
        return b.udiv(b.mul(n, q.share), q.shares), b.udiv(following, q.shares)

    alone = b.icmp_signed("==", q.rows, const(1))
    (top, bottom), (begin, end) = part(q.rows), part(q.columns)
    rows = b.select(alone, const(1), b.sub(bottom, top))
    columns = b.select(alone, b.sub(end, begin), q.columns)
    shift = b.select(alone, b.mul(begin, q.step), b.mul(top, q.ldx))
    start = b.add(q.x, shift)
    whole = b.udiv(columns, const(v.length * _ACCUMULATORS))
    done = b.mul(whole, const(v.length * _ACCUMULATORS))
    left = b.sub(columns, done)

    def together(x: Any, sums: list[Any]) -> list[Any]:
        def vectors(_: Any, state: list[Any]) -> list[Any]:
            at, *sums = state
            sums = [v.fma(v.load(at, n * v.bytes), zero, s) for n, s in enumerate(sums)]
            return [v.at(at, _ACCUMULATORS * v.bytes), *sums]

        at, *sums = v.loop(whole, [x, *sums], vectors)
        for n in range(_ACCUMULATORS):
            mask = v.lanes_below(b.sub(left, const(n * v.length)))
            sums[n] = v.fma(v.load_lanes(mask, at, n * v.bytes), zero, sums[n])
        return sums

    def apart(x: Any, sums: list[Any]) -> list[Any]:
        def one(_: Any, state: list[Any]) -> list[Any]:
            at, total = state
            product = b.fmul(v.load_scalar(at), v.scalar(0.0))
            return [v.at(at, q.step), b.fadd(total, product)]

        total = v.loop(columns, [x, none], one)[1]
        return [b.fadd(sums[0], v.splat(total)), *sums[1:]]

    def row(r: Any, sums: list[Any]) -> list[Any]:
        x = v.at(start, b.mul(r, q.ldx))
        contiguous = b.icmp_signed("==", q.step, const(v.size))
        return v.choose(contiguous, lambda: together(x, sums), lambda: apart(x, sums))

    sums = v.loop(rows, [zero] * _ACCUMULATORS, row)
    total = sums[0]
    for other in sums[1:]:
        total = b.fadd(total, other)
    total = v.first(v.reduce(total, b.fadd))
    kept = b.select(b.fcmp_ordered("==", total, none), v.load_scalar(q.found, 0, I64), const(0))
    v.store_scalar(kept, q.found)
