"""Operands as bfloat16 parts, in the order in which a tile reads them.

As `packing`, with a pair of k where that has one k (`bfloat16`), and behind each other the parts of
a pair: those of a block's rows, or of a panel's columns. `depth` and `first` count pairs. Of an odd
number of k the last pair has a zero.

The left operand of the passes has its rows as they were: ``split_rows_left`` writes the pairs of a
row, part after part.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .bfloat16 import pairs, parts_of
from .elementwise import over_rows, vector_count
from .gemm import MR, NV, over_panels
from .packing import over_columns
from .records import record
from .simd import I32, const, ir
from .vector_math import Vec

__all__ = ["split_columns_left", "split_columns_right", "split_rows_left", "split_rows_right"]

_AT_ONCE = 4  # blocks of the left operand, as in `packing`


def _split(
    v: Vec, q: Any, parts: int, dst: Any, column: Any, pieces: int, length: int, apart: Any
) -> None:
    """Split `pieces` pieces of every pair of rows, of `length` elements each, which lie `apart`
    from each other; where they lie side by side, a part of all comes before the next part.
    """
    b = v.b
    row = length * v.size if apart is not None else pieces * length * v.size
    between = const(length * v.size) if apart is None else apart

    def pair(t: Any, load: Callable[[Any, int], Any], both: bool) -> None:
        src = v.at(q.src, b.add(b.mul(b.shl(t, const(1)), q.lds), b.mul(column, const(v.size))))
        to = v.at(dst, b.mul(b.add(q.first, t), const(parts * row)))
        for i in range(pieces):
            offset = i * length * v.size
            even = load(v.at(src, offset), i)
            none = ir.Constant(even.type, [0.0] * length)
            odd = load(v.at(v.at(src, q.lds), offset), i) if both else none
            values = pairs(v, parts_of(v, even, parts), parts_of(v, odd, parts))
            for r, value in enumerate(values):
                v.store_part(value, v.at(v.at(to, b.mul(const(i), between)), r * row))

    def rows(load: Callable[[Any, int], Any]) -> list[Any]:
        count = b.lshr(q.k, const(1))
        over_rows(v, count, lambda t: pair(t, load, True))
        over_rows(v, b.and_(q.k, const(1)), lambda t: pair(b.add(count, t), load, False))
        return []

    over_columns(v, q.n, column, pieces, length, rows)


@record("dst src lds first k n depth")
def split_columns_left(v: Vec, q: Any, parts: int) -> None:
    """dst = k rows of n columns, as the left operand A^T."""
    b = v.b
    apart = b.mul(q.depth, const(parts * MR * v.size))
    blocks = b.udiv(b.add(q.n, const(MR - 1)), const(MR))
    groups = b.udiv(blocks, const(_AT_ONCE))

    def take(block: Any, pieces: int) -> None:
        dst = v.at(q.dst, b.mul(block, apart))
        _split(v, q, parts, dst, b.mul(block, const(MR)), pieces, MR, apart)

    over_rows(v, groups, lambda t: take(b.mul(t, const(_AT_ONCE)), _AT_ONCE))
    done = b.mul(groups, const(_AT_ONCE))
    over_rows(v, b.sub(blocks, done), lambda t: take(b.add(done, t), 1))


@record("dst src lds first k n depth")
def split_columns_right(v: Vec, q: Any, parts: int) -> None:
    """dst = k rows of n columns, as the right operand B."""
    b = v.b

    def panel(width: int, offset: Any) -> None:
        dst = v.at(q.dst, b.mul(offset, b.mul(q.depth, const(parts))))
        _split(v, q, parts, dst, b.udiv(offset, const(v.size)), width, v.length, None)

    over_panels(v, vector_count(v, q.n), panel, even=False)


@record("dst ldd src lds n rows")
def split_rows_left(v: Vec, q: Any, parts: int) -> None:
    """dst = rows of n columns, as the left operand A; zeros fill the last vector of each part."""
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
                v.store_part(value, to)

        whole = b.udiv(q.n, const(2 * length))
        over_rows(v, whole, lambda t: split(t, lambda address, _: v.load(address)))

        def part(address: Any, column: Any) -> Any:
            return v.load_lanes(v.lanes_below(b.sub(q.n, column)), address)

        some = b.zext(b.icmp_signed("!=", b.urem(q.n, const(2 * length)), const(0)), q.n.type)
        over_rows(v, some, lambda t: split(b.add(whole, t), part))

    over_rows(v, q.rows, row)


@record("dst src lds first rows vectors depth")
def split_rows_right(v: Vec, q: Any, parts: int) -> None:
    """dst = `rows` rows of `depth` columns, as columns of the right operand B^T, which has so many
    `vectors` of them.
    """
    b = v.b
    height = b.mul(b.lshr(b.add(q.depth, const(1)), const(1)), const(parts))  # of a panel's vector

    def vector(t: Any) -> None:
        number, left = b.add(q.first, t), b.sub(q.rows, b.mul(t, const(v.length)))
        panel, inside = b.udiv(number, const(NV)), b.urem(number, const(NV))
        before = b.mul(panel, const(NV))
        width = v.least(b.sub(q.vectors, before), const(NV))
        dst = v.at(q.dst, b.mul(b.add(b.mul(before, height), inside), const(v.bytes)))
        src = v.at(q.src, b.mul(b.mul(t, const(v.length)), q.lds))
        _transpose(v, q, parts, dst, b.mul(width, const(v.bytes)), src, left)

    over_rows(v, v.least(vector_count(v, q.rows), b.sub(q.vectors, q.first)), vector)


def _transpose(v: Vec, q: Any, parts: int, dst: Any, step: Any, src: Any, left: Any) -> None:
    """Turn a vector of rows, of which there are `left`, into pairs of columns; a part of a pair
    lies `step` from the next one.
    """
    b, length = v.b, v.length
    rows = [v.at(src, b.mul(const(i), q.lds)) for i in range(length)]
    complete = b.icmp_signed(">=", left, const(length))
    squares = b.select(complete, b.udiv(q.depth, const(length)), const(0))

    def square(t: Any, load: Callable[[int, Any], Any], there: Callable[[Any, Any], None]) -> None:
        k = b.mul(t, const(length))
        columns = [parts_of(v, x, parts) for x in v.transpose([load(i, k) for i in range(length)])]
        for j in range(0, length, 2):
            number = b.lshr(b.add(k, const(j)), const(1))
            values = pairs(v, columns[j], columns[j + 1])
            to = v.at(dst, b.mul(b.mul(number, const(parts)), step))

            def store(values: list[Any] = values, to: Any = to) -> list[Any]:
                for i, value in enumerate(values):
                    v.store_part(value, v.at(to, b.mul(const(i), step)))
                return []

            there(b.add(k, const(j)), store)

    def whole(i: int, k: Any) -> Any:
        return v.load(rows[i], b.mul(k, const(v.size)))

    def part(i: int, k: Any) -> Any:
        inside = b.icmp_signed("<", const(i), left)
        lanes = v.lanes_below(b.select(inside, b.sub(q.depth, k), const(0)))
        return v.load_lanes(lanes, rows[i], b.mul(k, const(v.size)))

    def only(k: Any, store: Callable[[], list[Any]]) -> None:
        v.choose(b.icmp_signed("<", k, q.depth), store, list)

    over_rows(v, squares, lambda t: square(t, whole, lambda _, store: store()))
    total = b.udiv(b.add(q.depth, const(length - 1)), const(length))
    over_rows(v, b.sub(total, squares), lambda t: square(b.add(squares, t), part, only))
