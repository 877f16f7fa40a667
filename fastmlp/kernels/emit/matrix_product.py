"""Products of matrices as they lie in memory: any strides, no padding, nothing touched outside.

The sums run over k in ascending order, from the bias or from zero, whatever the strides, the tiles
and the packing: a result has the same bits for all of them, and those of `microkernel`.

Blocks of k are gone through one after the other, C keeps the sums in between. Within a block an
operand is read as it is, or packed first in the order in which the tile reads it: A in tiles of MR
rows, k-major, B in panels of NV vectors, k-major (Goto and van de Geijn 2008). A tile at the lower
edge stores the rows that are not there to where the last row goes afterwards; at the right edge
lanes are masked.

Arguments are addresses and distances in bytes, outputs first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from .flow import const
from .gemm import MR, NV
from .operand_packing import pack_a, pack_b, rounded
from .records import record, subroutine
from .vector_math import RowVec, Vec, along_row

__all__ = ["COLUMN_BLOCK", "FEW_ROWS", "K_BLOCK", "PACK_A", "PACK_B", "ROW_BLOCK", "matrix_product"]

K_BLOCK = 512  # C is read and written once for so many k: with 256, 5 % slower at 1000x1024x1024
ROW_BLOCK = 256  # rows of A that are packed at a time
COLUMN_BLOCK = 512  # columns of B that are packed at a time: with K_BLOCK 1 or 2 MB
PACK_A, PACK_B = 1, 2  # bits of `packed`
FROM_ZERO, FROM_BIAS, FROM_C = range(3)  # where the sums of a block of k begin

FEW_ROWS = 2  # so few rows of A at most go along the rows of B instead of down its columns
_LINE = 64
_SECOND_LEVEL = 2


@record("c ldc a lda step_a b ldb k bias begin rows columns")
def _tile(v: Vec, q: Any, rows: int, vectors: int, edge: bool, packed: bool) -> None:
    """C = begin + A B for up to `rows` rows and `vectors` vectors of columns."""
    b = v.b
    places = [const(0)]
    for i in range(1, rows):
        inside = b.icmp_signed("<", const(i), q.rows)
        places.append(b.select(inside, const(i), b.sub(q.rows, const(1))))
    out = [v.at(q.c, place, q.ldc) for place in places]
    u = RowVec(v, q.columns, vectors) if edge else v

    def from_c() -> list[Any]:
        return [x for address in out for x in u.load_row(address, vectors)]

    def fresh() -> list[Any]:
        none = b.icmp_signed("==", q.begin, const(FROM_ZERO))
        zero = [v.c(0.0)] * vectors
        return v.choose(none, lambda: zero, lambda: u.load_row(q.bias, vectors)) * rows

    # the next tile's part of C: its rows are too far apart for the processor to foresee them
    for row in v.rows(v.at(q.c, rows, q.ldc), q.ldc, rows):
        for line in range(0, vectors * v.bytes, _LINE):
            v.prefetch(row, line)
    begin = v.choose(b.icmp_signed("==", q.begin, const(FROM_C)), from_c, fresh)
    if packed:
        offsets: list[Any] = [const(i * v.size) for i in range(rows)]
        step_a: Any = const(rows * v.size)
    else:
        offsets, step_a = [b.mul(place, q.lda) for place in places], q.step_a
    with v.loop(q.k, [q.a, q.b, *begin]) as (_, state):
        a_k, b_k, *sums = state
        panel = u.load_row(b_k, vectors)
        for line in range(0, 0 if packed else vectors * v.bytes, _LINE):
            v.prefetch(b_k, vectors * v.bytes + line, locality=_SECOND_LEVEL)
        for i in range(rows):
            x = v.splat(v.load_scalar(v.at(a_k, offsets[i])))
            for j in range(vectors):
                sums[i * vectors + j] = v.fma(x, panel[j], sums[i * vectors + j])
        state[:] = [v.at(a_k, step_a), v.at(b_k, q.ldb), *sums]
    # from the lowest row up: what stands in for rows that are not there is overwritten
    for i, address in reversed(list(enumerate(out))):
        for j in range(vectors):
            u.store(state[2 + i * vectors + j], address, j * v.bytes)


def _tile_of(v: Vec, rows: int, vectors: int, edge: bool, packed: bool) -> Callable[..., None]:
    emit = partial(_tile, rows=rows, vectors=vectors, edge=edge, packed=packed)
    name = f"product_{rows}x{vectors}{'_edge' if edge else ''}{'_packed' if packed else ''}"
    return subroutine(v, name, emit)


def _over_tiles(v: Vec, rows: Any) -> Iterator[tuple[int, Any, Any]]:
    """Emit the body of a ``for`` over tiles of `rows`: their rows, the first one, and how many are
    left.
    """
    b = v.b
    whole = b.udiv(rows, const(MR))
    with v.each(whole, MR) as first:
        yield MR, first, const(MR)
    done = v.times(whole, MR)
    left = b.sub(rows, done)
    with v.when(b.icmp_signed(">", left, const(0))):
        for more in v.either(b.icmp_signed(">", left, const(MR // 2))):
            yield MR if more else MR // 2, done, left


def _over_panels(v: Vec, columns: Any) -> Iterator[tuple[int, bool, Any, Any]]:
    """Emit the body of a ``for`` over panels of NV vectors, the last of as few as it may have: how
    many, whether it is at the edge, its number, and the columns left.
    """
    size = NV * v.length
    whole = v.b.udiv(columns, const(size))
    with v.each(whole) as number:
        yield NV, False, number, const(size)
    left = v.b.sub(columns, v.times(whole, size))
    for n in v.cases(v.ceil(left, v.length), {n: n for n in range(1, NV + 1)}, every=True):
        yield n, True, whole, left


@record("c ldc a lda step_a b ldb panel k bias begin rows columns")
def _block(v: Vec, q: Any, packed: bool) -> None:
    """Multiply a block of A, as it lies or in tiles: all panels of columns, and for each all tiles
    of rows.
    """
    row_bytes = v.times(rounded(v, q.k, v.length), v.size) if packed else q.lda
    for vectors, edge, number, columns in _over_panels(v, q.columns):
        column = v.times(number, NV * v.bytes)
        for rows, first, rows_left in _over_tiles(v, q.rows):
            # a tile that is packed has all its rows
            _tile_of(v, MR if packed else rows, vectors, edge, packed)(
                q, c=v.at(v.at(q.c, first, q.ldc), column), a=v.at(q.a, first, row_bytes),
                b=v.at(q.b, number, q.panel), bias=v.at(q.bias, column), rows=rows_left,
                columns=columns,
            )  # fmt: skip


@record("c ldc a lda step_a b ldb bias k columns")
def _few_rows(v: Vec, q: Any, rows: int) -> None:
    """C = bias + A B for one or two rows: some rows of B at a time, from end to end.

    Down its columns they would come too slowly from where they are: 0.6 of the speed of a
    product by BLAS at 1 x 1024 x 1024, along its rows 1.1.
    """
    b = v.b
    together = 8 if v.bytes == _LINE else 4
    out = [q.c, v.at(q.c, q.ldc)][:rows]

    def bias(u: Vec, offset: Any) -> list[Any]:
        return [u.load(v.at(q.bias, offset))]

    for u, offset in along_row(v, q.columns):
        none = b.icmp_signed("==", q.bias, const(0))
        (value,) = v.choose(none, lambda: [v.c(0.0)], partial(bias, u, offset))
        for row in out:
            u.store(value, v.at(row, offset))
    for first, count in v.groups(q.k, together):  # so many rows of B, times their elements of A
        a_k = v.at(q.a, first, q.step_a)
        x = [
            [v.splat(v.load_scalar(a_k, b.add(v.times(q.lda, r), v.times(q.step_a, i))))
             for i in range(count)]
            for r in range(rows)
        ]  # fmt: skip
        lines = [v.at(q.b, b.add(first, const(i)), q.ldb) for i in range(count)]
        for u, offset in along_row(v, q.columns):
            here = [v.at(row, offset) for row in out]
            sums = [u.load(address) for address in here]
            for i, line in enumerate(lines):
                w = u.load(v.at(line, offset))
                sums = [v.fma(x[r][i], w, sums[r]) for r in range(rows)]
            for address, value in zip(here, sums, strict=True):
                u.store(value, address)


@record("c ldc a lda step_a b ldb step_b bias rows columns k packed room")
def matrix_product(v: Vec, q: Any) -> None:
    """c = bias + A B, of any strides but for c, whose rows are contiguous.

    `bias` may be 0. `packed` has the bits PACK_A and PACK_B; where a column step of B is not an
    element's size, B has to be packed. `room`, on a vector's boundary, is for what is packed: B's
    block, then A's.
    """
    b = v.b
    panels_b = b.icmp_signed("!=", b.and_(q.packed, const(PACK_B)), const(0))
    as_it_lies = b.icmp_signed("==", q.packed, const(0))
    few = b.and_(b.icmp_signed("<=", q.rows, const(FEW_ROWS)), as_it_lies)
    for of_few in v.either(few):
        if of_few:
            for one in v.either(b.icmp_signed("==", q.rows, const(1))):
                rows = 1 if one else FEW_ROWS
                subroutine(v, f"few_rows_{rows}", partial(_few_rows, rows=rows))(q)
            continue
        for in_panels in v.either(panels_b):
            if in_panels:
                with v.blocks(q.columns, COLUMN_BLOCK) as (column, columns):
                    _columns_block(v, q, panels_b, column, columns)
            else:
                _columns_block(v, q, panels_b, const(0), q.columns)


def _columns_block(v: Vec, q: Any, panels_b: Any, column: Any, columns: Any) -> None:
    """Multiply all of A and some columns of B, block of k by block of k."""
    b, wide = v.b, NV * v.bytes
    tiles_a = b.icmp_signed("!=", b.and_(q.packed, const(PACK_A)), const(0))
    fresh = b.select(b.icmp_signed("==", q.bias, const(0)), const(FROM_ZERO), const(FROM_BIAS))
    with v.blocks(q.k, K_BLOCK, least=1) as (start, k):
        begin = b.select(b.icmp_signed("==", start, const(0)), fresh, const(FROM_C))
        b_here = b.add(v.at(q.b, start, q.ldb), b.mul(column, q.step_b))
        length = rounded(v, k, v.length)

        def pack() -> list[Any]:
            subroutine(v, "pack_b", pack_b)(q, dst=q.room, b=b_here, k=k, columns=columns)
            return [q.room, const(wide), v.times(length, wide)]

        source, ldb, panel = v.choose(panels_b, pack, lambda: [b_here, q.ldb, const(wide)])
        size_b = v.times(b.mul(rounded(v, columns, NV * v.length), length), v.size)
        room_a = b.select(panels_b, b.add(q.room, size_b), q.room)
        shift = v.times(column, v.size)
        c, a = b.add(q.c, shift), v.at(q.a, start, q.step_a)
        common = {
            "b": source, "ldb": ldb, "panel": panel, "k": k, "bias": v.at(q.bias, shift),
            "begin": begin, "columns": columns,
        }  # fmt: skip
        for in_tiles in v.either(tiles_a):
            if in_tiles:
                with v.blocks(q.rows, ROW_BLOCK) as (first, rows):
                    subroutine(v, "pack_a", pack_a)(
                        q, dst=room_a, a=v.at(a, first, q.lda), rows=rows, k=k
                    )
                    subroutine(v, "block_packed", partial(_block, packed=True))(
                        q, c=v.at(c, first, q.ldc), a=room_a, rows=rows, **common
                    )
            else:
                as_it_is = subroutine(v, "block_as_it_is", partial(_block, packed=False))
                as_it_is(q, c=c, a=a, **common)
