"""Operands in the order in which a tile reads them.

The left operand lies in blocks of MR rows, the right one in panels of NV vectors of columns (the
last one has what is left); within either, one k lies behind the other, so a tile reads both from
end to end, however far apart rows were. ``pack_columns_...`` takes a matrix whose rows are k after
k, ``pack_rows_...`` one whose columns are.

Rows of a source may have any length and any distance. Nothing beyond them is read; what is missing
of the last block or vector is filled with zeros. `depth` is the k of the whole operand, of which a
call may pack a part, from k number `first` on, or from vector number `first` of its columns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .elementwise import over_rows, vector_count
from .gemm import MR, NV, over_panels
from .records import record
from .simd import const
from .vector_math import Vec

__all__ = ["over_columns", "pack_columns_left", "pack_columns_right", "pack_rows_right"]

_AT_ONCE = 4  # blocks of the left operand: their columns are a cache line or more of a row


def over_columns(
    v: Vec, n: Any, column: Any, pieces: int, length: int,
    rows: Callable[[Callable[[Any, int], Any]], list[Any]],
) -> None:  # fmt: skip
    """Emit ``rows(load)``, where ``load(address, i)`` loads the i-th piece of a row, of `pieces`
    that have `length` elements each, from `column` on: zeros beyond its `n` columns.
    """
    b = v.b

    def whole(address: Any, _: int) -> Any:
        return v.load_part(address, length)

    def part(address: Any, i: int) -> Any:
        return v.load_part(address, length, b.sub(b.sub(n, column), const(i * length)))

    inside = b.icmp_signed("<=", b.add(column, const(pieces * length)), n)
    v.choose(inside, lambda: rows(whole), lambda: rows(part))


def _copy(
    v: Vec, q: Any, dst: Any, column: Any, pieces: int, length: int, apart: Any, step: int
) -> None:
    """Copy `pieces` pieces of every row, of `length` elements each: those of a row lie `apart` from
    each other, those of the next one `step` bytes further.
    """
    b = v.b

    def rows(load: Callable[[Any, int], Any]) -> list[Any]:
        def row(k: Any) -> None:
            src = v.at(q.src, b.add(b.mul(k, q.lds), b.mul(column, const(v.size))))
            to = v.at(dst, b.mul(b.add(q.first, k), const(step)))
            for i in range(pieces):
                value = load(v.at(src, i * length * v.size), i)
                v.store_part(value, v.at(to, b.mul(const(i), apart)))

        over_rows(v, q.k, row)
        return []

    over_columns(v, q.n, column, pieces, length, rows)


@record("dst src lds first k n depth")
def pack_columns_left(v: Vec, q: Any) -> None:
    """dst = k rows of n columns, as the left operand A^T."""
    b, step = v.b, MR * v.size
    apart = b.mul(q.depth, const(step))
    blocks = b.udiv(b.add(q.n, const(MR - 1)), const(MR))
    groups = b.udiv(blocks, const(_AT_ONCE))

    def take(block: Any, pieces: int) -> None:
        dst = v.at(q.dst, b.mul(block, apart))
        _copy(v, q, dst, b.mul(block, const(MR)), pieces, MR, apart, step)

    over_rows(v, groups, lambda t: take(b.mul(t, const(_AT_ONCE)), _AT_ONCE))
    done = b.mul(groups, const(_AT_ONCE))
    over_rows(v, b.sub(blocks, done), lambda t: take(b.add(done, t), 1))


@record("dst src lds first k n depth")
def pack_columns_right(v: Vec, q: Any) -> None:
    """dst = k rows of n columns, as the right operand B."""

    def panel(width: int, offset: Any) -> None:
        dst, column = v.at(q.dst, v.b.mul(offset, q.depth)), v.b.udiv(offset, const(v.size))
        _copy(v, q, dst, column, width, v.length, const(v.bytes), width * v.bytes)

    over_panels(v, vector_count(v, q.n), panel, even=False)


@record("dst src lds first rows vectors depth")
def pack_rows_right(v: Vec, q: Any) -> None:
    """dst = `rows` rows of `depth` columns, as columns of the right operand B^T, which has so many
    `vectors` of them.
    """
    b = v.b

    def vector(t: Any) -> None:
        number, left = b.add(q.first, t), b.sub(q.rows, b.mul(t, const(v.length)))
        panel, inside = b.udiv(number, const(NV)), b.urem(number, const(NV))
        before = b.mul(panel, const(NV))
        width = v.least(b.sub(q.vectors, before), const(NV))
        step = b.mul(width, const(v.bytes))
        dst = b.add(b.mul(before, q.depth), inside)
        dst = v.at(q.dst, b.mul(dst, const(v.bytes)))
        src = v.at(q.src, b.mul(b.mul(t, const(v.length)), q.lds))
        _transpose(v, q, dst, step, src, left)

    over_rows(v, v.least(vector_count(v, q.rows), b.sub(q.vectors, q.first)), vector)


def _transpose(v: Vec, q: Any, dst: Any, step: Any, src: Any, left: Any) -> None:
    """Turn a vector of rows, of which there are `left`, into columns that lie `step` apart."""
    b = v.b
    rows = [v.at(src, b.mul(const(i), q.lds)) for i in range(v.length)]
    whole = b.icmp_signed(">=", left, const(v.length))
    squares = b.select(whole, b.udiv(q.depth, const(v.length)), const(0))

    def square(t: Any) -> None:
        k = b.mul(t, const(v.length))
        columns = v.transpose([v.load(row, b.mul(k, const(v.size))) for row in rows])
        for j, column in enumerate(columns):
            v.store(column, dst, b.mul(b.add(k, const(j)), step))

    over_rows(v, squares, square)
    done = b.mul(squares, const(v.length))

    def single(t: Any) -> None:
        k = b.add(done, t)

        def element(i: Any) -> None:
            there = b.icmp_signed("<", i, left)
            at = b.add(b.mul(i, q.lds), b.mul(k, const(v.size)))
            (value,) = v.choose(there, lambda: [v.load_scalar(src, at)], lambda: [v.scalar(0.0)])
            v.store_scalar(value, dst, b.add(b.mul(k, step), b.mul(i, const(v.size))))

        over_rows(v, const(v.length), element)

    over_rows(v, b.sub(q.depth, done), single)
