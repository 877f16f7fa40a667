"""The tile again and again on operands that stay in the first-level cache: the limit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...contract.parameters import aligned_zeros
from ..emit.activations import ACTIVATIONS
from ..emit.target import current_target
from ..program.operation import At, Share, Slot
from .calls import Call

__all__ = ["tiles"]

_PAGE = 4096  # every share has its own output, pages apart


def tiles(dtype: str, threads: int, *, depth: int, repeats: int) -> tuple[int, Callable[[], None]]:
    """Return the floating-point operations of `repeats` tiles a thread, and what runs them.

    Each element of a tile is the sum of `depth` products.
    """
    target, item = current_target(), np.dtype(dtype).itemsize
    width = target.tile_vectors * target.vector_bytes
    a = np.full((target.tile_rows, depth), 1e-3, dtype)
    w = np.full((depth, width // item), 1e-3, dtype)
    stride = 4 * _PAGE
    out = aligned_zeros(threads * target.tile_rows * stride // item, np.dtype(dtype))

    def build(share: Share, t: int, _: int) -> None:
        place = At(Slot.OUT, t * stride)
        with share.times(repeats):
            share.add(
                "forward", out=place, ldo=width, a=At(Slot.X), lda=a.strides[0],
                b=At(Slot.PARAMETERS), ldb=w.strides[0], k=depth, begin=At(Slot.PARAMETERS),
                code=ACTIVATIONS["identity"], kept=place, tiles=1, vectors=target.tile_vectors,
            )  # fmt: skip

    call = Call(np.dtype(dtype), threads, build)
    arrays = {Slot.PARAMETERS: w, Slot.X: a, Slot.OUT: out}

    def start() -> None:
        call.run(arrays.items())

    work = 2 * target.tile_rows * (width // item) * depth * repeats * threads
    return work, start
