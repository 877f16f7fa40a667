"""A whole network over a caller's arrays as they lie, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...architecture import Architecture
from ...contract.operations import Gradients
from . import plain

__all__ = ["hidden_and_logits", "loss_and_gradients"]

Arrays = Sequence[np.ndarray]


def hidden_and_logits(
    X: np.ndarray, weights: Arrays, biases: Arrays, architecture: Architecture,
    derivatives: list[np.ndarray] | None = None,
) -> list[np.ndarray]:  # fmt: skip
    """Return the hidden layers' activations and the logits, layer by layer.

    The hidden layers' f'(z) are appended to `derivatives`, where it is given.
    """
    found, a = [], X
    names = [*architecture.activations, "identity"]
    for layer, (w, name) in enumerate(zip(weights, names, strict=True)):
        z = np.empty((len(X), w.shape[1]), w.dtype)
        apart = derivatives is not None and layer < len(names) - 1
        plain.dense(a, w, biases[layer] if biases else None, "identity" if apart else name, z)
        if derivatives is not None and apart:
            derivatives.append(np.empty_like(z))
            plain.activate(z, name, z, derivatives[-1])
        found.append(z)
        a = z
    return found


def loss_and_gradients(
    X: np.ndarray, y: np.ndarray, weights: Arrays, biases: Arrays, architecture: Architecture,
    l2: float, sample_weight: np.ndarray | None,
) -> tuple[float, Gradients]:  # fmt: skip
    """Return the mean loss over all samples with its penalty, and the gradients."""
    derivatives: list[np.ndarray] = []
    found = hidden_and_logits(X, weights, biases, architecture, derivatives)
    names = architecture.output, architecture.loss
    delta = np.empty_like(found[-1])
    losses = plain.loss(found[-1], y, sample_weight, names, delta)
    total = len(losses) if sample_weight is None else sample_weight.sum()
    inputs = [X, *found[:-1]]
    result = Gradients([], [])
    loss = float(losses.sum() / total)
    for layer in reversed(range(len(weights))):
        w, x = weights[layer], inputs[layer]
        dw, db = np.empty(w.shape, w.dtype), np.empty(w.shape[1], w.dtype)
        dx = np.empty_like(x) if layer else None
        plain.backward(delta, x, w, (dw, db, dx))
        if dx is not None:
            delta = np.multiply(dx, derivatives[layer - 1], out=dx)
        for gradient in (dw, db):
            gradient /= w.dtype.type(total)
        if l2 > 0:
            dw += w.dtype.type(l2) * w
            loss += l2 / 2 * float(np.square(w).sum(dtype=np.float64))
        result.weights.insert(0, dw)
        if biases:
            result.biases.insert(0, db)
    return loss, result
