"""The tile again and again on operands that stay in the first-level cache: the limit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...contract.parameters import aligned_zeros
from ..emit.activations import ACTIVATIONS
from ..emit.target import current_target
from ..program.inference import repeated_tile
from ..program.job import Job, Layer
from ..program.operation import At, Program, Slot
from .executor import Executable, run
from .layouts import layout_of

__all__ = ["tiles"]

_PAGE = 4096  # every share has its own output, pages apart


def tiles(dtype: str, threads: int, *, depth: int, repeats: int) -> tuple[int, Callable[[], None]]:
    """Return the floating-point operations of `repeats` tiles a thread, and what runs them.

    Parameters
    ----------
    dtype : {"float32", "float64"}
    threads : int
    depth : int
        Products that are summed in each element of a tile.
    repeats : int
    """
    target, item = current_target(), np.dtype(dtype).itemsize
    width = target.tile_vectors * target.vector_bytes
    a = np.full((target.tile_rows, depth), 1e-3, dtype)
    w = np.full((depth, width // item), 1e-3, dtype)
    stride = 4 * _PAGE
    out = aligned_zeros(threads * target.tile_rows * stride // item, np.dtype(dtype))
    nothing = At(Slot.NONE)
    layer = Layer(
        n_in=depth, n_out=width // item, vectors_in=0, vectors_out=target.tile_vectors,
        w=At(Slot.PARAMETERS), ld_w=w.strides[0], bias=At(Slot.PARAMETERS), wt=nothing, ld_wt=0,
        a=At(Slot.X), ld_a=a.strides[0], h=At(Slot.OUT), ld_h=width, d=nothing, slope=nothing,
        code=ACTIVATIONS["identity"], slope_code=0, has_bias=True,
    )  # fmt: skip
    job = Job(
        layers=(layer,), item=item, vector=target.vector_bytes, tile_rows=target.tile_rows,
        shares=threads, input="f32", loss=None, batch_size=1, chunk=1,
    )  # fmt: skip
    program = Program(threads, {"tiles": repeated_tile(job, repeats, stride)})
    executable = Executable(layout_of(program, dtype))
    executable.enter((("tiles", 0, 1),))
    for slot, array in ((Slot.PARAMETERS, w), (Slot.X, a), (Slot.OUT, out)):
        executable.bases[slot] = array.ctypes.data
    keep = (a, w, out)

    def start() -> None:
        assert keep
        run(executable, threads)

    work = 2 * target.tile_rows * (width // item) * depth * repeats * threads
    return work, start
