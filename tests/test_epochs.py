"""What an epoch tells: schedules their losses, callbacks the step, the history its seconds."""

from __future__ import annotations

import time
from types import SimpleNamespace

import numpy as np
import pytest

from fastmlp import MLP, AnnealOnRise, trainer
from fastmlp.callbacks import Callback
from fastmlp.samples import ArraySamples

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
    monkeypatch.setattr("fastmlp.trainer._PIECE_SECONDS", 1e-9)  # steps one by one
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
