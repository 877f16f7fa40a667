"""Small networks for `fit_many`."""

from __future__ import annotations

import numpy as np

from fastmlp import MLP

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 20)).astype(np.float32)
LABELS = (X[:, :3].argmax(axis=1)).astype(np.int64)


def make(seed: int = 0, **settings) -> MLP:
    return MLP((20, 8, 3), rng=seed, backend="numpy", **settings)


def several(n: int = 3, **settings) -> list[MLP]:
    return [make(seed, **settings) for seed in range(n)]


def flat(net: MLP) -> np.ndarray:
    return net._parameters.flat.copy()
