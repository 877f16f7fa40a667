"""Ctrl-C at any moment, and several: whole steps or KeyboardInterrupt, and it works on.

Each scenario is a function that runs in a process of its own: this file with its name.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import pytest
from processes import LAYERS, data, run, scenario

import fastmlp

MOMENTS = 50  # of Ctrl-C


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


# from the first moment of a process on: importing, compiling, loading, training, validating, saving

PHASES = r"""
import hashlib, os, signal, sys, threading, time, warnings
signal.signal(signal.SIGINT, signal.default_int_handler)
warnings.simplefilter("ignore")
gaps, backend, path = [float(gap) for gap in sys.argv[1].split(",")], sys.argv[2], sys.argv[3]
seen, nets, over = [], [], []

def press():
    for gap in gaps:
        time.sleep(gap)
        os.kill(os.getpid(), signal.SIGINT)
    over.append(True)

def new():
    import fastmlp
    return fastmlp.MLP((20, 30, 4), rng=0, backend=backend)

def data():
    import fastmlp
    fastmlp.MLP  # imports NumPy, whose own import is not to be broken off
    import numpy as np
    X = np.random.default_rng(0).normal(size=(2000, 20)).astype("float32")
    return X, X[:, :4].argmax(1)

def fit(net, X, y, **options):
    return net.fit(X, y, optimizer=net.optimizer if net._state.step else "adam", shuffle=False,
                   progress=False, **options)

def work():
    net, (X, y) = new(), data()
    history = fit(net, X, y, epochs=4, validation_data=(X[:500], y[:500]))
    nets.append((net, history))
    if history.interrupted:
        return "interrupted"
    net.predict(X[:10])
    net.save(path)
    return type(net).load(path, backend=backend) and "done"

def once():
    try:
        seen.append(work())
    except KeyboardInterrupt:
        seen.append("KeyboardInterrupt")
    except BaseException as error:
        seen.append(repr(error))

def until_over():
    while not over:
        once()
        time.sleep(0.005)

def heard():
    while True:
        try:
            return until_over()
        except KeyboardInterrupt:
            pass

try:
    threading.Thread(target=press, daemon=True).start()
except KeyboardInterrupt:
    pass
while True:
    try:
        heard()
        break
    except KeyboardInterrupt:
        pass
assert {*seen} <= {"interrupted", "KeyboardInterrupt", "done"}, seen
assert work() == work() == "done"
X, y = data()
for net, history in nets[-5:]:
    full, rest = divmod(net._state.step, 32)
    twin = new()
    if full:
        fit(twin, X, y, epochs=full)
    if rest:
        fit(twin, X[: 64 * rest], y[: 64 * rest], epochs=1)
    pairs = zip([*net.weights, *net.biases], [*twin.weights, *twin.biases])
    assert all((a == b).all() for a, b in pairs), net._state.step
    assert len(history.loss) == len(history.val_loss) == len(history.seconds)
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
assert [name for name in os.listdir(os.path.dirname(path)) if "net" in name] == ["net.npz"]
"""
SECONDS = {"numpy": 0.9, "numba": 1.6, "cold": 4.0}  # in which about half of the presses fall


def some_presses(chance: random.Random, seconds: float) -> list[float]:
    gaps = [chance.choice([0.0005, 0.002, 0.02, 0.1, 0.4]) for _ in range(chance.choice([0, 1, 9]))]
    return [chance.uniform(0.02, seconds), *gaps]


@pytest.mark.skipif(os.name == "nt", reason="no signals between threads on this system")
@pytest.mark.parametrize(
    ("kind", "trials"),
    [("numpy", 1)]
    + [pytest.param(kind, 10, marks=pytest.mark.slow) for kind in SECONDS],
)  # fmt: skip
def test_a_process_that_is_interrupted_in_any_phase_trains_on(tmp_path, kind, trials, count):
    chance = random.Random(trials)
    package = str(Path(fastmlp.__file__).parents[1])
    for trial in range(trials):
        place = tmp_path / str(trial)
        place.mkdir()
        environment = os.environ | {"PYTHONPATH": package}
        if kind == "cold":
            environment["FASTMLP_CACHE_DIR"] = str(place / "cache")
        gaps = ",".join(map(str, some_presses(chance, SECONDS[kind])))
        backend = "numpy" if kind == "numpy" else "numba"
        done = subprocess.run(
            [sys.executable, "-c", PHASES, gaps, backend, str(place / "net.npz")],
            env=environment, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{gaps}: {done.stderr[-2000:]}"
    count("processes that were interrupted", trials)


if __name__ == "__main__":
    scenario(globals(), crowd=False)
