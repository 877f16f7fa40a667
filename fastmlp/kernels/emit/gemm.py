"""Dense layers: the tile of `microkernel` over all rows and columns of a matrix.

Loops run over panels of columns, and within a panel over row tiles, so that a panel of the second
operand stays in the first-level cache. How a matrix is cut into tiles cannot be seen in its bits.

Operands of wide layers are packed (`packing`). W and its transpose lie in panels, so the passes
read them from end to end, `block` of k at a time: so much of a panel stays in a cache while all row
tiles go by. From one block to the next the sums lie in the result, unrounded. With `parts` both
operands are split into so many bfloat16 parts (`bfloat16`), and k, `depth` and `block` count pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from .activations import ACTIVATIONS
from .flow import const
from .microkernel import tile, tile_update
from .records import Emitter, record, subroutine
from .target import current_target
from .vector_math import Vec

__all__ = [
    "MR",
    "NV",
    "backward",
    "forward",
    "over_panels",
    "packed_backward",
    "packed_forward",
    "packed_update",
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


def _over_tiles(
    v: Vec, q: Any, name: str, emit: Emitter, **options: Any
) -> Iterator[tuple[int, Any, Any, Callable[..., None]]]:
    """Emit the body of a ``for`` over all tiles, of `q.vectors` and `q.tiles` of rows, panel by
    panel: it is given their width, offset and number, and what calls the tile of `microkernel`.
    """
    for width, offset in over_panels(v, q.vectors, even=not options["packed"]):
        call = subroutine(v, f"{name}_{width}", partial(emit, rows=MR, vectors=width, **options))
        with v.each(q.tiles) as number:
            yield width, offset, number, call


def _rows_of(v: Vec, tile: Any, stride: Any) -> Any:
    """Return where a tile's rows begin, in bytes."""
    return v.times(tile, v.times(stride, MR))


@record("out ldo a lda b ldb k begin code kept tiles vectors")
def forward(v: Vec, q: Any) -> None:
    """out = f(begin + a b) for `tiles` row tiles, b being W; see `microkernel.tile`."""
    _pass(v, q, True)


@record("out ldo a lda b ldb k code kept tiles vectors")
def backward(v: Vec, q: Any) -> None:
    """out = (a b) f'(z) for `tiles` row tiles, b being W^T; see `microkernel.tile`."""
    _pass(v, q, False)


def _pass(v: Vec, q: Any, forward: bool) -> None:
    name = "tile_forward" if forward else "tile_backward"
    for _, offset, r, call in _over_tiles(v, q, name, tile, forward=forward, packed=False):
        at = v.b.add(_rows_of(v, r, q.ldo), offset)
        begin = v.at(q.begin, offset) if forward else const(0)
        call(
            q, out=v.at(q.out, at), begin=begin, ldbegin=const(0),
            a=v.at(q.a, _rows_of(v, r, q.lda)), b=v.at(q.b, offset), kept=v.at(q.kept, at),
        )  # fmt: skip


@record("w ldw a lda d ldd k code state hyper tiles vectors")
def update(v: Vec, q: Any) -> None:
    """dW = A^T delta for `tiles` tiles of rows of W, then the optimizer; see
    `microkernel.tile_update`.
    """
    for _, offset, r, call in _over_tiles(v, q, "tile_update", tile_update, packed=False):
        call(
            q, w=v.at(q.w, v.b.add(_rows_of(v, r, q.ldw), offset)), a=v.at(q.a, r, MR * v.size),
            d=v.at(q.d, offset),
        )  # fmt: skip


@record("out ldo a lda b depth k begin code kept tiles vectors block")
def packed_forward(v: Vec, q: Any, parts: int = 0) -> None:
    """As `forward`; panels of b have `depth` rows."""
    _packed_pass(v, q, True, parts)


@record("out ldo a lda b depth k begin code kept tiles vectors block")
def packed_backward(v: Vec, q: Any, parts: int = 0) -> None:
    """As `backward`; the sums begin at a row of zeros."""
    _packed_pass(v, q, False, parts)


def _packed_pass(v: Vec, q: Any, forward: bool, parts: int) -> None:
    b, name = v.b, "tile_forward" if forward else "tile_backward"
    options = {"forward": forward, "packed": True, "parts": parts}
    with v.blocks(q.k, q.block) as (k0, k):
        first = b.icmp_signed("==", k0, const(0))
        last = b.icmp_signed("<=", b.sub(q.k, k0), q.block)
        code = b.select(last, q.code, const(ACTIVATIONS["identity"]))
        a, ldbegin = v.at(q.a, k0, v.size), b.select(first, const(0), q.ldo)
        for width, offset, r, call in _over_tiles(v, q, name, tile, **options):
            at = b.add(_rows_of(v, r, q.ldo), offset)
            out, begin = v.at(q.out, at), v.at(q.begin, offset) if forward else q.begin
            # where k0 is in a panel of B, of which there are `width` vectors from `offset` on
            place = b.add(b.mul(offset, q.depth), v.times(k0, width * v.bytes))
            call(
                q, out=out, begin=b.select(first, begin, out), ldbegin=ldbegin,
                a=v.at(a, _rows_of(v, r, q.lda)), b=v.at(q.b, place, max(1, parts)),
                ldb=const(width * v.bytes * max(1, parts)), k=k, code=code, kept=v.at(q.kept, at),
            )  # fmt: skip


@record("w ldw a d k code state hyper tiles vectors")
def packed_update(v: Vec, q: Any, parts: int = 0) -> None:
    """As `update`."""
    each, options = max(1, parts), {"packed": True, "parts": parts}
    depth = v.times(q.k, each)
    for width, offset, r, call in _over_tiles(v, q, "tile_update", tile_update, **options):
        call(
            q, w=v.at(q.w, v.b.add(_rows_of(v, r, q.ldw), offset)),
            a=v.at(q.a, r, v.times(depth, MR * v.size)), lda=const(MR * v.size * each),
            d=v.at(q.d, offset, depth), ldd=const(width * v.bytes * each),
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
