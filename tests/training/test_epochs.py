"""What an epoch tells: schedules their losses, callbacks the step, the history its seconds."""

from __future__ import annotations

import time
from types import SimpleNamespace

import numpy as np
import pytest

from fastmlp import MLP, AnnealOnRise
from fastmlp.callbacks import Callback
from fastmlp.training import trainer
from fastmlp.training.samples import ArraySamples

RNG = np.random.default_rng(0)
X, LABELS = RNG.standard_normal((64, 5)), RNG.integers(0, 3, 64)


class Steps(Callback):
    def __init__(self):
        self.steps = []

    def on_batch_group_begin(self, step, logs):
        self.steps.append(step)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_what_an_epoch_tells(backend, monkeypatch):
    seen, callback = [], Steps()
    monkeypatch.setattr("fastmlp.training.trainer._PIECE_SECONDS", 1e-9)  # steps one by one
    monkeypatch.setattr(
        AnnealOnRise, "after_epoch", lambda self, memory, *losses: seen.append(losses)
    )
    net, begun = MLP((5, 4, 3), rng=0, backend=backend), time.perf_counter()
    history = net.fit(
        X, LABELS, epochs=3, batch_size=16, schedule=AnnealOnRise(factor=0.5),
        validation_data=(X[:9], LABELS[:9]), callbacks=[callback],
    )  # fmt: skip
    elapsed = time.perf_counter() - begun
    assert seen == list(zip(history.loss, history.val_loss, strict=True))
    assert callback.steps == 3 * [0, 1, 2, 3]
    assert all(seconds > 0 for seconds in history.seconds)
    assert sum(history.seconds) <= elapsed


def test_python_comes_in_between_every_tenth_of_a_second(monkeypatch):
    """By a clock that every step puts forward by a millisecond."""
    clock, whole, callback = [0.0], ArraySamples.segments, Steps()

    def segments(self):
        for segment in whole(self):
            train = segment.train

            def timed(order, rates, key, train=train):
                clock[0] += len(rates) * 1e-3
                return train(order, rates, key)

            segment.train = timed
            yield segment

    monkeypatch.setattr(ArraySamples, "segments", segments)
    monkeypatch.setattr(trainer, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    net = MLP((5, 4, 3), rng=0, backend="numpy")
    net.fit(np.tile(X, (8, 1)), np.tile(LABELS, 8), batch_size=1, callbacks=[callback], epochs=1)
    sizes = np.diff([*callback.steps, 512])
    assert sizes[:3].tolist() == [1, 8, 64]
    assert np.abs(sizes[3:-1] - 100).max() <= 1
    assert net.history.seconds == pytest.approx([0.512])


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("output", ["softmax", "identity"])
def test_a_batch_group_says_how_many_are_right_where_there_are_classes(backend, output):
    seen = []

    class Listening(Callback):
        def on_batch_group_end(self, step, logs):
            seen.append(dict(logs))

    rng = np.random.default_rng(0)
    X = rng.random((120, 4))
    y = rng.integers(0, 3, 120) if output == "softmax" else rng.random((120, 3))
    net = MLP((4, 8, 3), output=output, rng=0, backend=backend)
    history = net.fit(X, y, epochs=1, batch_size=30, callbacks=[Listening()])
    assert sum(logs["samples"] for logs in seen) == 120
    if output == "identity":
        assert all("accuracy" not in logs for logs in seen)
    else:
        right = sum(logs["accuracy"] * logs["samples"] for logs in seen)
        assert right == pytest.approx(history.accuracy[0] * 120)


@pytest.mark.parametrize("batch_size", [120, None])
def test_a_full_batch_draws_no_order(batch_size):
    rng = np.random.default_rng(0)
    X, y = rng.random((120, 4)), rng.integers(0, 3, 120)
    nets = [MLP((4, 8, 3), rng=np.random.default_rng(1)) for _ in range(2)]
    before = nets[0]._rng.bit_generator.state
    nets[0].fit(X, y, epochs=2, batch_size=batch_size, shuffle=True)
    nets[1].fit(X, y, epochs=2, batch_size=batch_size, shuffle=False)
    assert nets[0]._rng.bit_generator.state == before
    assert np.array_equal(nets[0]._parameters.flat, nets[1]._parameters.flat)
