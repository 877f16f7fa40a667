"""What each option of a step costs, and what it brings where a network learns noise by heart."""

from __future__ import annotations

import numpy as np

import fastmlp
from fastmlp.datasets import load_mnist

OPTIONS = {
    "plain": {},
    "dropout": {"dropout": 0.5},
    "early stopping": {"early_stopping": True},
    "l1": {"l1": 1e-4},
    "l2": {"l2": 1e-2},
    "clip_norm": {"clip_norm": 1.0},
    "max_norm": {"max_norm": 1.0},
    "label smoothing": {"label_smoothing": 0.1},
}
Data = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


class Regularization:
    """1,500 training digits, three in ten of them mislabelled; 500 clean ones for validation."""

    params = (tuple(OPTIONS),)
    param_names = ("option",)
    timeout = 300

    def setup_cache(self) -> Data:
        data, rng = load_mnist(), np.random.default_rng(0)
        x, y = data.x_train[:2000], data.y_train[:2000].astype(np.int64)
        wrong = rng.random(1500) < 0.3
        y[:1500][wrong] = rng.integers(0, 10, wrong.sum())
        return x, y, data.x_test[:4000], data.y_test[:4000]

    def setup(self, data: Data, option: str) -> None:
        self.fit(data, option, 1)

    def fit(self, data: Data, option: str, epochs: int) -> fastmlp.MLP:
        x, y = data[:2]
        net = fastmlp.MLP((784, 256, 10), activation="relu", rng=0)
        net.fit(
            x[:1500], y[:1500], epochs=epochs, optimizer=fastmlp.Adam(0.002),
            validation_data=(x[1500:], y[1500:]), **OPTIONS[option],
        )  # fmt: skip
        return net

    def time_five_epochs(self, data: Data, option: str) -> None:
        self.fit(data, option, 5)

    def track_test_accuracy(self, data: Data, option: str) -> float:
        return 100 * self.fit(data, option, 40).evaluate(*data[2:])["accuracy"]

    track_test_accuracy.unit = "%"  # type: ignore[attr-defined]
