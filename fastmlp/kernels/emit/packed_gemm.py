"""Wide dense layers: the tile over packed operands (`packing`), row tiles innermost.

W and its transpose lie in panels, so the forward and the backward pass read them from end to end,
`block` of k at a time: so much of a panel stays in a cache while all row tiles go by. From one
block to the next the sums lie in the result, unrounded, so the bits are those of `gemm`.

With `parts` both operands are split into so many bfloat16 parts (`bfloat16`), and
k, `depth` and `block` count pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .activations import ACTIVATIONS
from .flow import const
from .gemm import MR, over_tiles, rows_of, tile_of
from .microkernel import packed_tile, packed_tile_update
from .records import Renamed, record
from .vector_math import Vec

__all__ = ["packed_backward", "packed_forward", "packed_update"]


@contextmanager
def _blocks(v: Vec, q: Any) -> Iterator[tuple[Any, Any, Any, Any]]:
    """Emit a loop around the block over the blocks of k: where one begins and what it has, whether
    it is the first, and what becomes of its sums.
    """
    b = v.b
    with v.blocks(q.k, q.block) as (k0, k):
        last = b.icmp_signed("<=", b.sub(q.k, k0), q.block)
        code = b.select(last, q.code, const(ACTIVATIONS["identity"]))
        yield k0, k, b.icmp_signed("==", k0, const(0)), code


@record("c ldc a lda w depth k bias code slope tiles vectors block")
def packed_forward(v: Vec, q: Any, parts: int = 0) -> None:
    """c = f(a W + bias) for `tiles` row tiles; panels of W have `depth` rows."""
    names = {"out": "c", "ldo": "ldc", "b": "w", "begin": "bias", "kept": "slope"}
    _pass(v, Renamed(q, names), True, parts)


@record("e lde d ldd wt k zeros h code tiles vectors block")
def packed_backward(v: Vec, q: Any, parts: int = 0) -> None:
    """e = (d W^T) f'(z) for `tiles` row tiles; the sums begin at a row of `zeros`."""
    names = {"out": "e", "ldo": "lde", "a": "d", "lda": "ldd", "b": "wt", "depth": "k"}
    _pass(v, Renamed(q, {**names, "begin": "zeros", "kept": "h"}), False, parts)


def _pass(v: Vec, q: Any, forward: bool, parts: int) -> None:
    b, name = v.b, "packed_tile_forward" if forward else "packed_tile_backward"
    with _blocks(v, q) as (k0, k, first, code):
        a, ldbegin = v.at(q.a, k0, v.size), b.select(first, const(0), q.ldo)
        for width, offset, r in over_tiles(v, q, even=False):
            at = b.add(rows_of(v, r, q.ldo), offset)
            out, begin = v.at(q.out, at), v.at(q.begin, offset) if forward else q.begin
            # where k0 is in a panel of B, of which there are `width` vectors from `offset` on
            place = b.add(b.mul(offset, q.depth), v.times(k0, width * v.bytes))
            tile_of(v, name, packed_tile, width, forward=forward, parts=parts)(
                q, out=out, begin=b.select(first, begin, out), ldbegin=ldbegin,
                a=v.at(a, rows_of(v, r, q.lda)), b=v.at(q.b, place, max(1, parts)), k=k,
                code=code, kept=v.at(q.kept, at),
            )  # fmt: skip


@record("w ldw a d k code state hyper tiles vectors")
def packed_update(v: Vec, q: Any, parts: int = 0) -> None:
    """dW = A^T delta for `tiles` tiles of rows of W, then the optimizer."""
    depth = v.times(q.k, parts) if parts else q.k
    for width, offset, r in over_tiles(v, q, even=False):
        tile_of(v, "packed_tile_update", packed_tile_update, width, parts=parts)(
            q, w=v.at(q.w, v.b.add(rows_of(v, r, q.ldw), offset)),
            a=v.at(q.a, r, v.times(depth, MR * v.size)), d=v.at(q.d, offset, depth),
        )  # fmt: skip
