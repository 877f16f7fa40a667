"""Dense layers: the tile of `microkernel` over all rows and columns of a matrix.

Loops run over panels of columns, and within a panel over row tiles, so that a panel of the second
operand stays in the first-level cache. How a matrix is cut into tiles cannot be seen in its bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from .flow import const
from .microkernel import tile, tile_update
from .records import Emitter, Renamed, record, subroutine
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


def over_panels(v: Vec, vectors: Any, *, even: bool = True) -> Iterator[tuple[int, Any]]:
    """Emit the body of a ``for`` over the panels of a row of `vectors`: it is given their width and
    their offset in bytes.

    One vector more than a panel goes in two panels, unless they need not be `even`: packed ones
    are found by their number.
    """
    b = v.b
    whole, rest = b.udiv(vectors, const(NV)), b.urem(vectors, const(NV))
    if even and NV > 2:
        lonely = b.and_(b.icmp_signed("==", rest, const(1)), b.icmp_signed(">", whole, const(0)))
        whole = b.select(lonely, b.sub(whole, const(1)), whole)
        rest = b.select(lonely, const(NV + 1), rest)
    with v.each(whole, NV * v.bytes) as offset:
        yield NV, offset
    done = v.times(whole, NV * v.bytes)
    counts = [*range(1, NV), *([NV + 1] if even and NV > 2 else [])]
    for number in v.cases(rest, {n: n for n in counts}, every=True):
        offset = done
        for width in [NV - 1, number - NV + 1] if number > NV else [number]:
            yield width, offset
            offset = v.at(offset, width * v.bytes)


def over_tiles(v: Vec, q: Any, *, even: bool = True) -> Iterator[tuple[int, Any, Any]]:
    """Emit the body of a ``for`` over all tiles, of `q.vectors` and `q.tiles` of rows, panel by
    panel: it is given their width, offset and number.
    """
    for width, offset in over_panels(v, q.vectors, even=even):
        with v.each(q.tiles) as number:
            yield width, offset, number


def tile_of(v: Vec, name: str, emit: Emitter, width: int, **options: int) -> Callable[..., None]:
    """Return what calls a tile of `microkernel`, so many vectors wide."""
    emit = partial(emit, rows=MR, vectors=width, **options)
    return subroutine(v, f"{name}_{width}", emit)


def rows_of(v: Vec, tile: Any, stride: Any) -> Any:
    """Return where a tile's rows begin, in bytes."""
    return v.times(tile, v.times(stride, MR))


@record("c ldc a lda w ldw k bias code slope tiles vectors")
def forward(v: Vec, q: Any) -> None:
    """c = f(a W + bias) for `tiles` row tiles; see `microkernel.tile`."""
    names = {"out": "c", "ldo": "ldc", "b": "w", "ldb": "ldw", "begin": "bias", "kept": "slope"}
    _pass(v, Renamed(q, names), True)


@record("e lde d ldd wt ldwt k h code tiles vectors")
def backward(v: Vec, q: Any) -> None:
    """e = (d W^T) f'(z) for `tiles` row tiles; see `microkernel.tile`."""
    names = {"out": "e", "ldo": "lde", "a": "d", "lda": "ldd", "b": "wt", "ldb": "ldwt"}
    _pass(v, Renamed(q, {**names, "kept": "h"}), False)


def _pass(v: Vec, q: Any, forward: bool) -> None:
    for width, offset, r in over_tiles(v, q):
        at = v.b.add(rows_of(v, r, q.ldo), offset)
        name = "tile_forward" if forward else "tile_backward"
        tile_of(v, name, tile, width, forward=forward)(
            q, out=v.at(q.out, at), a=v.at(q.a, rows_of(v, r, q.lda)), b=v.at(q.b, offset),
            begin=v.at(q.begin, offset) if forward else const(0), kept=v.at(q.kept, at),
        )  # fmt: skip


@record("w ldw a lda d ldd k code state hyper tiles vectors")
def update(v: Vec, q: Any) -> None:
    """dW = A^T delta for `tiles` tiles of rows of W, then the optimizer; see
    `microkernel.tile_update`.
    """
    for width, offset, r in over_tiles(v, q):
        tile_of(v, "tile_update", tile_update, width)(
            q, w=v.at(q.w, v.b.add(rows_of(v, r, q.ldw), offset)), a=v.at(q.a, r, MR * v.size),
            d=v.at(q.d, offset),
        )  # fmt: skip


@record("dst ldd src lds row_blocks vectors")
def transpose(v: Vec, q: Any) -> None:
    """Copy rows of src into the columns of dst: `row_blocks` times as many rows as a vector has
    elements, `vectors` vectors of each.
    """
    with v.each(q.row_blocks) as i, v.each(q.vectors) as j:
        across, down = v.times(j, v.length), v.times(i, v.length)
        dst = v.at(q.dst, v.b.add(v.times(across, q.ldd), v.times(i, v.bytes)))
        src = v.at(q.src, v.b.add(v.times(down, q.lds), v.times(j, v.bytes)))
        rows = [v.load(row) for row in v.rows(src, q.lds, v.length)]
        for row, values in zip(v.rows(dst, q.ldd, v.length), v.transpose(rows), strict=True):
            v.store(values, row)
