"""The forward pass only, block by block: to outputs, or to losses and hits."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum, auto

from ..emit.gemv import WIDTHS
from . import sparse_input
from .calls import cut
from .job import Job, Layer
from .operation import At, Phase, Program, Share, Slot
from .passes import dense, forward, gather, output_delta
from .per_sample import vector_forward
from .samples import KnownAtRun, Samples

__all__ = ["AnyCount", "any_count", "blocks", "by_columns", "repeated_tile"]


def _output(job: Job, share: Share, samples: Samples, code: int) -> None:
    q = job.layers[-1]
    length = q.n_out * job.item
    share.add(
        "output", out=samples.of(Slot.OUT, length), ldo=length, z=samples.at(q.h, q.ld_h),
        ldz=q.ld_h, n=q.n_out, rows=samples.rows, code=code,
    )  # fmt: skip


def _look(job: Job, share: Share, t: int) -> None:
    """Note whether a share's part of the samples is finite."""
    share.add(
        "finite", found=At(Slot.FINITE, 8 * t), x=At(Slot.X), ldx=At(Slot.LD_X), step=job.item,
        rows=At(Slot.N_ROWS), columns=job.layers[0].n_in, share=t, shares=job.shares,
    )  # fmt: skip


def _look_at_gathered(job: Job, share: Share, t: int, samples: Samples) -> None:
    """Note whether samples are finite, while they are in the caches."""
    q = job.layers[0]
    share.add(
        "finite", found=At(Slot.FINITE, 8 * t), x=samples.at(q.a, q.ld_a), ldx=q.ld_a,
        step=job.item, rows=samples.rows, columns=q.n_in, share=0, shares=1,
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


class AnyCount(IntEnum):
    """What each share of `any_count` is told at a run, in slots of its own."""

    ROWS = 0  # where its whole blocks are in X, and in the outputs
    OUT = auto()
    REST_ROWS = auto()  # the same of what is left
    REST_OUT = auto()
    REST = auto()  # numbers: samples that are left, and tiles of them
    REST_TILES = auto()

    @classmethod
    def first(cls, share: int) -> int:
        """Return the first slot of a share."""
        return len(Slot) + share * len(cls)


def any_count(job: Job, output: int, *, looks: bool) -> Program:
    """Return a program that takes any number of samples forward, which is told at a run.

    A share has two loops: over whole blocks of `job.chunk` samples, and over what is left, which
    runs once or not at all. How often both run is entered with the rest.

    Parameters
    ----------
    job : Job
    output : int
        The code of the output.
    looks : bool
        Whether each share notes if its part of the samples is finite.
    """
    size = job.chunk

    def build(share: Share, t: int) -> None:
        first, of = AnyCount.first(t), AnyCount
        whole = KnownAtRun({Slot.ROWS: first + of.ROWS, Slot.OUT: first + of.OUT})
        rest = KnownAtRun(
            {Slot.ROWS: first + of.REST_ROWS, Slot.OUT: first + of.REST_OUT},
            first + of.REST, first + of.REST_TILES,
        )  # fmt: skip
        for samples in (
            Samples(0, t * size, size, turn=size, known=whole),
            Samples(0, t * size, 0, known=rest),
        ):
            with share.times(1):
                forward(job, share, samples)
                if looks:
                    _look_at_gathered(job, share, t, samples)
                _output(job, share, samples, output)

    phases = [Phase.of("blocks", job.shares, build)]
    return Program(job.shares, {"blocks": phases}, len(AnyCount) * job.shares)


def by_columns(job: Job, count: int, output: int, *, one_by_one: bool, looks: bool) -> list[Phase]:
    """Return the phases that take a few samples through one layer after the other, each share
    through columns of its own.

    Parameters
    ----------
    job : Job
    count : int
    output : int
        The code of the output.
    one_by_one : bool
        Whether samples go through each layer one by one, by the kernels of a single sample: no tile
        is left half empty.
    looks : bool
        Whether each share notes if its part of the samples is finite.
    """
    samples = Samples(0, 0, count)

    def bring(share: Share, t: int) -> None:
        if looks:
            _look(job, share, t)
        if t == 0:
            gather(job, share, samples)

    def through(q: Layer) -> Callable[[Share, int], None]:
        def build(share: Share, t: int) -> None:
            # a share's panels are as wide as they are in the whole layer, so its sums are the same
            first, last = cut(q.vectors_out, job.shares, t, WIDTHS[0])
            if first == last:
                return
            if not one_by_one:
                dense(job, share, q.part(first, last, job.vector), samples)
                return
            for row in range(count):
                vector_forward(share, q.part(first, last, job.vector, row))

        return build

    def finish(share: Share, t: int) -> None:
        if t == 0:
            _output(job, share, samples, output)

    builds = [bring, *map(through, job.layers), finish]
    if job.shares > 1:
        return [Phase.of("columns", job.shares, build) for build in builds]

    def alone(share: Share, t: int) -> None:  # who waits for nobody needs no phases
        for build in builds:
            build(share, t)

    return [Phase.of("columns", 1, alone)]


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
