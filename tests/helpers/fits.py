"""Small data and networks for fits, and what these leave."""

from __future__ import annotations

import numpy as np

from fastmlp import MLP, SGD, AdaGrad, Adam, AdamW, RMSProp

BACKENDS = ("numpy", "numba")
OPTIMIZERS = {
    "sgd": SGD(0.1),
    "momentum": SGD(0.05, momentum=0.9),
    "nesterov": SGD(0.05, momentum=0.9, nesterov=True),
    "adagrad": AdaGrad(0.02),
    "rmsprop": RMSProp(0.003),
    "adam": Adam(0.005),
    "adamw": AdamW(0.005, weight_decay=0.1),
}
RNG = np.random.default_rng(0)
X = RNG.normal(size=(70, 6))
LABELS = np.digitize(X[:, 0] + X[:, 1] ** 2, [0.3, 1.3])


def make(backend="numpy", layers=(6, 5, 3), **options) -> MLP:
    return MLP(layers, backend=backend, **{"rng": 1, "dtype": "float64", **options})


def parameters(net) -> list[np.ndarray]:
    return [a.copy() for a in (*net.weights, *net.biases)]


def state(net) -> list[np.ndarray]:
    """Return parameters, optimizer state and random state as arrays."""
    rng = net._rng.bit_generator.state["state"]
    numbers = np.array([net._state.step, rng["state"] % 2**53, rng["inc"] % 2**53], float)
    return [*parameters(net), *(a.copy() for slot in net._state.slots for a in slot), numbers]


def same(ours, theirs) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


def assert_same(ours, theirs) -> None:
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


def rates(schedule, epochs=6, n_steps=4, losses=(), val_losses=()) -> np.ndarray:
    memory: dict = {}
    found = []
    for epoch in range(epochs):
        found.append(schedule.rates(0.8, epoch, n_steps, epochs, memory))
        loss = losses[epoch] if losses else 1.0
        schedule.after_epoch(memory, loss, val_losses[epoch] if val_losses else None)
    return np.array(found)
