"""Kernels of the first layer over non-zero inputs only.

A zero adds nothing to the forward sum and nothing to its row of dW, so both are left out; what is
added is added in ascending order, as in the dense tile. Samples come as lists of columns (uint16)
and values, one list a row. `cuts` (uint16) holds where in the list each block of columns begins,
and behind the last one the list's length: rows of W are worked on block by block, because a block
stays in the first-level cache where the whole of W does not. Rows of a CSR matrix are read as they
lie, columns as int32, in one block.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from .elementwise import over_rows
from .optimizers import HYPERPARAMETERS, OPTIMIZERS, update_cases
from .records import record, subroutine
from .simd import I8, I16, I32, I64, const
from .vector_math import Vec

__all__ = ["LISTS", "PANEL", "by_feature", "feature_update", "forward", "gradient", "prefetch"]

PANEL = 8  # vectors of a row that one pass over lists of non-zeros keeps in registers at most

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
        sample = v.load_scalar(order, b.shl(r, const(3)), I64)
        at = v.at(self.q.starts, b.shl(sample, const(3)))
        start = v.load_scalar(at, 0, I64)
        if self.kind == "csr":
            length = b.sub(v.load_scalar(at, 8, I64), start)
            return start, b.select(b.icmp_signed("<", first, last), length, const(0))
        cuts = v.at(self.q.cuts, b.shl(b.mul(sample, self.q.n_cuts), const(1)))
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
        first, count = self.stretch(order, r, const(0), b.sub(self.q.n_cuts, const(1)))
        value_bytes = 1 if self.kind == "codes" else v.size
        column_bytes = 4 if self.kind == "csr" else 2
        for address, size in ((self.q.columns, column_bytes), (self.q.values, value_bytes)):
            start = v.at(address, b.mul(first, const(size)))
            lines = b.add(b.udiv(b.mul(count, const(size)), const(_LINE)), const(1))

            def line(i: Any, start: Any = start) -> None:
                v.prefetch(v.at(start, b.mul(i, const(_LINE))))

            over_rows(v, lines, line)

    def item(self, t: Any) -> tuple[Any, Any]:
        """Return the column and the value of item t."""
        v, b = self.v, self.v.b
        shift, width = (2, I32) if self.kind == "csr" else (1, I16)
        column = b.zext(v.load_scalar(self.q.columns, b.shl(t, const(shift)), width), I64)
        if self.kind == "codes":
            code = b.zext(v.load_scalar(self.q.values, t, I8), I64)
            return column, v.load_scalar(self.q.table, b.mul(code, const(v.size)))
        return column, v.load_scalar(self.q.values, b.mul(t, const(v.size)))


def _where(q: Any) -> dict[str, Any]:
    """Return the fields that say where the lists lie."""
    return {name: getattr(q, name) for name in _Lists.FIELDS.split()}


def over_even_panels(
    v: Vec, vectors: Any, call: Callable[[int, Any], None], most: int = PANEL
) -> None:
    """Emit ``call(width, offset)`` over the panels of a row of `vectors`: as few as there can be
    of `most` vectors each, evenly cut; the offset is in bytes.
    """
    b = v.b

    def panels_of(rest: Any) -> Any:
        return b.udiv(b.add(rest, const(most - 1)), const(most))

    def panel(_: Any, state: list[Any]) -> list[Any]:
        (done,) = state
        rest = b.sub(vectors, done)
        panels = panels_of(rest)
        width = b.udiv(b.add(rest, b.sub(panels, const(1))), panels)
        offset = b.mul(done, const(v.bytes))
        v.switch(width, {n: partial(call, n, offset) for n in range(1, most + 1)}, every=True)
        return [b.add(done, width)]

    v.loop(panels_of(vectors), [const(0)], panel)


def _over_blocks(v: Vec, q: Any, body: Callable[[Any, Any], None]) -> None:
    """Emit ``body(first, last)`` over the blocks of columns, `at_once` of them at a time."""
    b = v.b
    blocks = b.sub(q.n_cuts, const(1))
    count = b.udiv(b.add(blocks, b.sub(q.at_once, const(1))), q.at_once)

    def step(i: Any) -> None:
        first = b.mul(i, q.at_once)
        body(first, v.least(b.add(first, q.at_once), blocks))

    over_rows(v, count, step)


@record(f"order {_Lists.FIELDS}")
def prefetch(v: Vec, q: Any, kind: str) -> None:
    """Ask for the list of sample order[0]: it may lie anywhere in memory."""
    _Lists(v, q, kind).prefetch(q.order, const(0))


@record(f"z ldz bias order {_Lists.FIELDS} first last w ldw rows")
def _forward_panel(v: Vec, q: Any, width: int, kind: str) -> None:
    """z += x W over some blocks, for `width` vectors of every row. Block 0 starts at the bias."""
    b, lists = v.b, _Lists(v, q, kind)
    sets = max(1, _SUMS // width)

    def row(r: Any, first: Any, count: Any) -> None:
        out = v.at(q.z, b.mul(r, q.ldz))

        def add_item(t: Any, sums: list[Any]) -> list[Any]:
            column, value = lists.item(b.add(first, t))
            x, row_of_w = v.splat(value), v.at(q.w, b.mul(column, q.ldw))
            return [v.fma(x, v.load(row_of_w, j * v.bytes), sums[j]) for j in range(width)]

        begin = b.select(b.icmp_signed("==", q.first, const(0)), q.bias, out)
        start = [v.load(begin, j * v.bytes) for j in range(width)]
        for j, total in enumerate(v.interleaved(count, start, sets, add_item)):
            v.store(total, out, j * v.bytes)

    lists.over_rows(q.order, q.rows, q.first, q.last, row)


@record(f"z ldz bias order {_Lists.FIELDS} at_once w ldw rows vectors")
def forward(v: Vec, q: Any, kind: str) -> None:
    """z = bias + x W for samples order[0 .. rows), `at_once` blocks of columns at a time."""
    given = _where(q)

    def panel(width: int, offset: Any) -> None:
        emit = partial(_forward_panel, width=width, kind=kind)
        tile = subroutine(v, f"sparse_forward_{kind}_{width}", emit)
        _over_blocks(
            v, q,
            lambda first, last: tile(
                z=v.at(q.z, offset), ldz=q.ldz, bias=v.at(q.bias, offset), order=q.order, **given,
                first=first, last=last, w=v.at(q.w, offset), ldw=q.ldw, rows=q.rows,
            ),
        )  # fmt: skip

    over_even_panels(v, q.vectors, panel)


@record(f"g ldg d ldd order {_Lists.FIELDS} first last rows")
def _gradient_panel(v: Vec, q: Any, width: int, kind: str) -> None:
    """g[k] += x[k] d for the k of some blocks, sample by sample, `width` vectors of it."""
    b, lists = v.b, _Lists(v, q, kind)

    def row(r: Any, first: Any, count: Any) -> None:
        delta = v.at(q.d, b.mul(r, q.ldd))
        held = [v.load(delta, j * v.bytes) for j in range(width)]

        def item(i: Any) -> None:
            column, value = lists.item(b.add(first, i))
            x, start = v.splat(value), v.at(q.g, b.mul(column, q.ldg))
            for j in range(width):
                total = v.fma(x, held[j], v.load(start, j * v.bytes))
                v.store(total, start, j * v.bytes)

        over_rows(v, count, item)

    lists.over_rows(q.order, q.rows, q.first, q.last, row)


@record(f"g ldg d ldd order {_Lists.FIELDS} at_once rows vectors")
def gradient(v: Vec, q: Any, kind: str) -> None:
    """g[k] += x[k] d for samples order[0 .. rows), `at_once` blocks of columns at a time."""
    given = _where(q)

    def block(first: Any, last: Any) -> None:
        def panel(width: int, offset: Any) -> None:
            emit = partial(_gradient_panel, width=width, kind=kind)
            tile = subroutine(v, f"sparse_gradient_{kind}_{width}", emit)
            tile(
                g=v.at(q.g, offset), ldg=q.ldg, d=v.at(q.d, offset), ldd=q.ldd, order=q.order,
                **given, first=first, last=last, rows=q.rows,
            )  # fmt: skip

        over_even_panels(v, q.vectors, panel)

    _over_blocks(v, q, block)


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

    def take_over(k: Any) -> None:
        at = b.shl(b.add(q.begin, k), const(2))
        v.store_scalar(v.load_scalar(q.before, at, I32), v.at(q.counts, at))

    over_rows(v, q.features, take_over)

    def row(r: Any, first: Any, count: Any) -> None:
        offset = b.mul(b.add(q.first_row, r), q.ldd)
        offset = b.trunc(offset, I32) if v.size == 4 else offset
        lists.prefetch(q.following, r)

        def item(i: Any) -> None:
            column, value = lists.item(b.add(first, i))
            slot = v.at(q.counts, b.shl(column, const(2)))
            seen = v.load_scalar(slot, 0, I32)
            at = b.add(b.mul(column, q.ld_listed), b.mul(b.zext(seen, I64), const(2 * v.size)))
            v.store_scalar(offset, q.listed, at)
            v.store_scalar(value, v.at(q.listed, v.size), at)
            v.store_scalar(b.add(seen, I32(1)), slot)

        over_rows(v, count, item)

    lists.over_rows(q.order, q.rows, q.first, q.last, row)


@record("w ldw sums d counts before listed ld_listed features code state hyper")
def _feature_panel(v: Vec, q: Any, width: int) -> None:
    """dW[k] = sum of x[k] d over the samples listed for feature k, then the optimizer: (w, ldw,
    sums, d, counts, before, listed, ld_listed, features, code, state, hyper).

    The samples are those listed since `before`; sums run in the order of the list, and go on from
    those at `sums`, strided as w, where it is not 0. Plain gradient descent leaves a feature alone
    that no sample has.
    """
    b = v.b
    l2 = v.load_scalar(q.hyper, HYPERPARAMETERS.index("l2") * v.size)
    plain = b.icmp_signed("==", q.code, const(OPTIMIZERS["sgd"]))
    plain = b.and_(plain, b.fcmp_ordered("==", l2, v.scalar(0.0)))
    fresh, in_place = b.icmp_signed("==", q.sums, const(0)), b.icmp_signed("==", q.sums, q.w)

    def count_of(k: Any) -> list[Any]:
        at = b.shl(k, const(2))
        return [b.zext(v.load_scalar(c, at, I32), I64) for c in (q.before, q.counts)]

    def step(k: Any, begin: Any, end: Any) -> None:
        first = v.at(q.listed, b.add(b.mul(k, q.ld_listed), b.mul(begin, const(2 * v.size))))
        shift = b.mul(k, q.ldw)

        def item(t: Any, totals: list[Any]) -> list[Any]:
            at = v.at(first, b.mul(t, const(2 * v.size)))
            offset = v.load_scalar(at, 0, I32 if v.size == 4 else I64)
            delta = v.at(q.d, b.zext(offset, I64) if v.size == 4 else offset)
            x = v.splat(v.load_scalar(at, v.size))
            return [v.fma(x, v.load(delta, j * v.bytes), totals[j]) for j in range(width)]

        def held() -> list[Any]:
            return [v.load(v.at(q.sums, shift), j * v.bytes) for j in range(width)]

        totals = v.choose(fresh, lambda: [v.c(0.0)] * width, held)
        totals = v.loop(b.sub(end, begin), totals, item)
        row = v.at(q.w, shift)

        def visit(use: Callable[[Any, Any, int], None]) -> None:
            for j, total in enumerate(totals):
                use(total, row, j * v.bytes)

        v.switch(q.code, update_cases(v, visit, q.state, q.hyper))

    def feature(k: Any, listed_of_k: list[Any]) -> list[Any]:
        following, (begin, end) = b.add(k, const(1)), listed_of_k
        more = b.icmp_signed("<", following, q.features)
        ahead = count_of(b.select(more, following, k))
        idle = b.and_(plain, b.icmp_signed("==", end, const(0)))
        idle = b.or_(idle, b.and_(in_place, b.icmp_signed("==", begin, end)))
        v.choose(idle, list, lambda: step(k, begin, end))
        return ahead

    v.loop(q.features, count_of(const(0)), feature)


@record("w ldw sums d counts before listed ld_listed features vectors code state hyper")
def feature_update(v: Vec, q: Any) -> None:
    """As `_feature_panel`, of a panel of as many vectors as the record says, 8 at most."""
    given = {name: value for name, value in vars(q).items() if name != "vectors"}

    def call(width: int) -> None:
        emit = partial(_feature_panel, width=width)
        subroutine(v, f"feature_update_{width}", emit)(**given)

    v.switch(q.vectors, {n: partial(call, n) for n in range(1, PANEL + 1)}, every=True)
