"""One dense layer, forward and backward."""

from __future__ import annotations

import numpy as np

from ..contract.operations import check_dense, check_dense_backward, check_out, check_outs, written
from .activations import activation_function

__all__ = ["dense", "dense_backward"]


def dense(
    x: np.ndarray,
    weights: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    activation: str = "identity",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Return ``a = f(z)``, ``z = x W + b``.

    Parameters
    ----------
    x : ndarray, (n, n_in)
        Activations of the layer before, or inputs.
    weights : ndarray of float32 or float64, (n_in, n_out)
    bias : ndarray, (n_out,), optional
    activation : str, default "identity"
    out : ndarray, (n, n_out), optional
        Where the result is written.

    Returns
    -------
    ndarray, (n, n_out)
        In the dtype of the weights.

    Raises
    ------
    TypeError, ValueError
        If dtypes or shapes do not fit or the activation is not known.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import reference
    >>> reference.dense(np.ones((1, 2)), np.ones((2, 1)), np.array([-3.0]), activation="relu")
    array([[0.]])
    """
    x, weights, bias = check_dense(x, weights, bias, activation)
    if out is not None:
        check_out(out, (x.shape[0], weights.shape[1]), weights.dtype)
    z = x @ weights
    if bias is not None:
        z = z + bias
    with np.errstate(invalid="ignore", over="ignore"):
        a = activation_function(activation)(z)[0]
    return a if out is None else written(out, a)


def dense_backward(
    delta: np.ndarray,
    x: np.ndarray,
    weights: np.ndarray,
    *,
    out: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return ``dW = x^T delta``, ``db = sum_i delta_i`` and ``dx = delta W^T``.

    Sums over samples, not means. ``dx`` times f'(z) of the layer before is that layer's delta.

    Parameters
    ----------
    delta : ndarray, (n, n_out)
        Derivatives of the loss by the layer's z.
    x : ndarray, (n, n_in)
        What the layer was given.
    weights : ndarray of float32 or float64, (n_in, n_out)
    out : tuple of three ndarray, optional
        Where the results are written.

    Returns
    -------
    weights_gradient : ndarray, (n_in, n_out)
    bias_gradient : ndarray, (n_out,)
    x_gradient : ndarray, (n, n_in)

    Raises
    ------
    TypeError, ValueError
        If dtypes or shapes do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import reference
    >>> x, delta = np.array([[1.0, 2.0]]), np.array([[3.0]])
    >>> reference.dense_backward(delta, x, np.array([[1.0], [1.0]]))[0].tolist()
    [[3.0], [6.0]]
    """
    delta, x, weights = check_dense_backward(delta, x, weights)
    shapes = weights.shape, (weights.shape[1],), x.shape
    outs = None if out is None else check_outs(out, shapes, weights.dtype)
    dw, db, dx = x.T @ delta, delta.sum(axis=0), delta @ weights.T
    if outs is None:
        return dw, db, dx
    return written(outs[0], dw), written(outs[1], db), written(outs[2], dx)
