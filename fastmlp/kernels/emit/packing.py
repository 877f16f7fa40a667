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

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any

from .flow import const, constant
from .gemm import MR, NV, over_panels
from .records import record
from .vector_math import RowVec, Vec, along_row

__all__ = ["pack_columns_left", "pack_columns_right", "pack_rows_right", "split_rows_left"]

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
    whole = b.lshr(q.k, const(1)) if parts else q.k

    def one(u: Vec, t: Any, count: int) -> None:
        """Copy the t-th k or, of a pair of them, the first `count`."""
        line = b.shl(t, const(1)) if parts else t
        src = v.at(q.src, b.add(b.mul(line, q.lds), v.times(column, v.size)))
        to = v.at(dst, b.add(q.first, t), max(1, parts) * row)
        for i in range(pieces):
            rows = [u.load(v.at(src, q.lds) if k else src, i * size, length) for k in range(count)]
            if count == 1 and parts:
                rows.append(constant(rows[0].type, 0.0))
            for values in _together(v, rows, parts):
                for r, value in enumerate(values):
                    v.store(value, v.at(v.at(to, i, between), r * row))

    for inside in v.either(b.icmp_signed("<=", b.add(column, const(pieces * length)), q.n)):
        u = v if inside else RowVec(v, b.sub(q.n, column))
        with v.each(whole) as t:
            one(u, t, 2 if parts else 1)
        if parts:
            with v.each(b.and_(q.k, const(1))) as t:
                one(u, b.add(whole, t), 1)


@record("dst src lds first k n depth")
def pack_columns_left(v: Vec, q: Any, parts: int = 0) -> None:
    """dst = k rows of n columns, as the left operand A^T."""
    apart = v.times(q.depth, max(1, parts) * MR * v.size)
    for block, pieces in v.groups(v.ceil(q.n, MR), _AT_ONCE):
        dst = v.at(q.dst, block, apart)
        _copy(v, q, parts, dst, v.times(block, MR), pieces, MR, apart)


@record("dst src lds first k n depth")
def pack_columns_right(v: Vec, q: Any, parts: int = 0) -> None:
    """dst = k rows of n columns, as the right operand B."""
    depth = v.times(q.depth, parts) if parts else q.depth
    for width, offset in over_panels(v, v.ceil(q.n, v.length), even=False):
        dst = v.at(q.dst, offset, depth)
        _copy(v, q, parts, dst, v.b.udiv(offset, const(v.size)), width, v.length)


@record("dst src lds first rows vectors depth")
def pack_rows_right(v: Vec, q: Any, parts: int = 0) -> None:
    """dst = `rows` rows of `depth` columns, as columns of the right operand B^T, which has so many
    `vectors` of them.
    """
    b, depth = v.b, q.depth
    if parts:
        depth = v.times(b.lshr(b.add(depth, const(1)), const(1)), parts)
    with v.each(v.least(v.ceil(q.rows, v.length), b.sub(q.vectors, q.first))) as t:
        number, left = b.add(q.first, t), b.sub(q.rows, v.times(t, v.length))
        panel, inside = b.udiv(number, const(NV)), b.urem(number, const(NV))
        before = v.times(panel, NV)
        step = v.times(v.least(b.sub(q.vectors, before), const(NV)), v.bytes)
        dst = v.at(q.dst, b.add(b.mul(before, depth), inside), v.bytes)
        rows = v.rows(v.at(q.src, v.times(t, v.length), q.lds), q.lds, v.length)
        for number, values in _over_squares(v, rows, left, q.depth, parts):
            to = v.at(dst, v.times(number, parts) if parts else number, step)
            for i, value in enumerate(values):
                v.store(value, v.at(to, i, step) if i else to)


def _over_squares(
    v: Vec, rows: Sequence[Any], left: Any, depth: Any, parts: int
) -> Iterator[tuple[Any, list[Any]]]:
    """Emit the body of a ``for`` for every one of `depth` columns of a vector of rows, or pair of
    columns: its number, and what comes of it. Of the rows so many are `left`, zeros the others.
    """
    b, length = v.b, v.length
    complete = b.icmp_signed(">=", left, const(length))
    squares = b.select(complete, b.udiv(depth, const(length)), const(0))

    def load(i: int, k: Any) -> Any:
        there = b.icmp_signed("<", const(i), left)
        mask = v.lanes_below(b.select(there, b.sub(depth, k), const(0)))
        return v.load_lanes(mask, rows[i], v.times(k, v.size))

    def square(k: Any, columns: list[Any], edge: bool) -> Iterator[tuple[Any, list[Any]]]:
        for j, values in enumerate(_together(v, v.transpose(columns), parts)):
            column = b.add(k, const(2 * j if parts else j))
            with v.when(b.icmp_signed("<", column, depth)) if edge else nullcontext():
                yield b.lshr(column, const(1)) if parts else column, values

    with v.each(squares, length) as k:
        yield from square(k, [v.load(row, v.times(k, v.size)) for row in rows], False)
    with v.each(b.sub(v.ceil(depth, length), squares)) as t:
        k = v.times(b.add(squares, t), length)
        yield from square(k, [load(i, k) for i in range(length)], True)


@record("dst ldd src lds n rows")
def split_rows_left(v: Vec, q: Any, parts: int) -> None:
    """dst = rows of n columns, as the left operand A; zeros fill the last vector of each part."""
    from .bfloat16 import pairs, parts_of

    apart = v.b.udiv(q.ldd, const(parts))
    with v.each(q.rows) as r:
        src, dst = v.at(q.src, r, q.lds), v.at(q.dst, r, q.ldd)
        for u, offset in along_row(v, q.n, 2):
            halves = [parts_of(v, u.load(v.at(src, offset), at), parts) for at in (0, v.bytes)]
            even, odd = (
                [v.shuffle(x, y, range(k, 2 * v.length, 2)) for x, y in zip(*halves, strict=True)]
                for k in (0, 1)
            )
            for i, value in enumerate(pairs(v, even, odd)):
                v.store(value, v.at(v.at(dst, i, apart), v.b.lshr(offset, const(1))))
