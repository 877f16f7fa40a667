"""Kernels of the first layer over non-zero inputs only.

A zero adds nothing to the forward sum and nothing to its row of dW, so both are left out; what is
added is added in ascending order, as in the dense tile. Samples come as lists of columns (uint16)
and values, one list a row. `cuts` (uint16) holds where in the list each block of columns begins,
and behind the last one the list's length: rows of W are worked on block by block, because a block
stays in the first-level cache where the whole of W does not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ._simd import I8, I16, I32, I64, const
from .optimizers import HYPERPARAMETERS, OPTIMIZERS, update_cases
from .vector_math import Vec

__all__ = ["by_feature", "feature_update", "forward", "gradient", "prefetch"]

_LINE = 64  # bytes of a cache line
_SUMS = 4  # chains in flight that hide the latency of the multiply-add in narrow layers


class _Lists:
    """Where lists of non-zeros lie: the arguments (starts, cuts, n_cuts, columns, values, table)
    that the kernels here share.

    Coded values are uint8 numbers into the table; others are stored as they are.
    """

    COUNT = 6

    def __init__(self, v: Vec, args: list[Any], coded: bool) -> None:
        self.starts, self.cuts, self.n_cuts, self.columns, self.values, self.table = args
        self.v, self.coded = v, coded

    def stretch(self, order: Any, r: Any, first: Any, last: Any) -> tuple[Any, Any]:
        """Return where blocks first .. last of sample order[r] begin, and how many items follow."""
        v, b = self.v, self.v.b
        sample = v.load_scalar(order, b.shl(r, const(3)), I64)
        start = v.load_scalar(self.starts, b.shl(sample, const(3)), I64)
        cuts = v.at(self.cuts, b.shl(b.mul(sample, self.n_cuts), const(1)))
        at = [
            b.zext(v.load_scalar(cuts, b.shl(block, const(1)), I16), I64) for block in (first, last)
        ]
        return b.add(start, at[0]), b.sub(at[1], at[0])

    def over_rows(
        self, order: Any, rows: Any, first: Any, last: Any, body: Callable[[Any, Any, Any], None]
    ) -> None:
        """Emit ``body(r, begin, count)`` over rows; a row's stretch is looked up during the row
        before it, since the end of an inner loop is rarely foreseen.
        """
        b = self.v.b

        def step(r: Any, state: list[Any]) -> list[Any]:
            following = b.add(r, const(1))
            more = b.icmp_signed("<", following, rows)
            ahead = self.stretch(order, b.select(more, following, r), first, last)
            body(r, *state)
            return list(ahead)

        self.v.loop(rows, list(self.stretch(order, const(0), first, last)), step)

    def prefetch(self, order: Any, r: Any) -> None:
        """Ask for the whole list of sample order[r]."""
        v, b = self.v, self.v.b
        first, count = self.stretch(order, r, const(0), b.sub(self.n_cuts, const(1)))
        value_bytes = 1 if self.coded else v.size
        for address, size in ((self.columns, 2), (self.values, value_bytes)):
            start = v.at(address, b.mul(first, const(size)))
            lines = b.add(b.udiv(b.mul(count, const(size)), const(_LINE)), const(1))

            def line(i: Any, _: list[Any], start: Any = start) -> list[Any]:
                v.prefetch(v.at(start, b.mul(i, const(_LINE))))
                return []

            v.loop(lines, [], line)

    def item(self, t: Any) -> tuple[Any, Any]:
        """Return the column and the value of item t."""
        v, b = self.v, self.v.b
        column = b.zext(v.load_scalar(self.columns, b.shl(t, const(1)), I16), I64)
        if self.coded:
            code = b.zext(v.load_scalar(self.values, t, I8), I64)
            return column, v.load_scalar(self.table, b.mul(code, const(v.size)))
        return column, v.load_scalar(self.values, b.mul(t, const(v.size)))


def prefetch(v: Vec, args: list[Any], coded: bool) -> None:
    """Ask for sample order[0]: (order, starts, cuts, n_cuts, columns, values, table)."""
    order, *where = args
    _Lists(v, where, coded).prefetch(order, const(0))


def forward(v: Vec, args: list[Any], width: int, coded: bool) -> None:
    """z += x W over some blocks, for `width` vectors of every row: (z, ldz, bias, order, starts,
    cuts, n_cuts, columns, values, table, first, last, w, ldw, rows). Block 0 starts at the bias.
    """
    z, ldz, bias, order, *where, block, end, w, ldw, rows = args
    b, lists = v.b, _Lists(v, where, coded)
    sets = max(1, _SUMS // width)

    def row(r: Any, first: Any, count: Any) -> None:
        out = v.at(z, b.mul(r, ldz))

        def add_item(t: Any, sums: list[Any]) -> list[Any]:
            column, value = lists.item(t)
            x, start = v.splat(value), v.at(w, b.mul(column, ldw))
            return [v.fma(x, v.load(start, j * v.bytes), sums[j]) for j in range(width)]

        def several(t: Any, sums: list[Any]) -> list[Any]:
            new = []
            for u in range(sets):
                at = b.add(first, b.add(b.mul(t, const(sets)), const(u)))
                new += add_item(at, sums[u * width : (u + 1) * width])
            return new

        begin = b.select(b.icmp_signed("==", block, const(0)), bias, out)
        sums = [v.load(begin, j * v.bytes) for j in range(width)]
        sums += [v.c(0.0)] * (width * (sets - 1))
        whole = b.udiv(count, const(sets))
        sums = v.loop(whole, sums, several)
        while len(sums) > width:
            half = len(sums) // 2
            sums = [b.fadd(p, q) for p, q in zip(sums[:half], sums[half:], strict=True)]
        if sets > 1:
            done = b.mul(whole, const(sets))
            rest = b.sub(count, done)
            done = b.add(first, done)
            sums = v.loop(rest, sums, lambda t, s: add_item(b.add(done, t), s))
        for j, total in enumerate(sums):
            v.store(total, out, j * v.bytes)

    lists.over_rows(order, rows, block, end, row)


def gradient(v: Vec, args: list[Any], width: int, coded: bool) -> None:
    """g[k] += x[k] d for the k of some blocks, sample by sample: (g, ldg, d, ldd, order, starts,
    cuts, n_cuts, columns, values, table, first, last, rows).
    """
    g, ldg, d, ldd, order, *where, block, end, rows = args
    b, lists = v.b, _Lists(v, where, coded)

    def row(r: Any, first: Any, count: Any) -> None:
        delta = v.at(d, b.mul(r, ldd))
        held = [v.load(delta, j * v.bytes) for j in range(width)]

        def item(i: Any, _: list[Any]) -> list[Any]:
            column, value = lists.item(b.add(first, i))
            x, start = v.splat(value), v.at(g, b.mul(column, ldg))
            for j in range(width):
                total = v.fma(x, held[j], v.load(start, j * v.bytes))
                v.store(total, start, j * v.bytes)
            return []

        v.loop(count, [], item)

    lists.over_rows(order, rows, block, end, row)


def by_feature(v: Vec, args: list[Any], coded: bool) -> None:
    """List the samples in which each feature of some blocks is not zero: (counts, before, listed,
    ld_listed, ldd, first_row, order, starts, cuts, n_cuts, columns, values, table, first, last,
    rows, begin, features, following).

    An item is two numbers of the dtype's size: where the sample's delta lies (an integer, `ldd`
    bytes a row, these from `first_row` on) and the feature's value. Counts (uint32) of `features`
    features from `begin` on, those of the blocks, go on from those at `before`. The lists of the
    `rows` samples at `following` are asked for meanwhile: they lie anywhere in memory.
    """
    counts, before, listed, ld_listed, ldd, first_row, order, *where = args
    *where, block, end, rows, begin, features, following = where
    b, lists = v.b, _Lists(v, where, coded)

    def take_over(k: Any, _: list[Any]) -> list[Any]:
        at = b.shl(b.add(begin, k), const(2))
        v.store_scalar(v.load_scalar(before, at, I32), v.at(counts, at))
        return []

    v.loop(features, [], take_over)

    def row(r: Any, first: Any, count: Any) -> None:
        offset = b.mul(b.add(first_row, r), ldd)
        offset = b.trunc(offset, I32) if v.size == 4 else offset
        lists.prefetch(following, r)

        def item(i: Any, _: list[Any]) -> list[Any]:
            column, value = lists.item(b.add(first, i))
            slot = v.at(counts, b.shl(column, const(2)))
            seen = v.load_scalar(slot, 0, I32)
            at = b.add(b.mul(column, ld_listed), b.mul(b.zext(seen, I64), const(2 * v.size)))
            v.store_scalar(offset, listed, at)
            v.store_scalar(value, v.at(listed, v.size), at)
            v.store_scalar(b.add(seen, I32(1)), slot)
            return []

        v.loop(count, [], item)

    lists.over_rows(order, rows, block, end, row)


def feature_update(v: Vec, args: list[Any], width: int) -> None:
    """dW[k] = sum of x[k] d over the samples listed for feature k, then the optimizer: (w, ldw,
    sums, d, counts, before, listed, ld_listed, features, code, state, hyper).

    The samples are those listed since `before`; sums run in the order of the list, and go on from
    those at `sums`, strided as w, where it is not 0. Plain gradient descent leaves a feature alone
    that no sample has.
    """
    w, ldw, sums, d, counts, before, listed, ld_listed, features, code, distance, hyper = args
    b = v.b
    l2 = v.load_scalar(hyper, HYPERPARAMETERS.index("l2") * v.size)
    plain = b.icmp_signed("==", code, const(OPTIMIZERS["sgd"]))
    plain = b.and_(plain, b.fcmp_ordered("==", l2, v.scalar(0.0)))
    fresh, in_place = b.icmp_signed("==", sums, const(0)), b.icmp_signed("==", sums, w)

    def count_of(k: Any) -> list[Any]:
        at = b.shl(k, const(2))
        return [b.zext(v.load_scalar(c, at, I32), I64) for c in (before, counts)]

    def step(k: Any, begin: Any, end: Any) -> list[Any]:
        first = v.at(listed, b.add(b.mul(k, ld_listed), b.mul(begin, const(2 * v.size))))
        shift = b.mul(k, ldw)

        def item(t: Any, totals: list[Any]) -> list[Any]:
            at = v.at(first, b.mul(t, const(2 * v.size)))
            offset = v.load_scalar(at, 0, I32 if v.size == 4 else I64)
            delta = v.at(d, b.zext(offset, I64) if v.size == 4 else offset)
            x = v.splat(v.load_scalar(at, v.size))
            return [v.fma(x, v.load(delta, j * v.bytes), totals[j]) for j in range(width)]

        def held() -> list[Any]:
            return [v.load(v.at(sums, shift), j * v.bytes) for j in range(width)]

        totals = v.choose(fresh, lambda: [v.c(0.0)] * width, held)
        totals = v.loop(b.sub(end, begin), totals, item)
        row = v.at(w, shift)

        def visit(use: Callable[[Any, Any, int], None]) -> None:
            for j, total in enumerate(totals):
                use(total, row, j * v.bytes)

        v.switch(code, update_cases(v, visit, distance, hyper))
        return []

    def feature(k: Any, listed_of_k: list[Any]) -> list[Any]:
        following, (begin, end) = b.add(k, const(1)), listed_of_k
        more = b.icmp_signed("<", following, features)
        ahead = count_of(b.select(more, following, k))
        idle = b.and_(plain, b.icmp_signed("==", end, const(0)))
        idle = b.or_(idle, b.and_(in_place, b.icmp_signed("==", begin, end)))
        v.choose(idle, lambda: [], lambda: step(k, begin, end))
        return ahead

    v.loop(features, count_of(const(0)), feature)
