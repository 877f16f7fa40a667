"""The forward pass only, block by block: to outputs, or to losses and hits."""

from __future__ import annotations

from . import sparse_input
from .job import Job
from .operation import Phase, Share, Slot
from .passes import forward, output_delta
from .per_sample import forward_one
from .samples import Samples

__all__ = ["blocks", "few", "repeated_tile"]


def _output(job: Job, share: Share, samples: Samples, code: int) -> None:
    q = job.layers[-1]
    length = q.n_out * job.item
    share.add(
        "output", out=samples.of(Slot.OUT, length), ldo=length, z=samples.at(q.h, q.ld_h),
        ldz=q.ld_h, n=q.n_out, rows=samples.count, code=code,
    )  # fmt: skip


def blocks(job: Job, count: int, output: int, *, spread: bool = False) -> list[Phase]:
    """Return the one phase that takes `count` samples forward, `job.chunk` of them at a time.

    Parameters
    ----------
    job : Job
        Without a loss, outputs are written, else losses and hits.
    count : int
    output : int
        The code of the output.
    spread : bool
        Whether each sample has a row of the workspace of its own.
    """
    size = job.chunk
    whole, rest = divmod(count, size)

    def take(share: Share, samples: Samples) -> None:
        if job.lists is not None and job.lists.passing:
            sparse_input.list_samples(job, share, samples)
        forward(job, share, samples)
        if job.loss is None:
            _output(job, share, samples, output)
        else:
            output_delta(job, share, samples)

    def build(share: Share, t: int) -> None:
        first, last = job.part(whole + (rest > 0), t)
        turns = min(last, whole) - first
        start, row = first * size, first * size if spread else t * size
        if turns > 0:
            with share.times(turns):
                take(share, Samples(start, row, size, turn=size, row_turn=size if spread else 0))
        if last > whole:
            row = whole * size if spread else row
            take(share, Samples(whole * size, row, rest))

    return [Phase.of("blocks", job.shares, build)]


def few(job: Job, count: int, output: int) -> list[Phase]:
    """Return the one phase that takes a few samples forward one by one: no tile is left empty."""

    def build(share: Share, t: int) -> None:
        sample = Samples(0, 0, 1, turn=1)
        with share.times(count):
            forward_one(job, share, sample)
            _output(job, share, sample, output)

    return [Phase.of("few", 1, build)]


def repeated_tile(job: Job, repeats: int, stride: int) -> list[Phase]:
    """Return the one phase in which every share runs one tile again and again, into its own place,
    `stride` bytes from the next one's.
    """
    (q,) = job.layers

    def build(share: Share, t: int) -> None:
        out = q.h + t * stride
        with share.times(repeats):
            share.add(
                "forward", c=out, ldc=q.ld_h, a=q.a, lda=q.ld_a, w=q.w, ldw=q.ld_w, k=q.n_in,
                bias=q.bias, code=q.code, slope=out, tiles=1, vectors=q.vectors_out,
            )  # fmt: skip

    return [Phase.of("tile", job.shares, build)]
