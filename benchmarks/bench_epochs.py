"""Epochs of the published experiments' networks on the whole of MNIST, on both backends."""

from __future__ import annotations

import numpy as np

import fastmlp
from fastmlp.datasets import load_mnist

# name -> (network, fit, how many samples the reference gets to see)
WORK = {
    "numpy-ann": (
        {"layer_sizes": (784, 5, 10), "dtype": "float64"},
        {"batch_size": None, "optimizer": fastmlp.SGD(0.5)},
        60_000,
    ),
    "from-scratch": (
        {"layer_sizes": (784, 16, 16, 10), "dtype": "float64"},
        {"batch_size": None, "optimizer": fastmlp.SGD(0.8)},
        30_000,
    ),
    "simple-nn": (
        {"layer_sizes": (784, 200, 100, 50, 10)},
        {"batch_size": 64, "optimizer": fastmlp.SGD(0.1), "l2": 0.01 / 64},
        60_000,
    ),
    "dnn-sgd": (
        {"layer_sizes": (784, 128, 64, 10), "bias": False},
        {"batch_size": 1, "optimizer": fastmlp.SGD(0.001)},
        3_000,
    ),
    "dnn-torch": (
        {"layer_sizes": (784, 128, 64, 10), "output": "sigmoid"},
        {"batch_size": 1, "optimizer": fastmlp.SGD(0.0001)},
        3_000,
    ),
    "dnn-keras": (
        {"layer_sizes": (784, 128, 64, 10), "output": "sigmoid"},
        {"batch_size": 32, "optimizer": fastmlp.SGD(0.001)},
        20_000,
    ),
}


class Epochs:
    """One epoch; where the reference would take minutes both backends see fewer samples."""

    params = (tuple(WORK), ("numba", "numpy"))
    param_names = ("recipe", "backend")
    timeout = 300

    def setup_cache(self) -> tuple[np.ndarray, np.ndarray]:
        data = load_mnist("uint8")
        return data.x_train, data.y_train

    def setup(self, data: tuple[np.ndarray, np.ndarray], recipe: str, backend: str) -> None:
        settings, self.arguments, samples = WORK[recipe]
        self.X, self.y = data[0][:samples], data[1][:samples]
        self.net = fastmlp.MLP(**settings, input_scale=255.0, rng=0, backend=backend)
        self.net.fit(self.X[:2000], self.y[:2000], epochs=1, **self.arguments)

    def time_epoch(self, data: tuple[np.ndarray, np.ndarray], recipe: str, backend: str) -> None:
        self.net.fit(self.X, self.y, epochs=1, **self.arguments)

    def track_samples_per_second(
        self, data: tuple[np.ndarray, np.ndarray], recipe: str, backend: str
    ) -> float:
        history = self.net.fit(self.X, self.y, epochs=1, **self.arguments)
        return len(self.y) / history.seconds[-1]

    track_samples_per_second.unit = "samples/s"  # type: ignore[attr-defined]
