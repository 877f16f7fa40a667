"""Who runs a driver: this thread alone, or Numba's threads, without an abort, a hang or a crowd.

Numba has three threading layers, and each ends the process somewhere: workqueue where two threads
enter it at once, GNU OpenMP in the child of a fork. Here every such call takes the serial driver
instead, which goes through the same shares one after the other: the same bits.
"""

from __future__ import annotations

import os
import threading
from functools import cache
from typing import Any

import numba

__all__ = [
    "choose_driver",
    "run",
    "start_threads",
    "thread_limit",
]


class _Teams:
    """The threads that run drivers now, by the Python thread that asked for them."""

    def __init__(self, *, usable: bool = True) -> None:
        self.usable = usable  # whether Numba's threads are there, or can be started
        self._lock = threading.Lock()
        self._sizes: dict[int, int] = {}

    def take(self, wanted: int, limit: int, layer: str) -> int:
        """Return how many threads the caller may run, 1 for itself alone."""
        me = threading.get_ident()
        with self._lock:
            # an entry of the caller's own is left from a call that was broken off
            self._sizes.pop(me, None)
            free = limit - sum(self._sizes.values())
            if layer == "workqueue" and self._sizes:
                free = 1
            if min(wanted, free) < 2:
                return 1
            self._sizes[me] = min(wanted, free)
            return self._sizes[me]

    def give_back(self) -> None:
        """Note that the caller's threads are done."""
        self._sizes.pop(threading.get_ident(), None)


_teams = _Teams()


def _threads_started() -> bool:
    """Tell whether anybody in this process has started Numba's threads."""
    try:
        numba.threading_layer()  # type: ignore[attr-defined]
    except ValueError:
        return False
    return True


def _after_fork() -> None:
    """The threads stayed behind: a child does without, unless it is the first to start some."""
    global _teams
    _teams = _Teams(usable=_teams.usable and not _threads_started())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _numba_threads() -> int:
    """Return the most threads that Numba will start."""
    return int(numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]


def thread_limit() -> int:
    """Return how many threads may be used: the process's cores, at most Numba's own limit."""
    if not _teams.usable:
        return 1
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, min(cores, _numba_threads()))


@cache
def start_threads() -> str:
    """Load Numba's threading layer, with short spins where it is GNU OpenMP; return its name.

    Its threads spin for milliseconds at every barrier. Where another process has taken a core
    that costs a scheduler's time slice per region: measured with one busy process beside an
    epoch on two cores, 8.8 s instead of 0.2 s. Short spins cost nothing on an idle machine
    (64 ms an epoch both ways), then the thread sleeps and lets the other one run. GNU OpenMP
    reads the setting once, when it is loaded.
    """
    name = "GOMP_SPINCOUNT"
    ours = name not in os.environ and "OMP_WAIT_POLICY" not in os.environ
    if ours:
        os.environ[name] = "500"
    try:
        numba.get_num_threads()
    finally:
        if ours:
            del os.environ[name]
    return str(numba.threading_layer())  # type: ignore[attr-defined]


def choose_driver(drivers: tuple[Any, Any], threads: int) -> Any:
    """Return the driver that `run` calls unless the threads are taken."""
    return drivers[min(threads, thread_limit()) > 1]


def run(drivers: tuple[Any, Any], threads: int, *arguments: Any) -> None:
    """Call the serial driver, or the parallel one, with the work in `threads` shares.

    All calls of a process together never run more threads than it may use; further shares wait
    their turn. The serial driver is taken without touching the threading layer where one thread
    is all that may be used, where the others are busy, and in the child of a fork whose parent
    had started them. The count that was set before is restored.
    """
    serial, parallel = drivers
    limit = thread_limit()
    if min(threads, limit) == 1:
        serial(*arguments, threads)
        return
    layer = start_threads()
    try:
        running = _teams.take(threads, limit, layer)
        if running == 1:
            serial(*arguments, threads)
            return
        before = numba.get_num_threads()
        numba.set_num_threads(running)
        try:
            parallel(*arguments, threads)
        finally:
            numba.set_num_threads(before)
    finally:
        _teams.give_back()
