"""One dense layer, forward and backward."""

from __future__ import annotations

import numpy as np

from ..contract import signatures
from ..contract.operations import (
    check_dense,
    check_dense_backward,
    check_out,
    check_outs,
    implements,
    written,
)
from .activations import activation_function

__all__ = ["dense", "dense_backward"]


@implements(signatures.dense)
def dense(
    x: np.ndarray,
    weights: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    activation: str = "identity",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Compute ``a = f(z)``, ``z = x W + b``."""
    x, weights, bias = check_dense(x, weights, bias, activation)
    if out is not None:
        check_out(out, (x.shape[0], weights.shape[1]), weights.dtype)
    z = x @ weights
    if bias is not None:
        z = z + bias
    with np.errstate(invalid="ignore", over="ignore"):
        a = activation_function(activation)(z)[0]
    return a if out is None else written(out, a)


@implements(signatures.dense_backward)
def dense_backward(
    delta: np.ndarray,
    x: np.ndarray,
    weights: np.ndarray,
    *,
    out: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute ``dW = x^T delta``, ``db = sum_i delta_i`` and ``dx = delta W^T``.

    Sums over samples, not means. ``dx`` times f'(z) of the layer before is that layer's delta.
    """
    delta, x, weights = check_dense_backward(delta, x, weights)
    shapes = weights.shape, (weights.shape[1],), x.shape
    outs = None if out is None else check_outs(out, shapes, weights.dtype)
    dw, db, dx = x.T @ delta, delta.sum(axis=0), delta @ weights.T
    if outs is None:
        return dw, db, dx
    return written(outs[0], dw), written(outs[1], db), written(outs[2], dx)
