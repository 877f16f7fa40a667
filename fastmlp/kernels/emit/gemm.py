"""Dense layers: the tile of `microkernel` over all rows and columns of a matrix.

Loops run over panels of columns, and within a panel over row tiles, so that a panel of the second
operand stays in the first-level cache. How a matrix is cut into tiles cannot be seen in its bits.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from . import microkernel
from .elementwise import over_rows
from .records import record, subroutine
from .simd import const
from .target import current_target
from .vector_math import Vec

__all__ = [
    "MR",
    "NV",
    "backward",
    "forward",
    "over_panels",
    "over_tiles",
    "rows_of",
    "tile_of",
    "transpose",
    "update",
]

MR, NV = current_target().tile_rows, current_target().tile_vectors


def _widths_of_rest(rest: int) -> list[int]:
    """Return the panels of the last vectors of a row: no panel is left with one where two can
    share more evenly.
    """
    if rest > NV:
        return [NV - 1, rest - NV + 1]
    return [rest] if rest else []


def over_panels(
    v: Vec, vectors: Any, panel: Callable[[int, Any], None], *, even: bool = True
) -> None:
    """Emit ``panel(width, offset)`` over a row of `vectors`; the offset is in bytes.

    One vector more than a panel goes in two panels, unless they need not be `even`: packed ones
    are found by their number.
    """
    b = v.b
    whole, rest = b.udiv(vectors, const(NV)), b.urem(vectors, const(NV))
    if even and NV > 2:
        lonely = b.and_(b.icmp_signed("==", rest, const(1)), b.icmp_signed(">", whole, const(0)))
        whole = b.select(lonely, b.sub(whole, const(1)), whole)
        rest = b.select(lonely, const(NV + 1), rest)
    over_rows(v, whole, lambda p: panel(NV, b.mul(p, const(NV * v.bytes))))
    done = b.mul(whole, const(NV * v.bytes))

    def last(number: int) -> None:
        offset = done
        for width in _widths_of_rest(number):
            panel(width, offset)
            offset = v.at(offset, width * v.bytes)

    counts = [*range(1, NV), *([NV + 1] if even and NV > 2 else [])]
    v.switch(rest, {number: partial(last, number) for number in counts}, every=True)


def over_tiles(v: Vec, q: Any, tile: Callable[[int, Any, Any], None], *, even: bool = True) -> None:
    """Emit ``tile(width, offset, number)`` for all tiles: over panels of `q.vectors`, as
    `over_panels` has them, and for each over `q.tiles` of rows.
    """

    def panel(width: int, offset: Any) -> None:
        over_rows(v, q.tiles, lambda number: tile(width, offset, number))

    over_panels(v, q.vectors, panel, even=even)


def tile_of(v: Vec, name: str, width: int, **options: int) -> Callable[..., None]:
    """Return what calls a tile of `microkernel`, so many vectors wide."""
    emit = partial(getattr(microkernel, name), rows=MR, vectors=width, **options)
    return subroutine(v, f"{name}_{width}", emit)


def rows_of(v: Vec, tile: Any, stride: Any) -> Any:
    """Return where a tile's rows begin, in bytes."""
    return v.b.mul(tile, v.b.mul(stride, const(MR)))


@record("c ldc a lda w ldw k bias code slope tiles vectors")
def forward(v: Vec, q: Any) -> None:
    """c = f(a W + bias) for `tiles` row tiles; see `microkernel.tile_forward`."""

    def tile(width: int, offset: Any, r: Any) -> None:
        at = v.b.add(rows_of(v, r, q.ldc), offset)
        tile_of(v, "tile_forward", width)(
            c=v.at(q.c, at), ldc=q.ldc, a=v.at(q.a, rows_of(v, r, q.lda)), lda=q.lda,
            w=v.at(q.w, offset), ldw=q.ldw, k=q.k, bias=v.at(q.bias, offset), code=q.code,
            slope=v.at(q.slope, at),
        )  # fmt: skip

    over_tiles(v, q, tile)


@record("e lde d ldd wt ldwt k h code tiles vectors")
def backward(v: Vec, q: Any) -> None:
    """e = (d W^T) f'(z) for `tiles` row tiles; see `microkernel.tile_backward`."""

    def tile(width: int, offset: Any, r: Any) -> None:
        at = v.b.add(rows_of(v, r, q.lde), offset)
        tile_of(v, "tile_backward", width)(
            e=v.at(q.e, at), lde=q.lde, d=v.at(q.d, rows_of(v, r, q.ldd)), ldd=q.ldd,
            wt=v.at(q.wt, offset), ldwt=q.ldwt, k=q.k, h=v.at(q.h, at), code=q.code,
        )  # fmt: skip

    over_tiles(v, q, tile)


@record("w ldw a lda d ldd k code state hyper tiles vectors")
def update(v: Vec, q: Any) -> None:
    """dW = A^T delta for `tiles` tiles of rows of W, then the optimizer; see
    `microkernel.tile_update`.
    """

    def tile(width: int, offset: Any, r: Any) -> None:
        tile_of(v, "tile_update", width)(
            w=v.at(q.w, v.b.add(rows_of(v, r, q.ldw), offset)), ldw=q.ldw,
            a=v.at(q.a, v.b.mul(r, const(MR * v.size))), lda=q.lda, d=v.at(q.d, offset),
            ldd=q.ldd, k=q.k, code=q.code, state=q.state, hyper=q.hyper,
        )  # fmt: skip

    over_tiles(v, q, tile)


@record("dst ldd src lds row_blocks vectors")
def transpose(v: Vec, q: Any) -> None:
    """Copy rows of src into the columns of dst: `row_blocks` times as many rows as a vector has
    elements, `vectors` vectors of each.
    """
    b = v.b

    def block(i: Any) -> None:
        def column(j: Any) -> None:
            across, down = b.mul(j, const(v.length)), b.mul(i, const(v.length))
            dst = v.at(q.dst, b.add(b.mul(across, q.ldd), b.mul(i, const(v.bytes))))
            src = v.at(q.src, b.add(b.mul(down, q.lds), b.mul(j, const(v.bytes))))
            rows = [v.load(src, b.mul(const(n), q.lds)) for n in range(v.length)]
            for n, row in enumerate(v.transpose(rows)):
                v.store(row, dst, b.mul(const(n), q.ldd))

        over_rows(v, q.vectors, column)

    over_rows(v, q.row_blocks, block)
