"""Threads and forks: no abort, hang, leak or wrong result, on every threading layer.

Each scenario is a function that runs in a process of its own: this file with its name.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from processes import LAYERS, THREADS, crowded, data, run, scenario, trained

FITS = 1000  # in a row
FEW_FITS = 126


def in_child(work, meanwhile=lambda: None) -> int:
    """Return the exit code of a forked child that does `work`; a hang is ended and is one.

    `meanwhile` is done here at that time.
    """
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.alarm(120)
            work()
            code = 0
        finally:
            os._exit(code)
    meanwhile()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def child_is_right(expected: str):
    def work() -> None:
        assert crowded(1) == expected
        assert in_child(lambda: None if crowded(1) == expected else os._exit(3)) == 0

    return work


# the scenarios


def eight_threads() -> None:
    expected = [trained(seed, threads=1) for seed in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(2):
            assert list(pool.map(crowded, range(8))) == expected


def one_network_in_eight_threads() -> None:
    from fastmlp import MLP

    crowded(0)
    X, _ = data()["dense"]
    net = MLP((50, 40, 10), rng=0, threads=THREADS)
    expected = net.predict_proba(X).tobytes()
    with ThreadPoolExecutor(8) as pool:
        for rows in (X, X[:600]):
            found = pool.map(lambda _, rows=rows: net.predict_proba(rows).tobytes(), range(200))
            assert set(found) == {expected}


def fork_after_training() -> None:
    expected = trained(1, threads=1)
    assert crowded(1) == expected
    for _ in range(2):
        assert in_child(child_is_right(expected)) == 0
        assert crowded(1) == expected


def fork_before_training() -> None:
    import fastmlp  # noqa: F401

    seen = []

    def work() -> None:
        assert crowded(1) == trained(1, threads=1)
        from fastmlp.kernels.jit import threading_layer as threads

        assert threads.thread_limit() == THREADS  # the child may have threads of its own

    assert in_child(work, lambda: seen.append(crowded(1))) == 0
    assert seen == [trained(1, threads=1)]
    assert in_child(child_is_right(seen[0])) == 0


def fork_before_threads() -> None:
    """Kernels are there, and no thread has begun; both begin theirs at once."""
    expected, seen = trained(1, threads=1), []
    for _ in range(2):
        work = child_is_right(expected)
        assert in_child(work, lambda: seen.append(crowded(1))) == 0
    assert in_child(child_is_right(expected)) == 0
    assert [*seen, crowded(1)] == [expected] * 3


def fork_during_training() -> None:
    expected = trained(1, threads=1)
    crowded(1)
    over = threading.Event()

    def busy() -> None:
        while not over.is_set():
            crowded(2)

    others = [threading.Thread(target=busy) for _ in range(2)]
    for other in others:
        other.start()
    codes = [in_child(child_is_right(expected)) for _ in range(3)]
    over.set()
    for other in others:
        other.join()
    assert codes == [0] * 3


def pool_of_forks() -> None:
    expected = [trained(seed, threads=1) for seed in range(4)]
    crowded(0)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map_async(crowded, range(4)).get(60) == expected


def pool_of_spawned() -> None:
    expected = [trained(seed, threads=1) for seed in range(2)]
    crowded(0)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.map_async(crowded, range(2)).get(60) == expected


def one_core() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    results = {trained(1, threads) for threads in (1, 2, 3, 8, None)}
    from fastmlp.kernels.jit import threading_layer as threads

    assert threads.thread_limit() == 1 or not hasattr(os, "sched_setaffinity")
    os.sched_getaffinity = lambda _: range(THREADS)
    results |= {trained(1, threads) for threads in (1, 2, 3, 8, None)}
    assert len(results) == 1


def joblib_loky() -> None:
    joblib("loky")


def joblib_multiprocessing() -> None:
    joblib("multiprocessing")


def joblib_threading() -> None:
    joblib("threading")


def joblib(backend: str) -> None:
    from joblib import Parallel, delayed
    from processes import trained  # by a name that workers can import

    expected = [trained(seed, threads=1) for seed in range(4)]
    crowded(0)
    for _ in range(2):
        found = Parallel(n_jobs=2, backend=backend)(delayed(trained)(s) for s in range(4))
        assert found == expected


def resources() -> tuple[int, int, int]:
    """Return this process's resident bytes, open files and threads."""
    import ctypes
    import resource

    gc.collect()
    with suppress(AttributeError):  # what the C library keeps for later is no leak
        ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[1])
    files, tasks = len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))
    return pages * resource.getpagesize(), files, tasks


def few_fits() -> None:
    fits_in_a_row(60, FEW_FITS)


def many_fits() -> None:
    fits_in_a_row(240, FITS)


def fits_in_a_row(before: int, fits: int) -> None:
    """Measure what grows, after so many fits; both end with teams of three threads."""
    from fastmlp import MLP

    X, y = data()["dense"]
    zeros, _ = data()["zeros"]

    def some(count: int) -> None:
        for i in range(count):
            rows, width = (zeros, 24) if i % 10 == 0 else (X, 12)
            net = MLP((rows.shape[1], width, 10), rng=i, threads=1 + i % 3)
            net.fit(rows[:64], y[:64], epochs=1, batch_size=16)
            net.predict(rows[:64])
            if i % 50 == 0:
                new = threading.Thread(target=net.fit, args=(rows, y), kwargs={"epochs": 1})
                new.start()
                new.join()

    os.sched_getaffinity = lambda _: range(THREADS)
    some(before)
    memory, files, tasks = resources()
    grown = []
    for _ in range(3):  # what grows once is no leak
        some(fits // 3)
        last, memory = memory, resources()[0]
        grown.append(memory - last)
    assert min(grown) < 1 << 17, f"{grown} bytes"
    until = time.monotonic() + 60  # the team of a thread that is over ends a little later
    while resources()[2] > tasks and time.monotonic() < until:
        time.sleep(0.01)
    now = resources()
    assert now[1] <= files, f"{now[1]} open files, {files} before"
    assert now[2] <= tasks, f"{now[2]} threads, {tasks} before"


QUICK = (
    eight_threads, fork_after_training, fork_before_threads, fork_during_training, pool_of_spawned,
)  # fmt: skip
EVERY_LAYER = eight_threads, one_network_in_eight_threads, one_core
FORKS = (
    fork_after_training, fork_before_threads, fork_before_training, fork_during_training,
    pool_of_forks,
)  # fmt: skip
POOLS = pool_of_spawned, joblib_loky, joblib_multiprocessing, joblib_threading


def some_slow(scenarios) -> list:
    """Return scenarios as parameters, those marked that are not among the quick ones."""
    return [pytest.param(s, marks=() if s in QUICK else pytest.mark.slow) for s in scenarios]


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("scenario", some_slow(EVERY_LAYER))
def test_threads(scenario, layer):
    run(scenario, layer)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("scenario", some_slow(FORKS))
def test_forks(scenario, layer):
    run(scenario, layer)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("scenario", some_slow(POOLS))
def test_pools(scenario, layer):
    if scenario is not pool_of_spawned:
        pytest.importorskip("joblib")
    run(scenario, layer)


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="no /proc on this system")
@pytest.mark.parametrize("layer", LAYERS)
def test_fits_leave_nothing_behind(layer):
    run(few_fits, layer)


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="no /proc on this system")
@pytest.mark.parametrize("layer", LAYERS)
def test_a_thousand_fits_leave_nothing_behind(layer, count):
    run(many_fits, layer)
    count("fits in rows of 1,000", FITS)


if __name__ == "__main__":
    scenario(globals())
