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

from collections.abc import Callable
from functools import partial
from typing import Any

from .elementwise import over_groups, over_rows, vector_count
from .gemm import MR, NV
from .operand_packing import over_blocks, pack_a, pack_b, rounded
from .records import record, subroutine
from .simd import const
from .vector_math import Vec

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
    out = [v.at(q.c, b.mul(place, q.ldc)) for place in places]
    masks = [
        v.lanes_below(b.sub(q.columns, const(j * v.length))) if edge else None
        for j in range(vectors)
    ]

    def load(address: Any, j: int) -> Any:
        if masks[j] is None:
            return v.load(address, j * v.bytes)
        return v.load_lanes(masks[j], address, j * v.bytes)

    def from_c() -> list[Any]:
        return [load(address, j) for address in out for j in range(vectors)]

    def from_bias() -> list[Any]:
        return [load(q.bias, j) for j in range(vectors)]

    def fresh() -> list[Any]:
        none = b.icmp_signed("==", q.begin, const(FROM_ZERO))
        row = v.choose(none, lambda: [v.c(0.0)] * vectors, from_bias)
        return row * rows

    # the next tile's part of C: its rows are too far apart for the processor to foresee them
    following = v.at(q.c, b.mul(q.ldc, const(rows)))
    for i in range(rows):
        for line in range(0, vectors * v.bytes, _LINE):
            v.prefetch(v.at(following, b.mul(q.ldc, const(i))), line)
    begin = v.choose(b.icmp_signed("==", q.begin, const(FROM_C)), from_c, fresh)
    if packed:
        offsets: list[Any] = [const(i * v.size) for i in range(rows)]
        step_a: Any = const(rows * v.size)
    else:
        offsets, step_a = [b.mul(place, q.lda) for place in places], q.step_a

    def step(_: Any, state: list[Any]) -> list[Any]:
        a_k, b_k, sums = state[0], state[1], state[2:]
        panel = [load(b_k, j) for j in range(vectors)]
        for line in range(0, 0 if packed else vectors * v.bytes, _LINE):
            v.prefetch(b_k, vectors * v.bytes + line, locality=_SECOND_LEVEL)
        new = []
        for i in range(rows):
            x = v.splat(v.load_scalar(v.at(a_k, offsets[i])))
            new += [v.fma(x, panel[j], sums[i * vectors + j]) for j in range(vectors)]
        return [v.at(a_k, step_a), v.at(b_k, q.ldb), *new]

    sums = v.loop(q.k, [q.a, q.b, *begin], step)[2:]
    # from the lowest row up: what stands in for rows that are not there is overwritten
    for i, address in reversed(list(enumerate(out))):
        for j in range(vectors):
            x = sums[i * vectors + j]
            if masks[j] is None:
                v.store(x, address, j * v.bytes)
            else:
                v.store_lanes(x, masks[j], address, j * v.bytes)


def _call_tile(v: Vec, rows: int, vectors: int, edge: bool, packed: bool) -> Callable[..., None]:
    emit = partial(_tile, rows=rows, vectors=vectors, edge=edge, packed=packed)
    name = f"product_{rows}x{vectors}{'_edge' if edge else ''}{'_packed' if packed else ''}"
    return subroutine(v, name, emit)


