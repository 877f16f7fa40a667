"""Around the steps: L-BFGS, callbacks, early stopping, progress; loss of workers."""

from __future__ import annotations

import os
import signal
import threading
import time
import warnings

import numpy as np
import pytest
from clusters import LABELS, X, make, numbers, shared, state
from presses import everywhere, pressed

import fastmlp
from fastmlp import EarlyStopping, distributed
from fastmlp.callbacks import Callback
from fastmlp.distributed import DistributedError, _lbfgs
from fastmlp.training.history import History

da = pytest.importorskip("dask.array")
scipy_optimize = pytest.importorskip("scipy.optimize")

DATA = da.from_array(X, chunks=(700, -1)), da.from_array(LABELS, chunks=1000)
HELD = X[:500] + 0.1, LABELS[:500]


# L-BFGS


@pytest.mark.parametrize("weight", [None, np.random.default_rng(5).random(3000)])
def test_lbfgs_is_that_of_one_machine(client, weight):
    here, there = make(dtype="float64"), make(dtype="float64")
    history = distributed.fit_lbfgs(
        there, *DATA, client=client, max_iter=15, l2=1e-3, sample_weight=weight
    )

    def objective(x):
        enter(here, x)
        loss, g = here.loss_and_gradients(X, LABELS, l2=1e-3, sample_weight=weight)
        return loss, np.concatenate([a.ravel() for a in (*g.weights, *g.biases)])

    start = np.concatenate([a.ravel() for a in (*here.weights, *here.biases)])
    result = scipy_optimize.minimize(
        objective, start, method="L-BFGS-B", jac=True,
        options={"maxiter": 15, "maxfun": 15_000, "gtol": 1e-4},
    )  # fmt: skip
    enter(here, result.x)
    assert np.array_equal(state(here), state(there))
    assert len(history) == result.nit == 15
    assert history.loss[-1] == result.fun < history.loss[0]
    assert 0.5 < history.accuracy[-1] <= 1


def enter(net, x):
    done = 0
    for array in (*net.weights, *net.biases):
        array[...] = x[done : done + array.size].reshape(array.shape)
        done += array.size


class StopAfter(Callback):
    def __init__(self, epoch):
        self.epoch, self.seen = epoch, []

    def on_epoch_end(self, epoch, logs):
        self.seen.append(dict(logs))
        if epoch + 1 == self.epoch:
            self.net.stop_training = True


def test_lbfgs_hears_its_callbacks(client):
    net, stop = make(dtype="float64"), StopAfter(3)
    history = distributed.fit_lbfgs(net, *DATA, client=client, callbacks=[stop])
    assert len(history) == len(stop.seen) == 3
    assert net.evaluate(X, LABELS)["loss"] == pytest.approx(history.loss[-1], rel=1e-12)
    with pytest.raises(ValueError, match="max_iter: expected an integer of at least 1"):
        distributed.fit_lbfgs(net, *DATA, client=client, max_iter=0)


class Press(Callback):
    """Presses Ctrl-C so often in a loss after the second iteration."""

    def __init__(self, times, monkeypatch):
        self.times, self.kept, self.patch = times, [], monkeypatch

    def on_epoch_end(self, epoch, logs):
        self.kept.append(state(self.net))
        if epoch == 1:
            called = lambda *given: self.interrupted(*given)  # noqa: E731
            self.patch.setattr(_lbfgs._Objective, "__call__", called)

    def interrupted(self, objective, x):
        _lbfgs._enter(objective._net, x)
        for _ in range(self.times):
            signal.raise_signal(signal.SIGINT)


@pytest.mark.usefixtures("ctrl_c_is_heard")
@pytest.mark.parametrize("times", [1, 2, 10])
def test_lbfgs_is_interrupted_between_iterations(client, monkeypatch, times):
    net, twin = make(dtype="float64"), make(dtype="float64")
    press = Press(times, monkeypatch)
    with pytest.warns(RuntimeWarning, match="after 2 whole"):
        history = distributed.fit_lbfgs(net, *DATA, client=client, callbacks=[press])
    monkeypatch.undo()
    assert history.interrupted
    assert len(history) == len(history.seconds) == 2
    assert np.array_equal(state(net), press.kept[-1])
    distributed.fit_lbfgs(twin, *DATA, client=client, max_iter=2)
    assert np.array_equal(state(net), state(twin))
    distributed.fit_lbfgs(net, *DATA, client=client, max_iter=2)  # it trains on


