"""The same bits: for any number of threads, run after run, resumed, and however epochs are cut."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import numba
import numpy as np
import pytest
from fits import OPTIMIZERS

from fastmlp import MLP, SGD, Adam, AdamW
from fastmlp.callbacks import Callback
from fastmlp.datasets import load_mnist
from fastmlp.kernels.jit import threading_layer as kernel_threads
from fastmlp.kernels.run.source import Source
from fastmlp.kernels.run.training import Training
from fastmlp.schedules import AnnealOnRise, OneCycle
from fastmlp.training import trainer
from fastmlp.verification import TOLERANCE

DTYPES = ("float32", "float64")
MOSTLY_SINGLE = ["float32", pytest.param("float64", marks=pytest.mark.slow)]
FULL = bool(os.environ.get("FASTMLP_FULL_TESTS"))


@pytest.fixture(scope="module")
def mnist():
    data = load_mnist("uint8")
    return data.x_train[:1300].copy(), data.y_train[:1300].astype(np.int64)


@pytest.fixture(scope="module")
def dense():
    rng = np.random.default_rng(0)
    return rng.normal(size=(1300, 50)).astype("float32"), rng.integers(0, 10, 1300)


@pytest.fixture
def drivers(monkeypatch):
    """Return a set that fills with (mode, sparse, in chunks, converted) of every training."""
    seen, begin = set(), Training.__init__

    def spy(self, *arguments, **options):
        begin(self, *arguments, **options)
        sparse, chunks = self._index is not None, self.batch_size > self.chunk
        seen.add((self._mode, sparse, chunks, not self._source.direct))

    monkeypatch.setattr(Training, "__init__", spy)
    return seen


def outcome(net: MLP, history) -> list[np.ndarray]:
    """Return the bits of everything that training leaves."""
    arrays = [*net.weights, *net.biases, *(a for slot in net._state.slots for a in slot)]
    seen = np.array([history.loss, history.learning_rate])
    return [*(a.copy() for a in arrays), seen, np.array(history.val_loss)]


def run(data, layers, *, threads=1, fits=1, dtype="float32", scale=None, net_options=(), **options):
    X, y = data
    net = MLP(
        (X.shape[1], *layers, 10), rng=1, dtype=dtype, threads=threads, input_scale=scale,
        **dict(net_options),
    )  # fmt: skip
    for _ in range(fits):
        history = net.fit(X, y, **options)
    return outcome(net, history)


def assert_same(ours, theirs) -> None:
    for a, b in zip(ours, theirs, strict=True):
        assert a.tobytes() == b.tobytes()


def assert_threads_change_nothing(*arguments, **options) -> None:
    first = run(*arguments, threads=1, **options)
    assert np.isfinite(first[0]).all()
    for threads in (1, 2, 4):
        assert_same(run(*arguments, threads=threads, **options), first)


@pytest.mark.parametrize("dtype", MOSTLY_SINGLE)
@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("batch_size", [1, 32, None])
def test_dense_data(dense, drivers, batch_size, optimizer, dtype):
    X, y = dense
    data = (X, y) if batch_size is None else (X[:150], y[:150])
    options = {"batch_size": batch_size, "optimizer": optimizer, "dtype": dtype}
    assert_threads_change_nothing(data, (20, 12), epochs=2, l2=0.01, **options)
    assert_threads_change_nothing(data, (20, 12), epochs=2, **options)
    single = batch_size == 1 and optimizer == OPTIMIZERS["sgd"]
    modes = {"full"} if batch_size is None else {"batch", "single"} if single else {"batch"}
    assert {mode for mode, *_ in drivers} == modes


@pytest.mark.parametrize("dtype", MOSTLY_SINGLE)
@pytest.mark.parametrize("name", ["sgd", "nesterov", "adam"])
@pytest.mark.parametrize("batch_size", [1, 32, 600, None])
def test_data_with_many_zeros(mnist, drivers, batch_size, name, dtype):
    X, y = mnist
    data = (X[:150], y[:150]) if batch_size in (1, 32) else (X, y)
    options = {"batch_size": batch_size, "optimizer": OPTIMIZERS[name], "dtype": dtype}
    weight = np.random.default_rng(0).random(len(data[1]))
    for more in ({}, {"l2": 0.01, "sample_weight": weight}):
        assert_threads_change_nothing(data, (16,), epochs=2, scale=255.0, **options, **more)
    assert all(sparse for _, sparse, *_ in drivers)
    assert {mode for mode, *_ in drivers} <= {"single", "batch"} or batch_size in (600, None)


@pytest.mark.parametrize("dtype", MOSTLY_SINGLE)
@pytest.mark.parametrize("kind", ["dense", "mnist"])
def test_batches_in_chunks(request, drivers, kind, dtype):
    """The gradient of a wide network does not fit 32 times: batches go in chunks of 512."""
    data = request.getfixturevalue(kind)
    width = 700 if kind == "mnist" else 8000
    for name in ("sgd", "adam"):
        assert_threads_change_nothing(
            data, (width,), epochs=1, batch_size=1200, optimizer=OPTIMIZERS[name], dtype=dtype,
            l2=0.01,
        )  # fmt: skip
    assert drivers == {("batch", kind == "mnist", True, False)}


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_that_are_converted(dense, drivers, dtype):
    X, y = dense
    data = np.asfortranarray(X[:300]), y[:300]
    for batch_size in (1, 32, None):
        assert_threads_change_nothing(
            data, (20,), epochs=2, batch_size=batch_size, optimizer=OPTIMIZERS["adam"],
            dtype=dtype, l2=0.01,
        )  # fmt: skip
    wide = np.random.default_rng(0).integers(0, 9, (120, 30000)).astype("int16"), y[:120]
    for batch_size in (7, None):
        assert_threads_change_nothing(
            wide, (4,), epochs=1, batch_size=batch_size, optimizer=OPTIMIZERS["momentum"],
            dtype=dtype, l2=0.01, scale=9.0,
        )  # fmt: skip
    assert drivers == {("batch", False, False, True), ("batch", False, True, True)}


def test_predictions_and_gradients(mnist, dense):
    for (X, y), scale in ((mnist, 255.0), (dense, None)):
        answers = []
        for threads in (1, 2, 4, 1):
            net = MLP((X.shape[1], 30, 10), rng=1, threads=threads, input_scale=scale)
            loss, g = net.loss_and_gradients(X, y, l2=0.1)
            scores = net.evaluate(X, y)
            numbers = np.array([loss, *scores.values()])
            answers.append([numbers, *net.forward(X), net.predict(X), *g.weights, *g.biases])
        for other in answers[1:]:
            assert_same(other, answers[0])


# real threads, more of them than cores, and every threading layer

REAL_THREADS = """
import hashlib, sys
import numba, numpy as np
from fastmlp import MLP, SGD, AdaGrad, Adam, AdamW, RMSProp
from fastmlp.kernels.jit import threading_layer as threads