def _over_tiles(v: Vec, rows: Any, tile: Callable[[int, Any, Any], None]) -> None:
    """Emit ``tile(its rows, first row, rows left)`` over `rows`."""
    b = v.b
    whole = b.udiv(rows, const(MR))
    over_rows(v, whole, lambda r: tile(MR, b.mul(r, const(MR)), const(MR)))
    done = b.mul(whole, const(MR))
    left = b.sub(rows, done)

    def rest() -> None:
        v.choose(
            b.icmp_signed(">", left, const(MR // 2)),
            lambda: tile(MR, done, left),
            lambda: tile(MR // 2, done, left),
        )

    v.choose(b.icmp_signed(">", left, const(0)), rest)


def _over_panels(v: Vec, columns: Any, panel: Callable[[int, bool, Any, Any], None]) -> None:
    """Emit ``panel(vectors, at the edge, number, columns left)`` over panels of NV vectors.

    The last panel has as few as it may.
    """
    b = v.b
    size = NV * v.length
    whole = b.udiv(columns, const(size))
    over_rows(v, whole, lambda p: panel(NV, False, p, const(size)))
    left = b.sub(columns, b.mul(whole, const(size)))
    cases = {n: partial(panel, n, True, whole, left) for n in range(1, NV + 1)}
    v.switch(vector_count(v, left), cases, every=True)


@record("c ldc a lda step_a b ldb panel k bias begin rows columns")
def _block(v: Vec, q: Any, packed: bool) -> None:
    """Multiply a block of A, as it lies or in tiles: all panels of columns, and for each all tiles
    of rows.
    """
    b = v.b
    row_bytes = b.mul(rounded(v, q.k, v.length), const(v.size)) if packed else q.lda

    def panel(vectors: int, edge: bool, number: Any, left: Any) -> None:
        column = b.mul(number, const(NV * v.bytes))

        def tile(rows: int, first: Any, rows_left: Any) -> None:
            # a tile that is packed has all its rows
            _call_tile(v, MR if packed else rows, vectors, edge, packed)(
                c=v.at(b.add(q.c, b.mul(first, q.ldc)), column), ldc=q.ldc,
                a=v.at(q.a, b.mul(first, row_bytes)), lda=q.lda, step_a=q.step_a,
                b=v.at(q.b, b.mul(number, q.panel)), ldb=q.ldb, k=q.k, bias=v.at(q.bias, column),
                begin=q.begin, rows=rows_left, columns=left,
            )  # fmt: skip

        _over_tiles(v, q.rows, tile)

    _over_panels(v, q.columns, panel)


@record("c ldc a lda step_a b ldb bias k columns")
def _few_rows(v: Vec, q: Any, rows: int) -> None:
    """C = bias + A B for one or two rows: some rows of B at a time, from end to end.

    Down its columns they would come too slowly from where they are: 0.6 of the speed of a
    product by BLAS at 1 x 1024 x 1024, along its rows 1.1.
    """
    b = v.b
    together = 8 if v.bytes == _LINE else 4
    out = [q.c, v.at(q.c, q.ldc)][:rows]
    whole = b.udiv(q.columns, const(v.length))
    done = b.mul(whole, const(v.bytes))
    left = b.sub(q.columns, b.mul(whole, const(v.length)))
    mask = v.lanes_below(left)

    def over_columns(body: Callable[[Any, Any, Any], None]) -> None:
        """Emit ``body(load, store, offset)`` for every vector of columns."""
        over_rows(v, whole, lambda j: body(v.load, v.store, b.mul(j, const(v.bytes))))

        def store(value: Any, address: Any, offset: Any) -> None:
            v.store_lanes(value, mask, address, offset)

        rest = partial(body, partial(v.load_lanes, mask), store, done)
        v.choose(b.icmp_signed(">", left, const(0)), rest)

    def begin(load: Any, store: Any, offset: Any) -> None:
        none = b.icmp_signed("==", q.bias, const(0))
        (value,) = v.choose(none, lambda: [v.c(0.0)], lambda: [load(q.bias, offset)])
        for row in out:
            store(value, row, offset)

    def add(first: Any, count: int) -> None:
        """Add so many rows of B, times their elements of A."""
        a_k = v.at(q.a, b.mul(first, q.step_a))
        x = [
            [v.splat(v.load_scalar(a_k, b.add(b.mul(q.lda, const(r)), b.mul(q.step_a, const(i)))))
             for i in range(count)]
            for r in range(rows)
        ]  # fmt: skip
        lines = [v.at(q.b, b.mul(b.add(first, const(i)), q.ldb)) for i in range(count)]

        def column(load: Any, store: Any, offset: Any) -> None:
            sums = [load(row, offset) for row in out]
            for i, line in enumerate(lines):
                w = load(line, offset)
                sums = [v.fma(x[r][i], w, sums[r]) for r in range(rows)]
            for row, value in zip(out, sums, strict=True):
                store(value, row, offset)

        over_columns(column)

    over_columns(begin)
    over_groups(v, q.k, together, add)


@record("c ldc a lda step_a b ldb step_b bias rows columns k packed room")
def matrix_product(v: Vec, q: Any) -> None:
    """c = bias + A B, of any strides but for c, whose rows are contiguous.

    `bias` may be 0. `packed` has the bits PACK_A and PACK_B; where a column step of B is not an
    element's size, B has to be packed. `room`, on a vector's boundary, is for what is packed: B's
    block, then A's.
    """
    b = v.b
    tiles_a = b.icmp_signed("!=", b.and_(q.packed, const(PACK_A)), const(0))
    panels_b = b.icmp_signed("!=", b.and_(q.packed, const(PACK_B)), const(0))
    fresh = b.select(b.icmp_signed("==", q.bias, const(0)), const(FROM_ZERO), const(FROM_BIAS))

    def k_block(column: Any, columns: Any, start: Any, k: Any) -> None:
        begin = b.select(b.icmp_signed("==", start, const(0)), fresh, const(FROM_C))
        b_here = b.add(b.add(q.b, b.mul(start, q.ldb)), b.mul(column, q.step_b))
        length = rounded(v, k, v.length)
        wide = NV * v.bytes

        def pack() -> list[Any]:
            subroutine(v, "pack_b", pack_b)(
                dst=q.room, b=b_here, ldb=q.ldb, step_b=q.step_b, k=k, columns=columns
            )
            return [q.room, const(wide), b.mul(length, const(wide))]

        source, ldb, panel = v.choose(panels_b, pack, lambda: [b_here, q.ldb, const(wide)])
        size_b = b.mul(b.mul(rounded(v, columns, NV * v.length), length), const(v.size))
        room_a = b.select(panels_b, b.add(q.room, size_b), q.room)
        shift = b.mul(column, const(v.size))
        common = {
            "ldc": q.ldc, "lda": q.lda, "step_a": q.step_a, "b": source, "ldb": ldb,
            "panel": panel, "k": k, "bias": v.at(q.bias, shift), "begin": begin,
            "columns": columns,
        }  # fmt: skip
        a_here = b.add(q.a, b.mul(start, q.step_a))
        c_here = b.add(q.c, shift)

        def in_tiles() -> None:
            def rows_block(first: Any, rows: Any) -> None:
                subroutine(v, "pack_a", pack_a)(
                    dst=room_a, a=v.at(a_here, b.mul(first, q.lda)), lda=q.lda, step_a=q.step_a,
                    rows=rows, k=k,
                )  # fmt: skip
                subroutine(v, "block_packed", partial(_block, packed=True))(
                    c=v.at(c_here, b.mul(first, q.ldc)), a=room_a, rows=rows, **common
                )

            over_blocks(v, q.rows, ROW_BLOCK, rows_block)

        def as_it_is() -> None:
            subroutine(v, "block_as_it_is", partial(_block, packed=False))(
                c=c_here, a=a_here, rows=q.rows, **common
            )

        v.choose(tiles_a, in_tiles, as_it_is)

    def column_block(column: Any, columns: Any) -> None:
        over_blocks(v, q.k, K_BLOCK, partial(k_block, column, columns), least=1)

    def product() -> None:
        v.choose(
            panels_b,
            lambda: over_blocks(v, q.columns, COLUMN_BLOCK, column_block),
            lambda: column_block(const(0), q.columns),
        )

    def few(rows: int) -> None:
        subroutine(v, f"few_rows_{rows}", partial(_few_rows, rows=rows))(
            c=q.c, ldc=q.ldc, a=q.a, lda=q.lda, step_a=q.step_a, b=q.b, ldb=q.ldb, bias=q.bias,
            k=q.k, columns=q.columns,
        )  # fmt: skip

    def of_one_or_two() -> None:
        v.choose(b.icmp_signed("==", q.rows, const(1)), lambda: few(1), lambda: few(FEW_ROWS))

    as_it_lies = b.icmp_signed("==", q.packed, const(0))
    v.choose(
        b.and_(b.icmp_signed("<=", q.rows, const(FEW_ROWS)), as_it_lies), of_one_or_two, product
    )
