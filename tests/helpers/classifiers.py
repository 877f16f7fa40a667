"""A small classifier, its data, and what it has learned."""

from __future__ import annotations

import signal

import numpy as np

from fastmlp import MLP
from fastmlp.callbacks import Callback

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 6))
LABELS = np.digitize(X[:, 0] + X[:, 1] ** 2, [0.3, 1.3])
HELD = X[60:], LABELS[60:]


def make(backend="numpy", layers=(6, 16, 3), **options) -> MLP:
    return MLP(layers, backend=backend, **{"rng": 1, "dtype": "float64", **options})


def flat(net) -> np.ndarray:
    return np.concatenate([a.ravel() for a in (*net.weights, *net.biases)])


class Interrupt(Callback):
    def __init__(self, epoch):
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs):
        if epoch == self.epoch:
            signal.raise_signal(signal.SIGINT)
