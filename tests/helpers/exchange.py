"""A network to hand on, and what another library makes of it."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from sklearn import neural_network

import fastmlp.sklearn
from fastmlp import MLP

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 6)) * 3


def make(**options) -> MLP:
    options = {"rng": 1, "backend": "numpy", **options}
    net = MLP((6, 5, 4, 3), **options)
    rng = np.random.default_rng(2)
    for b in net.biases:
        b[:] = rng.normal(size=b.shape)
    return net


def run(model, **inputs) -> dict[str, np.ndarray]:
    """Return what onnxruntime makes of a model or a file of it, by name."""
    model = model if isinstance(model, str | bytes) else model.SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, inputs), strict=True))


def layers_of(net) -> dict[str, np.ndarray]:
    state = {f"{2 * i}.weight": np.ascontiguousarray(W.T) for i, W in enumerate(net.weights)}
    return state | {f"{2 * i}.bias": np.ascontiguousarray(b) for i, b in enumerate(net.biases)}


LABELS = RNG.integers(0, 3, 40)
WORDS = np.array(["cat", "dog", "bird"])[LABELS]
SEVERAL = (RNG.random((40, 3)) > 0.5).astype(int)
PAIRS = SEVERAL[:, :2]
VALUES = np.stack([np.sin(X[:, 0]), X[:, 1] * X[:, 2]], 1)
COUNTS = RNG.poisson(2.0, 40).astype(float)
TARGETS = {
    "two classes": ("MLPClassifier", WORDS == "cat", {}),
    "two words": ("MLPClassifier", np.where(LABELS == 1, "yes", "no"), {}),
    "words": ("MLPClassifier", WORDS, {}),
    "numbers": ("MLPClassifier", 5 - 2 * LABELS, {}),
    "floats": ("MLPClassifier", LABELS * 2.0, {}),
    "one class": ("MLPClassifier", np.full(40, "cat"), {}),
    "several labels": ("MLPClassifier", SEVERAL, {}),
    "two labels": ("MLPClassifier", PAIRS, {}),
    "values": ("MLPRegressor", VALUES, {}),
    "one value": ("MLPRegressor", VALUES[:, 1], {}),
    "counts": ("MLPRegressor", COUNTS, {"loss": "poisson"}),
}
LIBRARIES = {"sklearn": neural_network, "fastmlp": fastmlp.sklearn}


def fitted(library, kind, *, rows=X, **options):
    name, y, more = TARGETS[kind]
    options = {"hidden_layer_sizes": (7, 5), "max_iter": 30, "random_state": 0, **more, **options}
    kind_of = getattr(LIBRARIES[library], name)
    if "loss" in more and "loss" not in kind_of().get_params():
        pytest.skip("scikit-learn before 1.7 counts with no loss of its own")
    model = kind_of(**options)
    model.set_params(solver="sgd" if kind == "counts" else "lbfgs")
    return model.fit(rows, y)
