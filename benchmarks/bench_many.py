"""Eight networks on the whole of MNIST: one after the other, and at once."""

from __future__ import annotations

from typing import Any

import numpy as np

import fastmlp
from fastmlp.datasets import load_mnist

COUNT = 8
# a network that fills the cores by itself, one whose steps are too small for that, one sample
WORK: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "784-200-100-50-10": ({"layer_sizes": (784, 200, 100, 50, 10)}, {"batch_size": 64}),
    "784-16-10": ({"layer_sizes": (784, 16, 10)}, {"batch_size": 32}),
    "one sample": ({"layer_sizes": (784, 32, 10)}, {"batch_size": 1}),
}


class ManyNetworks:
    """One epoch of each; how they are made is left out."""

    params = (tuple(WORK), ("one by one", "at once"))
    param_names = ("network", "trained")
    timeout = 300

    def setup_cache(self) -> tuple[np.ndarray, np.ndarray]:
        data = load_mnist("uint8")
        return data.x_train, data.y_train

    def setup(self, data: tuple[np.ndarray, np.ndarray], network: str, trained: str) -> None:
        settings, self.arguments = WORK[network]
        self.nets = [fastmlp.MLP(**settings, input_scale=255.0, rng=seed) for seed in range(COUNT)]
        self._train(data[0][:2000], data[1][:2000], trained)

    def _train(self, X: np.ndarray, y: np.ndarray, trained: str) -> None:
        if trained == "at once":
            fastmlp.fit_many(self.nets, X, y, epochs=1, **self.arguments)
        else:
            for net in self.nets:
                net.fit(X, y, epochs=1, **self.arguments)

    def time_networks(
        self, data: tuple[np.ndarray, np.ndarray], network: str, trained: str
    ) -> None:
        self._train(*data, trained)
