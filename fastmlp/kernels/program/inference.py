"""The forward pass only, block by block: to outputs, or to losses and hits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

from ..emit.gemv import WIDTHS
from . import sparse_input
from .job import Job, Layer
from .operation import At, Phase, Program, Share, Slot
from .passes import dense, forward, gather, output_delta
from .per_sample import vector_forward
from .samples import Samples

__all__ = ["blocks", "by_columns", "told"]


def _output(job: Job, share: Share, samples: Samples, code: int) -> None:
    q = job.layers[-1]
    length = q.n_out * job.item
    share.add(
        "output", out=samples.of(Slot.OUT, length), ldo=length, z=samples.at(q.h, q.ld_h),
        ldz=q.ld_h, n=q.n_out, rows=samples.rows, code=code,
    )  # fmt: skip


def _look(job: Job, share: Share, t: int, samples: Samples) -> None:
    """Note whether samples are finite that were just read, while they are in the caches."""
    q = job.layers[0]
    share.add(
        "finite", found=At(Slot.FINITE, 8 * t), x=samples.at(q.a, q.ld_a), ldx=q.ld_a,
        rows=samples.rows, columns=q.n_in, share=0, shares=1, factor=0,
    )  # fmt: skip


# arrays with a row a sample
_IN_ORDER = (Slot.ROWS, Slot.OUT, Slot.LOSSES, Slot.CORRECT, Slot.X)
# mutant 3: some that nobody uses
_SLOTS = 2 * len(_IN_ORDER) + 2  # of a share


@cache
def told(share: int) -> tuple[dict[int | str, int], dict[int | str, int]]:
    """Return the slots in which a share of `blocks` is told at a run where its samples are in
    arrays in order: those of whole blocks, and what is left, whose number it is told too.
    """
    # mutant 2: more than are taken
    slots = iter(range(len(Slot) + share * _SLOTS, len(Slot) + (share + 1) * _SLOTS))
    whole, rest = (dict[int | str, int](zip(_IN_ORDER, slots, strict=False)) for _ in range(2))
    for part in (whole, rest):
        part[Slot.ORDER] = part[Slot.ROWS]
    return whole, rest | {"count": next(slots), "tiles": next(slots)}


def _reading_in_place(job: Job, samples: Samples) -> Job:
    """Return the job with a first layer that reads whole rows of X, which lie side by side."""
    q, *others = job.layers
    row = q.n_in * job.item
    first = samples.of(Slot.X, row) + -samples.row * row
    return replace(job, layers=(replace(q, a=first, ld_a=row), *others))


def blocks(job: Job, output: int, *, looks: bool, in_place: bool) -> Program:
    """Return a program that takes any number of samples forward, which is told at a run.

    A share has two loops: over whole blocks of `job.chunk` samples, and over what is left, which
    runs once or not at all. How often both run is entered with the rest. Outputs are written, by
    the code of the `output`, or losses and hits if the job has a loss. Where it `looks`, each share
    notes if its part of the samples is finite. Whole blocks may be read `in_place`, of an X without
    gaps that has the network's dtype.
    """
    size = job.chunk

    def build(share: Share, t: int) -> None:
        whole, rest = told(t)
        for samples in (
            Samples(0, t * size, size, turn=size, told=whole), Samples(0, t * size, 0, told=rest)
        ):  # fmt: skip
            with share.times(1):
                if job.lists is not None and job.lists.passing:
                    sparse_input.list_samples(job, share, samples)
                direct = in_place and samples.count > 0
                reading = _reading_in_place(job, samples) if direct else job
                forward(reading, share, samples, gathers=not direct)
                if looks:
                    _look(reading, share, t, samples)
                if job.loss is None:
                    _output(job, share, samples, output)
                else:
                    output_delta(job, share, samples)

    phases = [Phase.of("blocks", job.shares, build)]
    return Program(job.shares, {"blocks": phases}, _SLOTS * job.shares)


def by_columns(job: Job, count: int, output: int, *, one_by_one: bool, looks: bool) -> Program:
    """Return a program that takes a few samples through one layer after the other, each share
    through columns of its own.

    They go `one_by_one`, by the kernels of a single sample, where a tile would be left half empty.
    For `output` and `looks` see `blocks`.
    """
    samples = Samples(0, 0, count)

    def bring(share: Share, t: int) -> None:
        if t == 0:
            gather(job, share, samples)
            if looks:
                _look(job, share, t, samples)

    def through(q: Layer) -> Callable[[Share, int], None]:
        def build(share: Share, t: int) -> None:
            # a share's panels are as wide as they are in the whole layer, so its sums are the same
            first, last = job.part(q.vectors_out, t, WIDTHS[0])
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
    phases = [Phase.of("columns", job.shares, build) for build in builds]
    return Program(job.shares, {"columns": phases})