threads.thread_limit = lambda: 8  # else no more than there are cores
numba.get_num_threads()  # loads the layer, or says that there is none
running, layers = set(), threads._parallel_for()
threads._parallel_for = lambda: lambda *of: running.add(of[-1]) or layers(*of)
rng = np.random.default_rng(0)
dense, y = rng.normal(size=(700, 50)).astype("float32"), rng.integers(0, 10, 700)
zeros = rng.integers(0, 256, (700, 120)).astype("uint8") * (rng.random((700, 120)) < 0.2)
optimizers = (SGD(0.1), SGD(0.05, momentum=0.9), SGD(0.05, momentum=0.9, nesterov=True),
              AdaGrad(0.02), RMSProp(0.003), Adam(0.005), AdamW(0.005, weight_decay=0.1))
everything = hashlib.sha256()
for X, scale in ((dense, None), (zeros.astype("uint8"), 255.0)):
    for dtype in ("float32", "float64"):
        for optimizer in optimizers:
            for batch_size, n in ((1, 60), (32, 300), (None, 700)):
                seen = set()
                for shares in (1, 2, 3, 8):
                    net = MLP((X.shape[1], 40, 24, 10), rng=1, dtype=dtype, threads=shares,
                              input_scale=scale)
                    net.fit(X[:n], y[:n], epochs=1, batch_size=batch_size, optimizer=optimizer)
                    loss, gradients = net.loss_and_gradients(X, y)
                    arrays = [*net.weights, *net.biases, *gradients.weights, *net.forward(X),
                              net.predict_proba(X), np.array([loss, *net.evaluate(X, y).values()])]
                    seen.add(hashlib.sha256(b"".join(a.tobytes() for a in arrays)).hexdigest())
                assert len(seen) == 1, (scale, dtype, optimizer, batch_size)
                everything.update(seen.pop().encode())
