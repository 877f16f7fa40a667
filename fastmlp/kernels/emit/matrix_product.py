"""Products of matrices as they lie in memory: no padding, nothing touched outside.

The sums run over k in ascending order, from the bias or from zero, whatever the strides, the tiles
and the packing: a result has the same bits for all of them, and those of `microkernel`.

Blocks of k are gone through one after the other, C keeps the sums in between. Within a block an
operand is read as it is, or packed first in the order in which the tile reads it (`packing`; Goto
and van de Geijn 2008). A tile at the lower edge stores the rows that are not there to where the
last row goes afterwards; at the right edge lanes are masked.

Arguments are addresses and distances in bytes, outputs first.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from .flow import const
from .gemm import MR, NV
from .microkernel import Left, accumulate
from .packing import pack_columns_left, pack_columns_right, pack_rows_right
from .records import record, subroutine
from .vector_math import RowVec, Vec, along_row

__all__ = ["COLUMN_BLOCK", "FEW_ROWS", "K_BLOCK", "ROW_BLOCK", "matrix_product"]

K_BLOCK = 512  # C is read and written once for so many k: with 256, 5 % slower at 1000x1024x1024
ROW_BLOCK = 256  # rows of A that are packed at a time
COLUMN_BLOCK = 512  # columns of B that are packed at a time: with K_BLOCK 1 or 2 MB
_TOGETHER = 8  # rows of B that are packed at a time
FROM_ZERO, FROM_BIAS, FROM_C = range(3)  # where the sums of a block of k begin

FEW_ROWS = 2  # so few rows of A at most go along the rows of B instead of down its columns
_LINE = 64
_SECOND_LEVEL = 2


@record("c ldc a lda step_a b ldb k bias begin rows columns")
def _tile(v: Vec, q: Any, rows: int, vectors: int, edge: bool) -> None:
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
    tile = [begin[i * vectors : (i + 1) * vectors] for i in range(rows)]
    left = Left(q.a, [b.mul(place, q.lda) for place in places], q.step_a)
    sums = accumulate(u, tile, left, q.b, q.ldb, q.k, (vectors * v.bytes, _SECOND_LEVEL))
    # from the lowest row up: what stands in for rows that are not there is overwritten
    for address, row in reversed(list(zip(out, sums, strict=True))):
        for j, total in enumerate(row):
            u.store(total, address, j * v.bytes)


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


@record("c ldc a lda step_a row b ldb panel k bias begin rows columns")
def _block(v: Vec, q: Any) -> None:
    """Multiply blocks: all panels of columns of B, `panel` bytes apart, and for each all tiles of
    rows of A, `row` bytes for each of their rows.
    """
    b = v.b
    packed = b.icmp_signed("!=", q.panel, const(NV * v.bytes))  # of one k it does not matter
    for vectors, edge, number, columns in _over_panels(v, q.columns):
        column, ldb = v.times(number, NV * v.bytes), const(vectors * v.bytes)
        for rows, first, rows_left in _over_tiles(v, q.rows):
            name = f"product_{rows}x{vectors}{'_edge' if edge else ''}"
            subroutine(v, name, partial(_tile, rows=rows, vectors=vectors, edge=edge))(
                q, c=v.at(v.at(q.c, first, q.ldc), column), a=v.at(q.a, first, q.row),
                b=v.at(q.b, number, q.panel), ldb=b.select(packed, ldb, q.ldb),
                bias=v.at(q.bias, column), rows=rows_left, columns=columns,
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


@record("c ldc a lda step_a b ldb step_b bias rows columns k room_a room_b")
def matrix_product(v: Vec, q: Any) -> None:
    """c = bias + A B, of any strides but for c, whose rows are contiguous.

    `bias` may be 0. An operand is packed where there is room for it, on a vector's boundary: A,
    whose columns are contiguous then, and B, whose rows or columns are. The rows of a B that is not
    packed are contiguous.
    """
    b = v.b
    as_it_lies = b.icmp_signed("==", b.or_(q.room_a, q.room_b), const(0))
    few = b.and_(b.icmp_signed("<=", q.rows, const(FEW_ROWS)), as_it_lies)
    for of_few in v.either(few):
        if of_few:
            for one in v.either(b.icmp_signed("==", q.rows, const(1))):
                rows = 1 if one else FEW_ROWS
                subroutine(v, f"few_rows_{rows}", partial(_few_rows, rows=rows))(q)
            continue
        packed_b = b.icmp_signed("!=", q.room_b, const(0))
        at_once = b.select(packed_b, const(COLUMN_BLOCK), q.columns)
        with v.blocks(q.columns, at_once) as columns, v.blocks(q.k, K_BLOCK, least=1) as depth:
            _over_row_blocks(v, q, columns, depth, packed_b)


def _over_row_blocks(
    v: Vec, q: Any, columns: tuple[Any, Any], depth: tuple[Any, Any], packed_b: Any
) -> None:
    """Multiply all of A and a block of B: its first column and how many it has, and likewise k."""
    b, (column, n), (start, k) = v.b, columns, depth
    fresh = b.select(b.icmp_signed("==", q.bias, const(0)), const(FROM_ZERO), const(FROM_BIAS))
    begin = b.select(b.icmp_signed("==", start, const(0)), fresh, const(FROM_C))
    packed_a = b.icmp_signed("!=", q.room_a, const(0))
    of_b = v.at(v.at(q.b, start, q.ldb), column, q.step_b)

    def pack_b() -> list[Any]:
        for rows_contiguous in v.either(b.icmp_signed("==", q.step_b, const(v.size))):
            if rows_contiguous:  # some at a time: read from end to end, they come fastest
                with v.blocks(k, _TOGETHER) as (row, some):
                    subroutine(v, "pack_columns_right", pack_columns_right)(
                        q, dst=q.room_b, src=v.at(of_b, row, q.ldb), lds=q.ldb, first=row,
                        k=some, n=n, depth=k,
                    )  # fmt: skip
            else:
                subroutine(v, "pack_rows_right", pack_rows_right)(
                    q, dst=q.room_b, src=of_b, lds=q.step_b, first=const(0), rows=n,
                    vectors=v.ceil(n, v.length), depth=k,
                )  # fmt: skip
        return [q.room_b, v.times(k, NV * v.bytes)]

    source, panel = v.choose(packed_b, pack_b, lambda: [of_b, const(NV * v.bytes)])
    with v.blocks(q.rows, b.select(packed_a, const(ROW_BLOCK), q.rows)) as (first, rows):
        of_a = v.at(v.at(q.a, start, q.step_a), first, q.lda)

        def pack_a() -> list[Any]:
            with v.blocks(k, _TOGETHER) as (line, some):
                subroutine(v, "pack_columns_left", pack_columns_left)(
                    q, dst=q.room_a, src=v.at(of_a, line, q.step_a), lds=q.step_a, first=line,
                    k=some, n=rows, depth=k,
                )  # fmt: skip
            return [q.room_a, const(v.size), const(MR * v.size), v.times(k, v.size)]

        a, lda, step_a, row = v.choose(packed_a, pack_a, lambda: [of_a, q.lda, q.step_a, q.lda])
        c = v.at(v.at(q.c, first, q.ldc), column, v.size)
        subroutine(v, "block", _block)(
            q, c=c, a=a, lda=lda, step_a=step_a, row=row, b=source, panel=panel, k=k,
            bias=v.at(q.bias, column, v.size), begin=begin, rows=rows, columns=n,
        )  # fmt: skip
