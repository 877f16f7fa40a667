"""Steps of gradient descent, mini-batch or full batch: on one thread, or on a team of them."""

from __future__ import annotations

import numpy as np
from numba import prange

from ._jit import jit
from .drivers import region, regions
from .finish import reduce_penalties
from .full_batch import full_region, full_regions
from .optimizers import HYPER_ROW
from .tables import S_GROUPS, S_HYPER, S_ITEM, S_PENALTY, S_TEAM
from .team import NUMBER, OVER, STEP, announce, announced, arrive, claim, done, end, field, wait

__all__ = ["train_parallel", "train_serial"]


@jit()
def step_size(n, batch_size, s):
    """Return the samples of step s; the step before the first has none and makes transposes."""
    return min(batch_size, n - s * batch_size) if s >= 0 else 0


@jit()
def regions_of(S, size):
    """Return how many regions a step over `size` samples has."""
    return full_regions(S, size) if S[S_GROUPS] else regions(S, size)


@jit()
def work(R, K, S, layers, bounds, n, batch_size, s, number, t, threads):
    """Thread t's share of one region of step s."""
    size = step_size(n, batch_size, s)
    hyper = S[S_HYPER] + s * 2 * HYPER_ROW * S[S_ITEM]
    first = s * batch_size
    if S[S_GROUPS]:
        full_region(R, K, S, layers, bounds, first, size, number, hyper, t, threads)
    else:
        region(R, K, S, layers, bounds, n, first, size, number, hyper, t, threads)


@jit()
def train_serial(R, K, S, layers, bounds, n, batch_size, steps, penalties, penalty, threads):
    """Take `steps` steps over n ordered samples, all `threads` shares on this thread alone.

    A batch of more than CHUNK samples is gone through in chunks whose gradients are added up.
    """
    for s in range(-1, steps):
        for number in range(regions_of(S, step_size(n, batch_size, s))):
            for t in range(threads):
                work(R, K, S, layers, bounds, n, batch_size, s, number, t, threads)
        if S[S_PENALTY] and s >= 0:
            reduce_penalties(penalties, penalty, s)


@jit()
def take_shares(R, K, S, layers, bounds, n, batch_size, sequence, own, threads):
    """Work on share `own` of the announced region, then on those that nobody has claimed."""
    team = S[S_TEAM]
    for k in range(threads):
        t = (own + k) % threads
        if claim(team, sequence, t):
            s, number = field(team, STEP), field(team, NUMBER)
            work(R, K, S, layers, bounds, n, batch_size, s, number, t, threads)
            done(team, sequence, t)


@jit()
def lead(R, K, S, layers, bounds, n, batch_size, steps, penalties, penalty, own, threads):
    """As `train_serial`, every region announced to the team."""
    team, sequence = S[S_TEAM], 0
    for s in range(-1, steps):
        for number in range(regions_of(S, step_size(n, batch_size, s))):
            sequence += 1
            announce(team, sequence, s, number)
            take_shares(R, K, S, layers, bounds, n, batch_size, sequence, own, threads)
            wait(team, sequence, threads)
        if S[S_PENALTY] and s >= 0:
            reduce_penalties(penalties, penalty, s)
    end(team)


@jit()
def follow(R, K, S, layers, bounds, n, batch_size, own, threads):
    """Take part in every region that is announced, to the end."""
    sequence = 0
    while True:
        sequence = announced(S[S_TEAM], sequence)
        if sequence == OVER:
            return
        take_shares(R, K, S, layers, bounds, n, batch_size, sequence, own, threads)


@jit()
def take_part(R, K, S, layers, bounds, n, batch_size, steps, penalties, penalty, own, threads):
    """Lead if nobody does, or follow."""
    if arrive(S[S_TEAM]):
        lead(R, K, S, layers, bounds, n, batch_size, steps, penalties, penalty, own, threads)
    else:
        follow(R, K, S, layers, bounds, n, batch_size, own, threads)


@jit(parallel=True)
def train_parallel(R, K, S, layers, bounds, n, batch_size, steps, penalties, penalty, threads):
    """As `train_serial`, the shares worked on by as many threads as Numba may use."""
    for own in prange(threads):
        take_part(
            R, K, S, layers, bounds, n, batch_size, steps, penalties, penalty, np.int64(own),
            threads,
        )  # fmt: skip
