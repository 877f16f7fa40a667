"""Wide dense layers: the tile over packed operands (`packing`), row tiles innermost.

W and its transpose lie in panels, so the forward and the backward pass read them from end to end,
`block` of k at a time: so much of a panel stays in a cache while all row tiles go by. From one
block to the next the sums lie in the result, unrounded, so the bits are those of `gemm`.

With `parts` both operands are split into so many bfloat16 parts (`bfloat16`), and
k, `depth` and `block` count pairs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .activations import ACTIVATIONS
from .elementwise import over_rows
from .gemm import MR, over_tiles, rows_of, tile_of
from .records import record
from .simd import const
from .vector_math import Vec

__all__ = ["packed_backward", "packed_forward", "packed_update"]


def _over_blocks(v: Vec, q: Any, block: Callable[[Any, Any, Any, Any], None]) -> None:
    """Emit ``block(k0, k, first, code)`` over the blocks of k: where one begins and what it has,
    whether it is the first, and what becomes of its sums.
    """
    b = v.b

    def one(t: Any) -> None:
        k0 = b.mul(t, q.block)
        left = b.sub(q.k, k0)
        last = b.icmp_signed("<=", left, q.block)
        code = b.select(last, q.code, const(ACTIVATIONS["identity"]))
        block(k0, v.least(left, q.block), b.icmp_signed("==", t, const(0)), code)

    over_rows(v, b.udiv(b.sub(b.add(q.k, q.block), const(1)), q.block), one)


def _place(v: Vec, depth: Any, k0: Any, width: int, offset: Any, parts: int) -> Any:
    """Return where k0 is in a panel of B, of which there are `width` vectors from `offset` on."""
    b = v.b
    place = b.add(b.mul(offset, depth), b.mul(k0, const(width * v.bytes)))
    return b.mul(place, const(parts)) if parts else place


@record("c ldc a lda w depth k bias code slope tiles vectors block")
def packed_forward(v: Vec, q: Any, parts: int = 0) -> None:
    """c = f(a W + bias) for `tiles` row tiles; panels of W have `depth` rows."""
    b = v.b

    def block(k0: Any, k: Any, first: Any, code: Any) -> None:
        a, ldstart = v.at(q.a, b.mul(k0, const(v.size))), b.select(first, const(0), q.ldc)

        def tile(width: int, offset: Any, r: Any) -> None:
            at = b.add(rows_of(v, r, q.ldc), offset)
            c = v.at(q.c, at)
            tile_of(v, "packed_tile_forward", width, parts=parts)(
                c=c, ldc=q.ldc, start=b.select(first, v.at(q.bias, offset), c), ldstart=ldstart,
                a=v.at(a, rows_of(v, r, q.lda)), lda=q.lda,
                w=v.at(q.w, _place(v, q.depth, k0, width, offset, parts)), k=k, code=code,
                slope=v.at(q.slope, at),
            )  # fmt: skip

        over_tiles(v, q, tile, even=False)

    _over_blocks(v, q, block)


@record("e lde d ldd wt k zeros h code tiles vectors block")
def packed_backward(v: Vec, q: Any, parts: int = 0) -> None:
    """e = (d W^T) f'(z) for `tiles` row tiles; the sums begin at a row of `zeros`."""
    b = v.b

    def block(k0: Any, k: Any, first: Any, code: Any) -> None:
        d, ldstart = v.at(q.d, b.mul(k0, const(v.size))), b.select(first, const(0), q.lde)

        def tile(width: int, offset: Any, r: Any) -> None:
            at = b.add(rows_of(v, r, q.lde), offset)
            e = v.at(q.e, at)
            tile_of(v, "packed_tile_backward", width, parts=parts)(
                e=e, lde=q.lde, start=b.select(first, q.zeros, e), ldstart=ldstart,
                d=v.at(d, rows_of(v, r, q.ldd)), ldd=q.ldd,
                wt=v.at(q.wt, _place(v, q.k, k0, width, offset, parts)), k=k, h=v.at(q.h, at),
                code=code,
            )  # fmt: skip

        over_tiles(v, q, tile, even=False)

    _over_blocks(v, q, block)


@record("w ldw a d k code state hyper tiles vectors")
def packed_update(v: Vec, q: Any, parts: int = 0) -> None:
    """dW = A^T delta for `tiles` tiles of rows of W, then the optimizer."""
    b = v.b
    depth = b.mul(q.k, const(parts)) if parts else q.k

    def tile(width: int, offset: Any, r: Any) -> None:
        tile_of(v, "packed_tile_update", width, parts=parts)(
            w=v.at(q.w, b.add(rows_of(v, r, q.ldw), offset)), ldw=q.ldw,
            a=v.at(q.a, b.mul(r, b.mul(depth, const(MR * v.size)))),
            d=v.at(q.d, b.mul(offset, depth)), k=q.k, code=q.code, state=q.state, hyper=q.hyper,
        )  # fmt: skip

    over_tiles(v, q, tile, even=False)
