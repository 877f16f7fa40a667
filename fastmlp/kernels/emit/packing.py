"""Operands in the order in which a tile reads them, as they are or split into bfloat16 parts.

The left operand lies in blocks of MR rows, the right one in panels of NV vectors of columns (the
last one has what is left); within either, one k lies behind the other, so a tile reads both from
end to end, however far apart rows were. ``pack_columns_...`` takes a matrix whose rows are k after
k, ``pack_rows_...`` one whose columns are.

Rows of a source may have any length and any distance. Nothing beyond them is read; what is missing
of the last block or vector is filled with zeros. `depth` is the k of the whole operand, of which a
call may pack a part, from k number `first` on, or from vector number `first` of its columns.

With `parts` a pair of k stands where one k would (`bfloat16`), and behind each other the parts of a
pair: those of a block's rows, or of a panel's columns. `depth` and `first` count pairs then; of an
odd number of k the last pair has a zero. The left operand of the passes has its rows as they were:
``split_rows_left`` writes the pairs of a row, part after part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .elementwise import over_groups, over_rows, vector_count
from .gemm import MR, NV, over_panels
from .records import record
from .simd import I32, const, ir
from .vector_math import Vec

__all__ = [
    "over_squares",
    "pack_columns_left",
    "pack_columns_right",
    "pack_rows_right",
    "split_rows_left",
]

_AT_ONCE = 4  # blocks of the left operand: their columns are a cache line or more of a row


def _together(v: Vec, rows: Sequence[Any], parts: int) -> Iterator[list[Any]]:
    """Yield what comes of each k, or pair of them, whose rows these are: itself, or its parts."""
    if not parts:
        yield from ([row] for row in rows)
        return
    from .bfloat16 import pairs, parts_of  # by those alone who have asked for it

    split = [parts_of(v, row, parts) for row in rows]
    for even, odd in zip(split[::2], split[1::2], strict=True):
        yield pairs(v, even, odd)


def _copy(
    v: Vec, q: Any, parts: int, dst: Any, column: Any, pieces: int, length: int,
    apart: Any = None,
) -> None:  # fmt: skip
    """Copy `pieces` pieces of every row, of `length` elements each, from `column` on; zeros beyond
    the row's end. They lie `apart` from each other or, side by side, each part of all of them
    before the next part.
    """
    b, size = v.b, length * v.size
    row = size if apart is not None else pieces * size
    between = const(size) if apart is None else apart

    def one(t: Any, count: int, load: Callable[[Any, int], Any]) -> None:
        """Copy the t-th k or, of a pair of them, the first `count`."""
        line = b.shl(t, const(1)) if parts else t
        src = v.at(q.src, b.add(b.mul(line, q.lds), b.mul(column, const(v.size))))
        to = v.at(dst, b.mul(b.add(q.first, t), const(max(1, parts) * row)))
        for i in range(pieces):
            rows = [load(v.at(v.at(src, q.lds) if k else src, i * size), i) for k in range(count)]
            if count == 1 and parts:
                rows.append(ir.Constant(rows[0].type, [0.0] * length))
            for values in _together(v, rows, parts):
                for r, value in enumerate(values):
                    v.store(value, v.at(v.at(to, b.mul(const(i), between)), r * row))

    def all_rows(load: Callable[[Any, int], Any]) -> None:
        whole = b.lshr(q.k, const(1)) if parts else q.k
        over_rows(v, whole, lambda t: one(t, 2 if parts else 1, load))
        if parts:
            over_rows(v, b.and_(q.k, const(1)), lambda t: one(b.add(whole, t), 1, load))

    def part(address: Any, i: int) -> Any:
        mask = v.lanes_below(b.sub(b.sub(q.n, column), const(i * length)), length)
        return v.load_lanes(mask, address)

    inside = b.icmp_signed("<=", b.add(column, const(pieces * length)), q.n)
    v.choose(
        inside,
        lambda: all_rows(lambda address, _: v.load(address, length=length)),
        lambda: all_rows(part),
    )


@record("dst src lds first k n depth")
def pack_columns_left(v: Vec, q: Any, parts: int = 0) -> None:
    """dst = k rows of n columns, as the left operand A^T."""
    b = v.b
    apart = b.mul(q.depth, const(max(1, parts) * MR * v.size))
    blocks = b.udiv(b.add(q.n, const(MR - 1)), const(MR))

    def take(block: Any, pieces: int) -> None:
        dst = v.at(q.dst, b.mul(block, apart))
        _copy(v, q, parts, dst, b.mul(block, const(MR)), pieces, MR, apart)

    over_groups(v, blocks, _AT_ONCE, take)


@record("dst src lds first k n depth")
def pack_columns_right(v: Vec, q: Any, parts: int = 0) -> None:
    """dst = k rows of n columns, as the right operand B."""
    b = v.b
    depth = b.mul(q.depth, const(parts)) if parts else q.depth

    def panel(width: int, offset: Any) -> None:
        dst = v.at(q.dst, b.mul(offset, depth))
        _copy(v, q, parts, dst, b.udiv(offset, const(v.size)), width, v.length)

    over_panels(v, vector_count(v, q.n), panel, even=False)


@record("dst src lds first rows vectors depth")
def pack_rows_right(v: Vec, q: Any, parts: int = 0) -> None:
    """dst = `rows` rows of `depth` columns, as columns of the right operand B^T, which has so many
    `vectors` of them.
    """
    b, depth = v.b, q.depth
    if parts:
        depth = b.mul(b.lshr(b.add(depth, const(1)), const(1)), const(parts))

    def vector(t: Any) -> None:
        number, left = b.add(q.first, t), b.sub(q.rows, b.mul(t, const(v.length)))
        panel, inside = b.udiv(number, const(NV)), b.urem(number, const(NV))
        before = b.mul(panel, const(NV))
        step = b.mul(v.least(b.sub(q.vectors, before), const(NV)), const(v.bytes))
        dst = v.at(q.dst, b.mul(b.add(b.mul(before, depth), inside), const(v.bytes)))
        src = v.at(q.src, b.mul(b.mul(t, const(v.length)), q.lds))
        rows = [v.at(src, b.mul(const(i), q.lds)) for i in range(v.length)]

        def put(number: Any, values: list[Any]) -> None:
            to = v.at(dst, b.mul(b.mul(number, const(parts)) if parts else number, step))
            for i, value in enumerate(values):
                v.store(value, v.at(to, b.mul(const(i), step)) if i else to)

        over_squares(v, rows, left, q.depth, put, parts)

    over_rows(v, v.least(vector_count(v, q.rows), b.sub(q.vectors, q.first)), vector)


def over_squares(
    v: Vec, rows: Sequence[Any], left: Any, depth: Any, put: Callable[[Any, list[Any]], None],
    parts: int = 0,
) -> None:  # fmt: skip
    """Emit ``put(number, values)`` for every one of `depth` columns of a vector of rows, or pair of
    columns: its number, and what comes of it. Of the rows so many are `left`, zeros the others.
    """
    b, length = v.b, v.length
    complete = b.icmp_signed(">=", left, const(length))
    squares = b.select(complete, b.udiv(depth, const(length)), const(0))

    def square(t: Any, load: Callable[[int, Any], Any], edge: bool) -> None:
        k = b.mul(t, const(length))
        columns = v.transpose([load(i, k) for i in range(length)])
        for j, values in enumerate(_together(v, columns, parts)):
            column = b.add(k, const(2 * j if parts else j))

            def use(column: Any = column, values: list[Any] = values) -> None:
                put(b.lshr(column, const(1)) if parts else column, values)

            if edge:
                v.choose(b.icmp_signed("<", column, depth), use)
            else:
                use()

    def whole(i: int, k: Any) -> Any:
        return v.load(rows[i], b.mul(k, const(v.size)))

    def part(i: int, k: Any) -> Any:
        there = b.icmp_signed("<", const(i), left)
        mask = v.lanes_below(b.select(there, b.sub(depth, k), const(0)))
        return v.load_lanes(mask, rows[i], b.mul(k, const(v.size)))

    over_rows(v, squares, lambda t: square(t, whole, False))
    rest = b.sub(b.udiv(b.add(depth, const(length - 1)), const(length)), squares)
    over_rows(v, rest, lambda t: square(b.add(squares, t), part, True))


@record("dst ldd src lds n rows")
def split_rows_left(v: Vec, q: Any, parts: int) -> None:
    """dst = rows of n columns, as the left operand A; zeros fill the last vector of each part."""
    from .bfloat16 import pairs, parts_of

    b, length = v.b, v.length
    apart = b.udiv(q.ldd, const(parts))
    even_lanes, odd_lanes = (
        ir.Constant(ir.VectorType(I32, length), list(range(first, 2 * length, 2)))
        for first in (0, 1)
    )

    def row(r: Any) -> None:
        src, dst = v.at(q.src, b.mul(r, q.lds)), v.at(q.dst, b.mul(r, q.ldd))

        def split(t: Any, load: Callable[[Any, Any], Any]) -> None:
            column = b.mul(t, const(2 * length))
            low, high = (
                parts_of(v, load(v.at(src, b.mul(at, const(v.size))), at), parts)
                for at in (column, b.add(column, const(length)))
            )
            even, odd = (
                [b.shuffle_vector(x, y, lanes) for x, y in zip(low, high, strict=True)]
                for lanes in (even_lanes, odd_lanes)
            )
            for i, value in enumerate(pairs(v, even, odd)):
                to = v.at(v.at(dst, b.mul(const(i), apart)), b.mul(t, const(v.bytes)))
                v.store(value, to)

        whole = b.udiv(q.n, const(2 * length))
        over_rows(v, whole, lambda t: split(t, lambda address, _: v.load(address)))

        def part(address: Any, column: Any) -> Any:
            return v.load_lanes(v.lanes_below(b.sub(q.n, column)), address)

        some = b.zext(b.icmp_signed("!=", b.urem(q.n, const(2 * length)), const(0)), q.n.type)
        over_rows(v, some, lambda t: split(b.add(whole, t), part))

    over_rows(v, q.rows, row)
