"""A small network, trained, and all that its file has to carry."""

from __future__ import annotations

import numpy as np

from fastmlp import MLP

__all__ = ["LABELS", "RNG", "X", "everything", "make", "trained"]

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 6))
LABELS = RNG.integers(0, 3, 40)


def make(**options) -> MLP:
    return MLP((6, 5, 4, 3), **{"rng": 1, "backend": "numpy", **options})


def trained(optimizer=None, schedule=None, **options) -> MLP:
    net = make(**options)
    y = LABELS if net.architecture.output == "softmax" else np.eye(3)[LABELS]
    net.fit(X, y, epochs=2, batch_size=16, optimizer=optimizer, schedule=schedule,
            validation_split=0.25)  # fmt: skip
    return net


def everything(net) -> tuple:
    """Return all that a file has to carry."""
    arrays = [*net.weights, *net.biases, *(a for slot in net._state.slots for a in slot)]
    return (
        net.architecture, [a.tobytes() for a in arrays], net.optimizer, net._state.step,
        net._schedule, net._schedule_memory, net.history,
    )  # fmt: skip
