"""What work costs, and so how many threads are worth their launch."""

from __future__ import annotations

from ..architecture import Architecture
from .threads import LEAST_LAUNCH_SECONDS, launch_seconds, thread_limit

__all__ = ["choose_threads", "flops", "is_close"]

# What one core does at least (AVX-512, float32: measured 120 GFLOP/s); slower ones gain more.
_FLOPS_PER_SECOND = 1e11
# What a region takes beside its share of the work, measured within steps: the handing over,
# waiting, and data that are in the other core's cache. So where the cores share a cache; where a
# virtual machine has them apart, for seconds at a time, it is ten times as much.
_HANDOVER_SECONDS = 2e-6
_CLOSE = 10.0  # times the handing over: where a team saves more, a fit begins with one


def flops(architecture: Architecture, rows: int) -> int:
    """Return the floating-point operations of a step over `rows` samples, zeros included."""
    return 6 * rows * sum(n_in * n_out for n_in, n_out in architecture.layers)


def _saved(flops: int, threads: int) -> float:
    return flops / _FLOPS_PER_SECOND * (1 - 1 / threads)


def is_close(flops: int, *, regions: int) -> bool:
    """Tell whether a step is so short that a team may lose where handing over takes longer."""
    return _saved(flops, thread_limit()) < _CLOSE * regions * _HANDOVER_SECONDS


def choose_threads(threads: int | None, flops: int, *, steps: int = 1, regions: int = 0) -> int:
    """Return how many threads work is shared out to that is launched once.

    As many as there are, or one alone: where those could save less time than it costs to hand
    the regions of each step over and to launch them. The threading layer, which says what a
    launch costs, is not loaded for less than would be worth the cheapest one.

    Parameters
    ----------
    threads : int or None
        What the user has chosen.
    flops : int
        Of one step.
    steps : int
        How many follow each other.
    regions : int
        Of a step, at whose ends the threads wait for each other.
    """
    if threads is not None:
        return threads
    limit = thread_limit()
    saved = _saved(flops, limit) - regions * _HANDOVER_SECONDS
    if steps * saved <= LEAST_LAUNCH_SECONDS or steps * saved <= launch_seconds():
        return 1
    return limit