assert {2, 3, 8} <= running, running
print(numba.threading_layer(), everything.hexdigest())
"""


@pytest.mark.slow
def test_eight_threads_on_any_layer():
    """The same program on each layer that can be loaded: one outcome."""
    shown = {}
    for layer in ("omp", "workqueue", "tbb"):
        environment = {
            **os.environ, "NUMBA_NUM_THREADS": "8", "NUMBA_THREADING_LAYER": layer,
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", REAL_THREADS], env=environment, capture_output=True, text=True,
            timeout=300, check=False,
        )  # fmt: skip
        if layer != "workqueue" and "No threading layer could be loaded" in done.stderr:
            continue
        assert done.returncode == 0, done.stderr[-2000:]
        name, shown[layer] = done.stdout.split()
        assert name == layer
    assert len(set(shown.values())) == 1


def test_never_more_threads_than_the_process_may_use(monkeypatch):
    address = ctypes.POINTER(ctypes.c_int64)

    @ctypes.CFUNCTYPE(None, address, address, address, ctypes.c_int64)
    def part(first, counts, distances, data):
        numbers.extend(first[0] + k * distances[0] for k in range(counts[0]))
        ran.add((data, numba.get_num_threads()))

    at = ctypes.cast(part, ctypes.c_void_p).value
    before = numba.get_num_threads()
    usable = min(2, numba.config.NUMBA_NUM_THREADS)
    for allowed in (1, 2):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, n=allowed: range(n), raising=False)
        for count in (1, 2, 8):
            ran: set[tuple[int, int]] = set()
            numbers: list[int] = []
            begun: list[int] = []
            done = kernel_threads.run_on_threads(at, 7, count, count, lambda: begun.append(1))  # noqa: B023
            assert done == (min(allowed, usable, count) > 1)
            assert (sorted(numbers), ran) == (
                (list(range(count)), {(7, 2)}) if done else ([], set())
            )
            assert begun == [1] * done
            assert numba.get_num_threads() == before


# the list of non-zeros


@pytest.mark.parametrize("dtype", MOSTLY_SINGLE)
@pytest.mark.parametrize("name", ["sgd", "nesterov", "adam"])
@pytest.mark.parametrize("batch_size", [32, 600, None])
def test_leaving_zeros_out_changes_no_bit(mnist, drivers, monkeypatch, batch_size, name, dtype):
    """A zero adds nothing to a sum, and the rest is added in the same order.

    Not so one sample at a time, nor in first layers of one or two vectors: there several sums run
    side by side to hide the latency of the multiply-add. The penalty, which is only reported, is
    added up in another order.
    """
    options = {"batch_size": batch_size, "optimizer": OPTIMIZERS[name], "dtype": dtype}
    options |= {"epochs": 2, "l2": 0.01, "scale": 255.0, "threads": 2}
    listed = run(mnist, (100,), **options)
    monkeypatch.setattr(Source, "sparse", False)
    dense = run(mnist, (100,), **options)
    assert_same(dense[:-2], listed[:-2])
    np.testing.assert_allclose(dense[-2], listed[-2], rtol=TOLERANCE[dtype])
    assert {sparse for _, sparse, *_ in drivers} == {True, False}


# cut and resumed

DRIVERS = {
    "batches": {"batch_size": 32, "optimizer": Adam(0.005)},
    "one at a time": {"batch_size": 1, "optimizer": SGD(0.05)},
    "full batch": {"batch_size": None, "optimizer": SGD(0.1, momentum=0.9)},
    "annealed": {"batch_size": 50, "optimizer": SGD(3.0), "schedule": AnnealOnRise(0.5)},
    "one cycle": {"batch_size": 50, "optimizer": AdamW(0.01), "schedule": OneCycle(epochs=4)},
}


@pytest.mark.parametrize(
    "rng", [lambda: 3, pytest.param(lambda: np.random.RandomState(3), marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("options", DRIVERS.values(), ids=DRIVERS)
def test_saved_loaded_and_resumed_is_run_through(tmp_path, mnist, options, backend, rng):
    X, y = mnist[0][:600], mnist[1][:600]

    def start() -> MLP:
        return MLP((784, 12, 10), rng=rng(), input_scale=255.0, backend=backend, threads=1)

    whole, net = start(), start()
    through = whole.fit(X, y, epochs=4, l2=0.01, **options)
    losses, resumed = [], {**options, "optimizer": None}
    for epoch in range(4):
        history = net.fit(X, y, epochs=1, l2=0.01, **(resumed if epoch else options))
        losses += history.loss
        net.save(tmp_path / "net.npz")
        net = MLP.load(tmp_path / "net.npz", backend=backend, threads=1 + epoch % 3)
    assert losses == through.loss
    assert_same(outcome(net, through), outcome(whole, through))
    assert net._rng.random(3).tolist() == whole._rng.random(3).tolist()


class Cuts(Callback):
    """Notes how many steps each group has."""

    def __init__(self):
        self.sizes, self.begun = [], 0

    def on_batch_group_begin(self, step, logs):
        self.begun = step

    def on_batch_group_end(self, step, logs):
        self.sizes.append(step - self.begun)


@pytest.mark.parametrize("converted", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("options", DRIVERS.values(), ids=DRIVERS)
def test_where_an_epoch_is_cut_has_no_influence(monkeypatch, mnist, options, backend, converted):
    n = 150 if options["batch_size"] == 1 else 600
    X = mnist[0][:n].astype("int16") if converted else mnist[0][:n]
    results, pieces = [], []
    for seconds in (1e-9, 1e-4, 1e9):
        monkeypatch.setattr(trainer, "_PIECE_SECONDS", seconds)
        cuts = Cuts()
        results.append(
            run((X, mnist[1][:n]), (12,), epochs=2, l2=0.01, scale=255.0, threads=2,
                sample_weight=np.linspace(0.1, 1, n), net_options={"backend": backend},
                callbacks=[cuts], **options)
        )  # fmt: skip
        pieces.append(cuts.sizes)
    assert_same(results[0], results[1])
    assert_same(results[0], results[2])
    assert set(pieces[0]) == {1}
    if options["batch_size"] is not None:
        assert len(pieces[2]) < len(pieces[0])
