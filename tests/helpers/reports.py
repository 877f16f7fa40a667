"""Reports of small networks."""

from __future__ import annotations

import numpy as np

import fastmlp

RNG = np.random.default_rng(1)
X = RNG.integers(0, 256, (90, 64)).astype(np.uint8)
Y = X[:, :3].argmax(1)


def trained(*layers, **options):
    fit = {"epochs": options.pop("epochs", 3), "optimizer": fastmlp.Adam(0.01)}
    net = fastmlp.MLP(layers, rng=0, backend="numpy", **options)
    return net, fit