@pytest.mark.slow
@pytest.mark.usefixtures("ctrl_c_is_heard")
def test_wherever_it_comes_lbfgs_has_whole_iterations(client, count):
    """Pressed in the program's own code, and any time: also while it waits for workers."""
    kept = Press(0, None)
    kept.kept.append(state(make(dtype="float64")))
    distributed.fit_lbfgs(make(dtype="float64"), *DATA, client=client, max_iter=1, callbacks=[kept])
    net, places = make(dtype="float64"), 0
    start = net._parameters.flat.copy()

    def work():
        net._parameters.flat[:] = start
        net.history = History()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            distributed.fit_lbfgs(net, *DATA, client=client, max_iter=1)

    for _ in everywhere(work, ["distributed/_lbfgs.py"], 3):
        places += 1
        assert np.array_equal(state(net), kept.kept[len(net.history)])
    for moment in range(20):
        pressed(work, [0.02 * moment, *[0.001] * (moment % 3)])
        assert np.array_equal(state(net), kept.kept[len(net.history)])
    work()
    assert np.array_equal(state(net), kept.kept[1])
    count("places of Ctrl-C", places)


# around the steps


def test_early_stopping_callbacks_and_metrics_as_on_one_machine(client):
    settings = {
        "epochs": 60, "optimizer": fastmlp.Adam(2.0), "validation_data": HELD,
        "metrics": ["f1"], "schedule": fastmlp.ReduceOnPlateau(patience=1),
    }  # fmt: skip
    here, there = make(), make()
    heard = StopAfter(99), StopAfter(99)
    one = here.fit(
        X, LABELS, batch_size=None, callbacks=[heard[0]],
        early_stopping=EarlyStopping(patience=2), **settings,
    )  # fmt: skip
    other = distributed.fit(
        there, *DATA, client=client, callbacks=[heard[1]],
        early_stopping=EarlyStopping(patience=2), **settings,
    )  # fmt: skip
    assert np.array_equal(state(here), state(there))
    assert numbers(one) == numbers(other)
    assert 2 < len(other.val_loss) < 60
    seen = [[{k: v for k, v in logs.items() if k != "seconds"} for logs in h.seen] for h in heard]
    assert seen[0] == seen[1]


def test_progress(client, capsys):
    distributed.fit(make(), *DATA, client=client, epochs=2, progress=True)
    assert "2/2" in capsys.readouterr().err


def test_divergence(client):
    net = make(activation="relu")
    with pytest.raises(fastmlp.DivergenceError, match="epoch 1, step 2"):
        distributed.fit(
            net, *DATA, client=client, epochs=3, batch_size=1000, optimizer=fastmlp.SGD(1e38)
        )


# losses


class At(Callback):
    """Do something, once, soon after an epoch has begun."""

    def __init__(self, what, epoch=1, delay=0.0):
        self.at, self.timer = epoch, threading.Timer(delay, what)

    def on_epoch_begin(self, epoch, logs):
        if epoch == self.at:
            self.timer.start()


@pytest.mark.slow
def test_killed_again_and_again_changes_only_the_time():
    """Two kills soon after an epoch has begun: where in a step they land is left to chance."""
    rows = np.concatenate([X] * 20)
    y = np.concatenate([LABELS] * 20)
    data = da.from_array(rows, chunks=(7000, -1)), da.from_array(y, chunks=-1)
    settings = {"epochs": 6, "batch_size": 30_000, "optimizer": "adam"}
    wanted = make((20, 100, 100, 3))
    wanted.fit(rows, y, shuffle=False, **settings)
    _, client = shared.get(2)

    def kill():
        pids = client.run(os.getpid, on_error="return")
        pid = next(p for p in pids.values() if isinstance(p, int))
        os.kill(pid, signal.SIGKILL)
        killed.append(pid)

    killed: list[int] = []
    net = make((20, 100, 100, 3))
    kills = [At(kill, 1, 0.005), At(kill, 4, 0.02)]
    history = distributed.fit(net, *data, client=client, shuffle=False, callbacks=kills, **settings)
    deadline = time.monotonic() + 60
    while len(killed) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(killed) == 2
    assert len(history) == 6
    assert np.array_equal(state(net), state(wanted))


class Remember(Callback):
    def __init__(self):
        self.state = None

    def on_epoch_end(self, epoch, logs):
        self.state = state(self.net), self.net._state.step


def test_no_worker_is_left():
    """The network keeps its last whole step, and the error says what happened."""
    cluster, client = shared.get(1)
    net, memory = make(), Remember()
    lose = At(lambda: cluster.scale(0), 2)
    with pytest.raises(DistributedError, match=r"no worker|all workers are lost"):
        distributed.fit(
            net, *DATA, client=client, epochs=100_000, callbacks=[memory, lose],
            timeout=1.0, optimizer="adam",
        )  # fmt: skip
    assert np.array_equal(memory.state[0], state(net))
    assert memory.state[1] == net._state.step == len(net.history) >= 2
    wanted = make()
    wanted.fit(X, LABELS, batch_size=None, epochs=len(net.history), optimizer="adam")
    assert np.array_equal(state(wanted), state(net))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_the_scheduler_goes():
    net = make()
    cluster, client = shared.get(1)
    gone = At(cluster.close, 2)
    with pytest.raises(DistributedError):
        distributed.fit(net, *DATA, client=client, epochs=100_000, callbacks=[gone], timeout=1.0)
    gone.timer.join(60)  # two that close a cluster at a time trip each other up
    assert len(net.history) >= 2
