"""Kernels of the first layer over non-zero inputs only.

A zero adds nothing to the forward sum and nothing to its row of dW, so both are left out; what is
added is added in ascending order, as in the dense tile. Samples come as lists of columns (uint16)
and values, one list a row. `cuts` (uint16) holds where in the list each block of columns begins,
and behind the last one the list's length: rows of W are worked on block by block, because a block
stays in the first-level cache where the whole of W does not. Rows of a CSR matrix are read as they
lie, columns as int32, in one block.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from .flow import I8, I16, I32, I64, const
from .optimizers import OPTIMIZERS, load_hyperparameters, updates
from .records import record, subroutine
from .vector_math import Vec

__all__ = [
    "LISTS",
    "PANEL",
    "by_feature",
    "feature_update",
    "prefetch",
    "sparse_forward",
    "sparse_gradient",
]

PANEL = 8  # vectors of a row that one pass over lists of non-zeros keeps in registers at most
_WIDTHS = {n: n for n in range(1, PANEL + 1)}

LISTS = ("codes", "values", "csr")  # kinds of them
_LINE = 64  # bytes of a cache line
_SUMS = 4  # chains in flight that hide the latency of the multiply-add in narrow layers


class _Lists:
    """Where lists of non-zeros lie: the fields that the kernels here share.

    Of kind "codes" values are uint8 numbers into the table; of "values" they are stored as they
    are; "csr" is a CSR matrix, whose `starts` end with the count of all.
    """

    FIELDS = "starts cuts n_cuts columns values table"

    def __init__(self, v: Vec, q: Any, kind: str) -> None:
        self.q, self.v, self.kind = q, v, kind

    def stretch(self, order: Any, r: Any, first: Any, last: Any) -> tuple[Any, Any]:
        """Return where blocks first .. last of sample order[r] begin, and how many items follow."""
        v, b = self.v, self.v.b
        sample = v.load_item(order, r, I64)
        start = v.load_item(self.q.starts, sample, I64)
        if self.kind == "csr":
            end = v.load_item(self.q.starts, b.add(sample, const(1)), I64)
            more = b.icmp_signed("<", first, last)
            return start, b.select(more, b.sub(end, start), const(0))
        cuts = v.at(self.q.cuts, b.mul(sample, self.q.n_cuts), 2)
        begin, end = (v.load_item(cuts, block, I16) for block in (first, last))
        return b.add(start, begin), b.sub(end, begin)

    @contextmanager
    def each(self, order: Any, rows: Any, first: Any, last: Any) -> Iterator[tuple[Any, Any, Any]]:
        """Emit a loop over rows around the block: a row's number, where its stretch begins, and
        how many items it has. A stretch is looked up during the row before it, since the end of an
        inner loop is rarely foreseen.
        """
        b, v = self.v.b, self.v
        with v.loop(rows, self.stretch(order, const(0), first, last)) as (r, state):
            begin, count = state
            following = b.add(r, const(1))
            more = b.icmp_signed("<", following, rows)
            state[:] = self.stretch(order, b.select(more, following, r), first, last)
            yield r, begin, count

    def prefetch(self, order: Any, r: Any) -> None:
        """Ask for the whole list of sample order[r]."""
        v, b = self.v, self.v.b
        first, count = self.stretch(order, r, const(0), b.sub(self.q.n_cuts, const(1)))
        value_bytes = 1 if self.kind == "codes" else v.size
        column_bytes = 4 if self.kind == "csr" else 2
        for address, size in ((self.q.columns, column_bytes), (self.q.values, value_bytes)):
            start = v.at(address, first, size)
            lines = b.add(b.udiv(v.times(count, size), const(_LINE)), const(1))
            with v.each(lines, _LINE) as line:
                v.prefetch(v.at(start, line))

    def item(self, t: Any) -> tuple[Any, Any]:
        """Return the column and the value of item t."""
        v = self.v
        column = v.load_item(self.q.columns, t, I32 if self.kind == "csr" else I16)
        if self.kind == "codes":
            return column, v.load_item(self.q.table, v.load_item(self.q.values, t, I8))
        return column, v.load_item(self.q.values, t)


def over_even_panels(v: Vec, vectors: Any) -> Iterator[tuple[int, Any]]:
    """Emit the body of a ``for`` over the panels of a row of `vectors`, as few as there can be,
    evenly cut: it is given their width and their offset in bytes.
    """
    b = v.b

    with v.loop(v.ceil(vectors, PANEL), [const(0)]) as (_, done):
        rest = b.sub(vectors, done[0])
        width, offset = v.ceil(rest, v.ceil(rest, PANEL)), v.times(done[0], v.bytes)
        for n in v.cases(width, _WIDTHS, every=True):
            yield n, offset
        done[0] = b.add(done[0], width)


@contextmanager
def _blocks(v: Vec, q: Any) -> Iterator[tuple[Any, Any]]:
    """Emit a loop around the block over the blocks of columns, `at_once` of them at a time: the
    first, and the one behind the last.
    """
    with v.blocks(v.b.sub(q.n_cuts, const(1)), q.at_once) as (first, count):
        yield first, v.b.add(first, count)


@record(f"order {_Lists.FIELDS}")
def prefetch(v: Vec, q: Any, kind: str) -> None:
    """Ask for the list of sample order[0]: it may lie anywhere in memory."""
    _Lists(v, q, kind).prefetch(q.order, const(0))


@record(f"z ldz bias order {_Lists.FIELDS} first last w ldw rows")
def _forward_panel(v: Vec, q: Any, width: int, kind: str) -> None:
    """z += x W over some blocks, for `width` vectors of every row. Block 0 starts at the bias."""
    b, lists = v.b, _Lists(v, q, kind)
    sets = max(1, _SUMS // width)
    with lists.each(q.order, q.rows, q.first, q.last) as (r, first, count):
        out = v.at(q.z, r, q.ldz)

        def add_item(t: Any, sums: list[Any]) -> list[Any]:
            column, value = lists.item(b.add(first, t))
            x, row_of_w = v.splat(value), v.at(q.w, column, q.ldw)
            return [v.fma(x, v.load(row_of_w, j * v.bytes), sums[j]) for j in range(width)]

        begin = b.select(b.icmp_signed("==", q.first, const(0)), q.bias, out)
        start = v.load_row(begin, width)
        for j, total in enumerate(v.interleaved(count, start, sets, add_item)):
            v.store(total, out, j * v.bytes)


@record(f"z ldz bias order {_Lists.FIELDS} at_once w ldw rows vectors")
def sparse_forward(v: Vec, q: Any, kind: str) -> None:
    """z = bias + x W for samples order[0 .. rows), `at_once` blocks of columns at a time."""
    for width, offset in over_even_panels(v, q.vectors):
        emit = partial(_forward_panel, width=width, kind=kind)
        panel = subroutine(v, f"sparse_forward_{kind}_{width}", emit)
        with _blocks(v, q) as (first, last):
            z, bias, w = (v.at(address, offset) for address in (q.z, q.bias, q.w))
            panel(q, z=z, bias=bias, w=w, first=first, last=last)


@record(f"g ldg d ldd order {_Lists.FIELDS} first last rows")
def _gradient_panel(v: Vec, q: Any, width: int, kind: str) -> None:
    """g[k] += x[k] d for the k of some blocks, sample by sample, `width` vectors of it."""
    lists = _Lists(v, q, kind)
    with lists.each(q.order, q.rows, q.first, q.last) as (r, first, count):
        delta = v.at(q.d, r, q.ldd)
        held = v.load_row(delta, width)
        with v.each(count) as i:
            column, value = lists.item(v.b.add(first, i))
            x, start = v.splat(value), v.at(q.g, column, q.ldg)
            for j in range(width):
                total = v.fma(x, held[j], v.load(start, j * v.bytes))
                v.store(total, start, j * v.bytes)


@record(f"g ldg d ldd order {_Lists.FIELDS} at_once rows vectors")
def sparse_gradient(v: Vec, q: Any, kind: str) -> None:
    """g[k] += x[k] d for samples order[0 .. rows), `at_once` blocks of columns at a time."""
    with _blocks(v, q) as (first, last):
        for width, offset in over_even_panels(v, q.vectors):
            emit = partial(_gradient_panel, width=width, kind=kind)
            panel = subroutine(v, f"sparse_gradient_{kind}_{width}", emit)
            panel(q, g=v.at(q.g, offset), d=v.at(q.d, offset), first=first, last=last)


@record(
    f"counts before listed ld_listed ldd first_row order {_Lists.FIELDS} first last rows begin "
    "features following"
)
def by_feature(v: Vec, q: Any, kind: str) -> None:
    """List the samples in which each feature of some blocks is not zero.

    An item is two numbers of the dtype's size: where the sample's delta lies (an integer, `ldd`
    bytes a row, these from `first_row` on) and the feature's value. Counts (uint32) of `features`
    features from `begin` on, those of the blocks, go on from those at `before`. The lists of the
    `rows` samples at `following` are asked for meanwhile: they lie anywhere in memory.
    """
    b, lists = v.b, _Lists(v, q, kind)
    with v.each(q.features) as k:
        at = b.add(q.begin, k)
        v.store_item(v.load_item(q.before, at, I32), q.counts, at, I32)
    with lists.each(q.order, q.rows, q.first, q.last) as (r, first, count):
        offset = b.mul(b.add(q.first_row, r), q.ldd)
        lists.prefetch(q.following, r)
        with v.each(count) as i:
            column, value = lists.item(b.add(first, i))
            seen = v.load_item(q.counts, column, I32)
            at = b.add(b.mul(column, q.ld_listed), v.times(seen, 2 * v.size))
            v.store_item(offset, v.at(q.listed, at), 0, I32 if v.size == 4 else I64)
            v.store_scalar(value, v.at(q.listed, v.size), at)
            v.store_item(b.add(seen, const(1)), q.counts, column, I32)


@record("w ldw sums d counts before listed ld_listed features code state hyper")
def _feature_panel(v: Vec, q: Any, width: int) -> None:
    """dW[k] = sum of x[k] d over the samples listed for feature k, then the optimizer.

    The samples are those listed since `before`; sums run in the order of the list, and go on from
    those at `sums`, strided as w, where it is not 0. Plain gradient descent leaves a feature alone
    that no sample has.
    """
    b = v.b
    l2 = v.first(load_hyperparameters(v, q.hyper, ["l2"])["l2"])
    plain = b.icmp_signed("==", q.code, const(OPTIMIZERS["sgd"]))
    plain = b.and_(plain, b.fcmp_ordered("==", l2, v.scalar(0.0)))
    fresh, in_place = b.icmp_signed("==", q.sums, const(0)), b.icmp_signed("==", q.sums, q.w)

    def count_of(k: Any) -> list[Any]:
        return [v.load_item(counts, k, I32) for counts in (q.before, q.counts)]

    with v.loop(q.features, count_of(const(0))) as (k, listed):
        following, (begin, end) = b.add(k, const(1)), listed
        more = b.icmp_signed("<", following, q.features)
        listed[:] = count_of(b.select(more, following, k))
        idle = b.and_(plain, b.icmp_signed("==", end, const(0)))
        idle = b.or_(idle, b.and_(in_place, b.icmp_signed("==", begin, end)))
        with v.when(b.not_(idle)):
            first = v.at(q.listed, b.add(b.mul(k, q.ld_listed), v.times(begin, 2 * v.size)))
            shift = b.mul(k, q.ldw)
            held = partial(v.load_row, v.at(q.sums, shift), width)
            totals = v.choose(fresh, lambda: [v.c(0.0)] * width, held)
            with v.loop(b.sub(end, begin), totals) as (t, totals):
                at = v.at(first, t, 2 * v.size)
                delta = v.at(q.d, v.load_item(at, 0, I32 if v.size == 4 else I64))
                x = v.splat(v.load_scalar(at, v.size))
                for j in range(width):
                    totals[j] = v.fma(x, v.load(delta, j * v.bytes), totals[j])
            row = v.at(q.w, shift)
            for become in updates(v, q):
                for j, total in enumerate(totals):
                    become(total, row, j * v.bytes)


@record("w ldw sums d counts before listed ld_listed features vectors code state hyper")
def feature_update(v: Vec, q: Any) -> None:
    """As `_feature_panel`, of a panel of as many vectors as the record says, 8 at most."""
    for width in v.cases(q.vectors, _WIDTHS, every=True):
        subroutine(v, f"feature_update_{width}", partial(_feature_panel, width=width))(q)
