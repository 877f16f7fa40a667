"""Every kind of step alone: an epoch, or a pass forward, over arrays that are at hand."""

from __future__ import annotations

import numpy as np

from fastmlp import MLP, SGD
from fastmlp.contract.operations import DataSet, StepSettings
from fastmlp.kernels.run.training import Training

SAMPLES, FEATURES = 2048, 784
BATCHES = {"batches": 64, "large batches": 1024, "full batch": SAMPLES, "one at a time": 1}


def samples(kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Return data that are dense, four fifths zeros, or in an order that has to be converted."""
    rng = np.random.default_rng(0)
    X, y = rng.random((SAMPLES, FEATURES), np.float32), rng.integers(0, 10, SAMPLES)
    if kind == "zeros":
        X *= rng.random(X.shape, np.float32) < 0.2
    return (np.asfortranarray(X) if kind == "converted" else X), y


class Train:
    """An epoch of 2,048 samples through 784-128-10."""

    params = (tuple(BATCHES), ("dense", "zeros", "converted"), (1, 2))
    param_names = ("steps", "data", "threads")

    def setup(self, steps: str, data: str, threads: int) -> None:
        X, y = samples(data)
        self.net = MLP((FEATURES, 128, 10), rng=0)
        size = BATCHES[steps]
        settings = StepSettings(SGD(0.01), self.net._state, size)
        self.training = Training(self.net._parameters, DataSet(X, y), settings, threads=threads)
        self.order, self.rates = np.arange(SAMPLES), np.full(SAMPLES // size, 1e-3)
        self.training.train(self.order[:size], self.rates[:1])

    def time_epoch(self, steps: str, data: str, threads: int) -> None:
        self.training.train(self.order, self.rates)


class Infer:
    """The way forward through 784-128-10."""

    params = ((1, 16, SAMPLES), ("dense", "zeros", "converted"))
    param_names = ("rows", "data")

    def setup(self, rows: int, data: str) -> None:
        X, self.y = samples(data)
        self.X, self.y = X[:rows], self.y[:rows]
        self.net = MLP((FEATURES, 128, 10), rng=0)
        self.net.predict_proba(self.X)
        self.net.evaluate(self.X, self.y)

    def time_predict(self, rows: int, data: str) -> None:
        self.net.predict_proba(self.X)

    def time_evaluate(self, rows: int, data: str) -> None:
        self.net.evaluate(self.X, self.y)
