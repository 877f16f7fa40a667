"""Steps of gradient descent, mini-batch or full batch: on one thread, or on a team of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from ._jit import jit
from .drivers import region, regions
from .finish import reduce_penalties
from .full_batch import full_region, full_regions
from .optimizers import HYPER_ROW
from .regions import call_region
from .tables import S_HYPER, S_ITEM, S_PENALTY, S_REGIONS, S_TEAM
from .team import LINE, NUMBER, OVER, SEQUENCE, SHARES, STEP, exchange, load, look_again, store

__all__ = ["step_regions", "train_parallel", "train_serial"]


@jit()
def step_size(n, batch_size, s):
    """Return the samples of step s; the step before the first has none and makes transposes."""
    return min(batch_size, n - s * batch_size) if s >= 0 else 0


@jit()
def batch_share(R, K, S, layers, bounds, n, batch_size, s, number, t, threads):
    """Thread t's share of one region of step s, a mini-batch; the first notes how many regions
    the step has.
    """
    hyper = S[S_HYPER] + s * 2 * HYPER_ROW * S[S_ITEM]
    size = step_size(n, batch_size, s)
    if number == 0 and t == 0:
        S[S_REGIONS] = regions(S, size)
    region(R, K, S, layers, bounds, n, s * batch_size, size, number, hyper, t, threads)


@jit()
def full_share(R, K, S, layers, bounds, n, batch_size, s, number, t, threads):
    """As `batch_share`, of a full batch."""
    hyper = S[S_HYPER] + s * 2 * HYPER_ROW * S[S_ITEM]
    size = step_size(n, batch_size, s)
    if number == 0 and t == 0:
        S[S_REGIONS] = full_regions(S, size)
    full_region(R, K, S, layers, bounds, s * batch_size, size, number, hyper, t, threads)


@jit()
def train_serial(R, K, S, layers, bounds, n, batch_size, steps, penalties, penalty, threads):
    """Take `steps` steps over n ordered samples, all `threads` shares on this thread alone.

    A batch of more than CHUNK samples is gone through in chunks whose gradients are added up.
    """
    s, number = -1, 0
    while s < steps:
        for t in range(threads):
            call_region(
                R[R.size - 2], (R, K, S, layers, bounds, n, batch_size, s, number, t, threads)
            )
        number += 1
        if number == S[S_REGIONS]:
            if S[S_PENALTY] and s >= 0:
                reduce_penalties(penalties, penalty, s)
            s, number = s + 1, 0


@jit()
def take_part(R, K, S, layers, bounds, n, batch_size, steps, penalties, penalty, own, threads):
    """As `train_serial`, one thread's part in a team.

    The first to come leads: it announces each region and waits until every share is done. The
    others follow: they wait for what is announced. A share is claimed before it is worked on,
    first one's own, then any that nobody has claimed, so a thread that is late, or that the
    system has put aside, holds nobody up, and a leader who is alone does everything. Who holds a
    share knows that its region is not over.
    """
    team = S[S_TEAM]
    leads = exchange(team, 0, 1)
    sequence, s, number = 0, -1, 0
    while True:
        spins, last = 0, sequence
        if leads:
            sequence = last + 1 if s < steps else OVER
            store(team + STEP, s)
            store(team + NUMBER, number)
            store(team + SEQUENCE, sequence)
        while sequence == last:
            spins, sequence = look_again(spins), load(team + SEQUENCE)
        if sequence == OVER:
            return
        for k in range(threads):
            t = (own + k) % threads
            share = team + SHARES + t * LINE
            if exchange(share, sequence - 1, sequence):
                place, which = load(team + STEP), load(team + NUMBER)
                call_region(
                    R[R.size - 2],
                    (R, K, S, layers, bounds, n, batch_size, place, which, t, threads),
                )
                store(share + 8, sequence)
        if not leads:
            continue
        for t in range(threads):
            while load(team + SHARES + t * LINE + 8) != sequence:
                spins = look_again(spins)
        number += 1
        if number == S[S_REGIONS]:
            if S[S_PENALTY] and s >= 0:
                reduce_penalties(penalties, penalty, s)
            s, number = s + 1, 0


def step_regions(full: bool, parallel: bool) -> tuple[Any, Any | None]:
    """Return what the drivers here call by address, the last of a job's regions."""
    return full_share if full else batch_share, take_part if parallel else None


@jit(parallel=True)
def train_parallel(R, K, S, layers, bounds, n, batch_size, steps, penalties, penalty, threads):
    """As `train_serial`, the shares worked on by as many threads as Numba may use."""
    for own in prange(threads):
        call_region(
            R[R.size - 1],
            (R, K, S, layers, bounds, n, batch_size, steps, penalties, penalty, np.int64(own),
             threads),
        )  # fmt: skip
