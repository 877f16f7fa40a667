"""A step of gradient descent on a mini-batch: by samples, then by rows of W.

First each share takes a slice of the batch from gathering it to its deltas. Then each share owns
rows of every W, sums their gradient over all samples in order and applies the optimizer in
registers. Wide layers pack what they sum over in the first of these, and copy their W for the
passes in the second. Over lists of non-zeros a phase comes before these: the first layer, by panels
of W. A batch of more than a chunk of samples is gone through in chunks whose gradients are added
up.
"""

from __future__ import annotations

from dataclasses import replace

from ..emit.optimizers import ADD, STORE
from . import post_gradient, sparse_input
from .job import Job, Layer
from .operation import Phase, Share, Slot
from .passes import through, update_bias, update_rows
from .samples import Samples

__all__ = ["add_penalties_of_step_before", "penalties", "step", "sum_gradient"]


def step(job: Job, size: int) -> list[Phase]:
    """Return the phases of a step over `size` samples."""
    starts = range(0, size, job.chunk)
    trained = job.optimizer < STORE
    whole = trained and (len(starts) > 1 or job.regularizing.whole)
    phases: list[Phase] = []
    for start in starts:
        code = job.optimizer
        if whole or len(starts) > 1:
            code = STORE if start == 0 else ADD
        phases += _chunk(job, start, min(job.chunk, size - start), size, code)
    add_penalties_of_step_before(job, phases[0])
    return phases + (post_gradient.phases(job) if whole else [])


def sum_gradient(job: Job, size: int, code: int) -> list[Phase]:
    """Return the phases that sum the gradient of `size` samples, a chunk, as `code` says."""
    return _chunk(job, 0, size, size, code)


def penalties(job: Job, *, before: bool) -> Phase:
    """Return the phase that adds up the penalties of this step, or of the one before it."""

    def build(share: Share, t: int) -> None:
        if t == 0:
            post_gradient.add_penalties(job, share, before=before)

    return Phase.of("penalties", job.shares, build)


def add_penalties_of_step_before(job: Job, phase: Phase) -> None:
    """Let a step's first phase add up the last step's penalties: no phase of its own for them."""
    first = Share()
    post_gradient.add_penalties(job, first, before=True)
    phase.shares[0].loops[:0] = first.loops


def _chunk(job: Job, start: int, count: int, size: int, code: int) -> list[Phase]:
    """Return the phases of a chunk of samples, from the `start` of a step's `size` on."""
    n, samples = job.shares, Samples(start, 0, count, step=job.batch_size, depth=count)
    phases = []
    if job.packed is not None:
        full = size == job.batch_size
        phases.append(Phase.of("panels", n, lambda share, t: _panels(job, share, t, samples, full)))
    phases.append(Phase.of("samples", n, lambda share, t: _samples(job, share, t, samples)))
    phases.append(Phase.of("weights", n, lambda share, t: _weights(job, share, t, samples, code)))
    return phases


def _panels(job: Job, share: Share, t: int, samples: Samples, full: bool) -> None:
    """A share's panels of the first layer; meanwhile the lists of the next step's samples are
    asked for (the order is padded: there is always a next step's).
    """
    sparse_input.forward_panels(job, share, t, samples)
    following = samples.of(Slot.ROWS)
    if full:
        following += samples.count * 8
    sparse_input.list_by_feature(job, share, t, samples, following)


def _samples(job: Job, share: Share, t: int, samples: Samples) -> None:
    """A share's samples, from gathering them to their deltas."""
    tiles = -(-samples.count // job.tile_rows)
    r0, r1 = (edge * job.tile_rows for edge in job.part(tiles, t))
    mine = min(r1, samples.count) - r0
    if mine > 0:
        through(job, share, replace(samples, first=samples.first + r0, row=r0, count=mine))


def _weights(job: Job, share: Share, t: int, samples: Samples, code: int) -> None:
    """A share's rows of every W, and its part of every bias: gradient and update."""
    for q in job.layers:
        if q.number == 0 and job.packed is not None:
            for piece in sparse_input.pieces(job, q, t):
                if code < STORE:
                    post_gradient.note_penalties(job, share, q, piece)
                sparse_input.update_panel(job, share, piece, samples.count, code)
        else:
            _step_rows(job, share, q, job.rows_of(q, t), samples, code)
        update_bias(job, share, q, job.part(q.vectors_out, t), samples, code)


def _step_rows(
    job: Job, share: Share, q: Layer, rows: tuple[int, int], samples: Samples, code: int
) -> None:
    """Rows of a W: those of a wide one some at a time, so that they are copied from a cache."""
    i0, end = rows
    while i0 < end:
        i1 = end if q.wide is None else min(i0 + q.wide.rows, end)
        if code < STORE:
            piece = sparse_input.whole_rows(job, q, (i0, i1))
            post_gradient.note_penalties(job, share, q, piece)
        update_rows(job, share, q, (i0, i1), samples, code)
        if code < STORE:
            post_gradient.copy_rows(job, share, q, (i0, i1))
        i0 = i1
