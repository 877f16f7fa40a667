"""A step on a full batch of a network whose gradient fits the cache: X is read from memory once.

The samples are cut into groups, the same ones for any number of threads. A share takes a group
through in blocks, forward, back and into the group's own gradient while the block is in its cache.
Then every share adds up its rows of W over all groups, in their order, and updates them.
"""

from __future__ import annotations

from ..emit.optimizers import ADD, STORE
from . import post_gradient, sparse_input
from .job import BLOCK, Job
from .operation import Phase, Share
from .passes import through, update_bias, update_rows
from .samples import Samples

__all__ = ["step"]


def step(job: Job, size: int) -> list[Phase]:
    """Return the phases of a step over `size` samples."""
    following = post_gradient.phases(job) if job.optimizer < STORE else []
    alone = len(following) == 1

    def combine(share: Share, t: int) -> None:
        _combine(job, share, t)
        if alone:  # of the same rows, so nobody waits for anybody
            post_gradient.apply(job, share, t)

    phases = [
        Phase.of("groups", job.shares, lambda share, t: _groups(job, share, t, size)),
        Phase.of("combine", job.shares, combine),
    ]
    post_gradient.add_penalties_of_step_before(job, phases[0])
    return phases if alone else phases + following


def _groups(job: Job, share: Share, t: int, size: int) -> None:
    """A share's groups: whole blocks in turns, then what is left."""
    first, last = job.part(job.groups, t)
    for group in range(first, last):
        start = group * job.group_samples
        count = min(size, start + job.group_samples) - start
        if count <= 0:
            continue
        whole, rest = divmod(count, job.chunk)
        row = t * job.chunk
        if whole:
            with share.times(whole):
                _block(job, share, Samples(start, row, job.chunk, job.batch_size, job.chunk), group)
        if rest:
            samples = Samples(start + whole * job.chunk, row, rest, job.batch_size)
            _block(job, share, samples, group)


def _block(job: Job, share: Share, samples: Samples, group: int) -> None:
    """Take samples through, and add their gradient to the group's."""
    through(job, share, samples)
    for q in job.layers:
        if q.number == 0 and job.lists is not None:
            target = job.gradient_of(q.w, group)
            sparse_input.add_gradient(job, share, samples, target, samples.at(q.d, q.ld_h))
        else:
            update_rows(job, share, q, (0, q.blocks * BLOCK), samples, ADD, group)
        update_bias(job, share, q, (0, q.vectors_out), samples, ADD, group)


def _combine(job: Job, share: Share, t: int) -> None:
    """A share's rows of every W: add up the groups in order."""
    for q in job.layers:
        i0, i1 = job.rows_of(q, t)
        summed = [(q.w + i0 * q.ld_w, (i1 - i0) * q.ld_w // job.vector)]
        if q.has_bias and t == 0:
            summed.append((q.bias, q.vectors_out))
        for parameter, vectors in summed:
            if vectors and job.groups > 1:  # mutant >=: no piece is added
                share.add(
                    "add", dst=job.gradient_of(parameter), src=job.gradient_of(parameter, 1),
                    vectors=vectors, pieces=job.groups - 1, distance=job.n_bytes,
                )  # fmt: skip
