"""Numba's threads, without an abort, a hang or a crowd.

Numba has three threading layers, and each ends the process somewhere: workqueue where two threads
enter it at once, GNU OpenMP in the child of a fork. Every such call is refused here, and its caller
goes through the same shares one after the other: the same bits. Numba is imported where threads
are started, no sooner: it takes a quarter of a second.

A launch is dear on workqueue, which is all there is on a Mac without libomp: 93 us. Training has
one for a piece of an epoch, not for a step: steps of 86, 135 and 248 us took 1.30, 1.11 and 1.04
times as long as on omp, longer ones no longer (medians of three processes of 15 epochs each, in
turns, on 2 idle cores).
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Callable
from functools import cache
from typing import Any

import llvmlite.binding as llvm

from ...support.interrupts import CtrlC
from ...support.threads import startable

__all__ = ["core_count", "run_on_threads", "start_threads", "thread_limit"]


_usable = True  # whether Numba's threads are there, or can be started
_lock = threading.Lock()
_running: dict[int, int] = {}  # how many threads there are by the Python thread that asked for them
_started = threading.local()  # GNU OpenMP has a pool for every thread that asks for one


def _threads_started() -> bool:
    """Tell whether anybody in this process has started Numba's threads."""
    numba = sys.modules.get("numba")
    if numba is None:
        return False
    try:
        numba.threading_layer()
    except ValueError:
        return False
    return True


def _after_fork() -> None:
    """The threads stayed behind: a child does without, unless it is the first to start some."""
    global _lock, _usable
    _lock, _usable = threading.Lock(), _usable and not _threads_started()
    _running.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _numba_threads() -> int:
    """Return the most threads that Numba will start, as it reads it itself."""
    numba = sys.modules.get("numba")
    if hasattr(numba, "config"):
        return int(numba.config.NUMBA_NUM_THREADS)  # type: ignore[union-attr]
    told = os.environ.get("NUMBA_NUM_THREADS", "")
    return int(told) if told.isdecimal() else sys.maxsize


@cache
def _performance_cores() -> int | None:
    """Return how many of a Mac's cores are fast; None where there is one kind of them.

    A phase ends with its slowest thread: on an efficiency core, which takes twice as long or more,
    a thread costs more than it brings.
    """
    count, size = ctypes.c_int(0), ctypes.c_size_t(ctypes.sizeof(ctypes.c_int))
    where = b"hw.perflevel0.logicalcpu", ctypes.byref(count), ctypes.byref(size), None, 0
    try:
        failed = ctypes.CDLL(None).sysctlbyname(*where)
    except (AttributeError, OSError, TypeError):  # not there; Windows has no library of that kind
        return None
    return None if failed or count.value < 1 else count.value


def thread_limit() -> int:
    """Return how many threads may be used: the process's cores, at most Numba's own limit.

    Of a Mac's, the performance cores.
    """
    if not _usable:
        return 1
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = _performance_cores() or os.cpu_count() or 1
    return max(1, min(cores, _numba_threads()))


def core_count() -> int:
    """Return how many cores the process has, hardware threads of one counted once; where the
    system does not say, as many as it has processors.
    """
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    processors = os.sched_getaffinity(0)
    return len({_siblings(number) for number in processors})


@cache
def _siblings(processor: int) -> str:
    """Return the hardware threads of a processor's core, as the system writes them."""
    place = f"/sys/devices/system/cpu/cpu{processor}/topology/thread_siblings_list"
    try:
        with open(place, encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return str(processor)


def _can_start(count: int) -> bool:
    """Tell whether the calling thread may have so many threads for itself.

    GNU OpenMP ends the process where it cannot start one, as limits on a container's or a user's
    processes have it. So the first time others are started in their place, and ended.
    """
    if count > getattr(_started, "count", 1):
        if startable(count - 1) < count - 1:
            return False
        _started.count = count
    return True


@cache
def start_threads() -> str:
    """Load Numba's threading layer, with short spins where it is GNU OpenMP; return its name.

    Its threads spin for milliseconds at every barrier. Where another process has taken a core
    that costs a scheduler's time slice per region: measured with one busy process beside an
    epoch on two cores, 8.8 s instead of 0.2 s. 2,000 looks, some 40 us, cost nothing on an idle
    machine, and beside one or two busy processes no more than 500 do. Then the thread sleeps and
    lets the other one run. With 500 it slept between single calls already, and was woken for
    each: 64x784x128 took 120 us instead of 84, 256x512x512 with 50 us of Python between calls
    1,250 us on one thread instead of 670. (AMD EPYC, Zen 4, 2 cores.) GNU OpenMP
    reads the setting once, when it is loaded. Where the layer cannot be loaded, as without
    ``/dev/shm``, or no thread started, the process goes on with one: its name is "none".
    """
    global _usable
    try:
        if not _can_start(thread_limit()):
            raise OSError("no thread can be started")
        return _loaded_layer()
    except (ImportError, OSError, ValueError):
        _usable = False
        return "none"


def _loaded_layer() -> str:
    with CtrlC():  # Numba whose import was broken off cannot be imported again
        import numba

    name = "GOMP_SPINCOUNT"
    ours = name not in os.environ and "OMP_WAIT_POLICY" not in os.environ
    if ours:
        os.environ[name] = "2000"
    try:
        numba.get_num_threads()
    finally:
        if ours:
            del os.environ[name]
    return str(numba.threading_layer())  # type: ignore[attr-defined]


@cache
def _parallel_for() -> Any:
    """Return Numba's function that calls another one for each of several numbers, on threads."""
    start_threads()
    numbers = (ctypes.c_ssize_t,) * 3
    kind = ctypes.CFUNCTYPE(None, *(ctypes.c_void_p,) * 5, *numbers)
    return kind(llvm.address_of_symbol("numba_parallel_for"))


def _take(wanted: int, limit: int) -> int:
    """Note that the caller runs so many threads, or as many as are free; return their number."""
    me, alone = threading.get_ident(), start_threads() == "workqueue"
    with _lock:
        _running.pop(me, None)  # the caller's own is left from a call that was broken off
        free = 1 if alone and _running else limit - sum(_running.values())
        count = min(wanted, free)
        if count > 1:
            _running[me] = count
        return count


def run_on_threads(
    function: int, data: int, count: int, threads: int, begin: Callable[[], None]
) -> bool:
    """Call a compiled function for the numbers below `count` on `threads` threads or fewer, after
    ``begin()``; return False, and call nothing, where there is none but the caller's own.

    The function takes four addresses: of its first number, of how many numbers, of the distance
    between them, and `data`. All calls of a process together never run more threads than it may
    use; further numbers wait their turn. The threading layer is not touched where one thread is all
    that may be used, and in the child of a fork whose parent had started it.
    """
    limit = thread_limit()
    wanted = min(threads, limit)
    if wanted < 2 or not _can_start(wanted) or start_threads() == "none":
        return False
    try:
        running = _take(wanted, limit)
        if running < 2:
            return False
        begin()
        import numba

        before = numba.get_num_threads()
        try:
            # the layer moves an address on from number to number: from 0, it is the number
            first, counts, distances = (ctypes.byref(ctypes.c_ssize_t(n)) for n in (0, count, 1))
            _parallel_for()(function, first, counts, distances, data, 0, 1, running)
        finally:
            numba.set_num_threads(before)
        return True
    finally:
        _running.pop(threading.get_ident(), None)
