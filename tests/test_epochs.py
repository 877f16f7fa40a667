"""What an epoch tells: schedules their losses, callbacks the step, the history its seconds."""

from __future__ import annotations

import time

import numpy as np
import pytest

from fastmlp import MLP, AnnealOnRise
from fastmlp.callbacks import Callback

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
