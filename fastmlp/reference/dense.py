"""One dense layer, forward and backward."""

from __future__ import annotations

import numpy as np

from ..contract import signatures
from ..contract.operations import check_dense, check_dense_backward, implements
from .activations import activation_function

__all__ = ["dense", "dense_backward"]


@implements(signatures.dense)
def dense(
    x: np.ndarray,
    weights: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    activation: str = "identity",
) -> np.ndarray:
    """Compute ``a = f(z)``, ``z = x W + b``."""
    x, weights, bias = check_dense(x, weights, bias, activation)
    z = x @ weights
    if bias is not None:
        z = z + bias
    with np.errstate(invalid="ignore", over="ignore"):
        return activation_function(activation)(z)[0]


@implements(signatures.dense_backward)
def dense_backward(
    delta: np.ndarray, x: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute ``dW = x^T delta``, ``db = sum_i delta_i`` and ``dx = delta W^T``.

    Sums over samples, not means. ``dx`` times f'(z) of the layer before is that layer's delta.
    """
    delta, x, weights = check_dense_backward(delta, x, weights)
    return x.T @ delta, delta.sum(axis=0), delta @ weights.T
