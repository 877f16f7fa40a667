"""Threads, forks, signals: no abort, hang, leak or wrong result, on every threading layer.

Each scenario is a function that runs in a process of its own: this file with its name.
"""

from __future__ import annotations

import gc
import hashlib
import importlib
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache

import numpy as np
import pytest

SECONDS = 600  # a scenario that is not over by then hangs
THREADS = 4
MOMENTS = 50  # of Ctrl-C
FITS = 1000  # in a row
FEW_FITS = 126


def layers() -> list[str]:
    """Return the threading layers that can be loaded here.

    TBB's library comes with ``pip install tbb``; ``LD_LIBRARY_PATH`` has to name its folder, the
    environment's ``lib``.
    """
    found = []
    for name, module in (("omp", "omppool"), ("tbb", "tbbpool"), ("workqueue", "workqueue")):
        try:
            importlib.import_module(f"numba.np.ufunc.{module}")
            found.append(name)
        except ImportError:
            pass
    return found


@cache
def data() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 10, 600)
    zeros = rng.integers(0, 256, (600, 400)) * (rng.random((600, 400)) < 0.2)
    return {"dense": (rng.normal(size=(600, 50)).astype("float32"), y),
            "zeros": (zeros.astype("uint8"), y)}  # fmt: skip


def trained(seed: int, threads: int | None = THREADS, epochs: int = 2) -> str:
    """Return a digest of what training, predictions and gradients give."""
    from fastmlp import MLP, Adam

    digest = hashlib.sha256()
    for X, y in data().values():
        for batch_size in (64, None):
            net = MLP((X.shape[1], 48, 10), rng=seed, threads=threads)
            net.fit(X, y, epochs=epochs,
                    batch_size=batch_size, optimizer=Adam(0.005))  # fmt: skip
            loss, gradients = net.loss_and_gradients(X, y)
            arrays = (*net.weights, *gradients.weights, net.predict_proba(X), np.array(loss))
            for array in arrays:
                digest.update(array.tobytes())
    return digest.hexdigest()


def crowded(seed: int) -> str:
    """Train as if the process had `THREADS` cores, whatever it has."""
    os.sched_getaffinity = lambda _: range(THREADS)
    return trained(seed)


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
    from test_processes import trained  # by a name that workers can import

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


def ctrl_c_a_few_times() -> None:
    ctrl_c(5)


def ctrl_c_at_fifty_moments() -> None:
    ctrl_c(MOMENTS)


def ctrl_c(moments: int) -> None:
    """Whenever it comes: the network has done whole steps, as many as it says."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
    from fastmlp import MLP, Adam
    from fastmlp.callbacks import Callback
    from fastmlp.training import trainer

    class StopAt(Callback):
        def __init__(self, step):
            self.step = step

        def on_batch_group_end(self, step, logs):
            self.net.stop_training = self.net._state.step >= self.step

    def network(threads=2):
        return MLP((50, 40, 10), rng=1, threads=threads)

    def bits(net):
        return [a.tobytes() for a in (*net.weights, *net.biases)]

    def press(net, steps, delay, over):
        """Press Ctrl-C, a while after so many steps have been done."""
        while net._state.step < steps:
            if over.wait(1e-4):
                return
        time.sleep(delay)
        os.kill(os.getpid(), signal.SIGINT)

    X, y = data()["dense"]
    options = {"batch_size": 32, "optimizer": Adam(0.001), "validation_data": (X, y)}
    network().fit(X, y, epochs=2, **options)  # compiled
    chance = random.Random(0)
    warnings.simplefilter("ignore", RuntimeWarning)
    for moment in range(moments):
        net, over = network(), threading.Event()
        # every fifth comes while the fit begins, the others when training is under way
        steps = 0 if moment % 5 == 0 else chance.randint(1, 400)
        other = threading.Thread(target=press, args=(net, steps, chance.uniform(0, 0.002), over))
        try:
            other.start()
            history = net.fit(X, y, epochs=10**6, **options)
            assert history.interrupted
            assert len(history) == len(history.seconds) == len(history.val_loss)
        except KeyboardInterrupt:
            assert net._state.step == 0
        finally:
            over.set()
            other.join()
        assert net._state.step >= steps
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        before = trainer._PIECE_SECONDS
        trainer._PIECE_SECONDS = 1e-9  # steps one by one
        twin = network(threads=1)  # has the same bits
        if net._state.step:
            twin.fit(X, y, epochs=10**6, callbacks=[StopAt(net._state.step)], **options)
        trainer._PIECE_SECONDS = before
        assert bits(twin) == bits(net), net._state.step
    again = network()
    again.fit(X, y, epochs=1, **options)


QUICK = (
    eight_threads, fork_after_training, fork_before_threads, fork_during_training, pool_of_spawned,
)  # fmt: skip
EVERY_LAYER = eight_threads, one_network_in_eight_threads, one_core
FORKS = (
    fork_after_training, fork_before_threads, fork_before_training, fork_during_training,
    pool_of_forks,
)  # fmt: skip
POOLS = pool_of_spawned, joblib_loky, joblib_multiprocessing, joblib_threading
LAYERS = [  # their first is quick
    pytest.param(layer, marks=pytest.mark.slow if i else ()) for i, layer in enumerate(layers())
]


def some_slow(scenarios) -> list:
    """Return scenarios as parameters, those marked that are not among the quick ones."""
    return [pytest.param(s, marks=() if s in QUICK else pytest.mark.slow) for s in scenarios]


def run(scenario, layer: str) -> None:
    environment = {
        **os.environ, "NUMBA_THREADING_LAYER": layer, "NUMBA_NUM_THREADS": str(THREADS),
        "MALLOC_ARENA_MAX": "1",
    }  # fmt: skip
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, __file__, scenario.__name__, layer], env=environment,
        capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    took = time.perf_counter() - begun
    assert done.returncode == 0, f"{done.returncode} after {took:.0f} s: {done.stderr[-2000:]}"
    assert done.stdout.split()[-1] == layer  # Numba has its say about forks under TBB


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


@pytest.mark.skipif(os.name == "nt", reason="no signals between threads on this system")
@pytest.mark.parametrize("layer", LAYERS)
def test_ctrl_c(layer):
    run(ctrl_c_a_few_times, layer)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="no signals between threads on this system")
@pytest.mark.parametrize("layer", LAYERS)
def test_ctrl_c_at_fifty_moments(layer, count):
    run(ctrl_c_at_fifty_moments, layer)
    count("moments of Ctrl-C", MOMENTS)


def main(name: str, layer: str) -> None:
    import numba

    globals()[name]()
    if not name.startswith("ctrl_c"):
        os.sched_getaffinity = lambda _: range(THREADS)
    trained(0, threads=2)
    assert numba.threading_layer() == layer
    print(layer)


if __name__ == "__main__":
    main(*sys.argv[1:])
