"""A step of gradient descent on a mini-batch: by samples, then by rows of W.

First each share takes a slice of the batch from gathering it to its deltas. Then each share owns
rows of every W, sums their gradient over all samples in order and applies the optimizer in
registers. Wide layers pack what they sum over in the first of these, and copy their W for the
passes in the second. Over lists of non-zeros a phase comes before these: the first layer, by panels
of W. A batch of more than a chunk of samples is gone through in chunks whose gradients are added
up.
"""

from __future__ import annotations

from ..emit.optimizers import ADD, STORE
from . import post_gradient, sparse_input
from .job import Job
from .operation import Phase, Share
from .passes import through, update_bias, update_rows
from .samples import Samples

__all__ = ["chunk", "step"]


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
        phases += chunk(job, start, min(job.chunk, size - start), code)
    post_gradient.add_penalties_of_step_before(job, phases[0])
    return phases + (post_gradient.phases(job) if whole else [])


def chunk(job: Job, start: int, count: int, code: int) -> list[Phase]:
    """Return the phases that sum the gradient of a chunk of a step's samples, from the `start` one
    on, and do with it what `code` says.
    """
    n, samples = job.shares, Samples(start, 0, count, step=job.batch_size, depth=count)
    phases = []
    if job.packed is not None:
        phases.append(Phase.of("panels", n, lambda share, t: _panels(job, share, t, samples)))
    phases.append(Phase.of("samples", n, lambda share, t: _samples(job, share, t, samples)))
    phases.append(Phase.of("weights", n, lambda share, t: _weights(job, share, t, samples, code)))
    return phases


def _panels(job: Job, share: Share, t: int, samples: Samples) -> None:
    """A share's panels of the first layer; meanwhile the lists of the samples behind these are
    asked for (the order is padded: there are always as many).
    """
    sparse_input.forward_panels(job, share, t, samples)
    sparse_input.list_by_feature(job, share, t, samples)


def _samples(job: Job, share: Share, t: int, samples: Samples) -> None:
    """A share's samples, from gathering them to their deltas."""
    r0, r1 = job.part(samples.count, t, job.tile_rows)
    if r1 > r0:
        through(job, share, samples.part(r0, r1))


def _weights(job: Job, share: Share, t: int, samples: Samples, code: int) -> None:
    """A share's rows of every W, and its part of every bias: gradient and update."""
    for q in job.layers:
        for piece in sparse_input.pieces(job, q, t):
            if code < STORE:  # mutant <=: noted again, and the same, when the optimizer steps
                post_gradient.note_penalties(job, share, q, piece)
            if q.number == 0 and job.packed is not None:
                sparse_input.update_panel(job, share, piece, samples.count, code)
            else:
                update_rows(job, share, q, piece.rows, samples, code)
            if code < STORE:
                post_gradient.copy_rows(job, share, q, piece.rows)
        update_bias(job, share, q, job.part(q.vectors_out, t), samples, code)
