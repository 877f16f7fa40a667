"""The operations of a layer over a caller's arrays, as they lie.

Nothing is copied but what has another dtype than the result, or rows that are not contiguous where
an operation goes over rows. The network's own training and inference do not pass through here:
their arrays are padded. `fastmlp.reference` has the same operations, and docstrings with formulas
and shapes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..contract.operations import (
    check_activate,
    check_dense,
    check_dense_backward,
    check_out,
    check_output_loss,
    check_outs,
    check_softmax,
)
from .run import plain

__all__ = [
    "activate",
    "dense",
    "dense_backward",
    "output_loss",
    "softmax",
    "softmax_cross_entropy",
]

_ROW = 1024  # elements: an array without gaps is cut into rows, for threads to share
_SHORT = 64  # shorter rows cost more than a second call
_ALONE = 32_768  # elements that one thread is done with before another one has begun


def _target(out: np.ndarray | None, shape: tuple[int, ...], dtype: Any, *inputs: Any) -> np.ndarray:
    """Return what a kernel writes to: `out`, or an array to be copied into it."""
    if out is None:
        return np.empty(shape, dtype)
    apart = len(shape) == 2 and shape[1] > 1 and out.strides[1] != out.itemsize
    if apart or any(np.may_share_memory(out, array) for array in inputs):
        return np.empty(shape, dtype)
    return out


def _given(out: np.ndarray | None, target: np.ndarray) -> np.ndarray:
    """Return `out` with the result in it, or the result."""
    if out is None or out is target:
        return target
    out[...] = target
    return out


def _matrices(z: np.ndarray) -> list[tuple[Any, tuple[int, int]]]:
    """Return where, and in which shapes, an array without gaps is cut into matrices: one row of
    what no threads would share, else rows that are not too short.
    """
    if z.size <= _ALONE:
        return [(slice(None), (1, z.size))]
    if z.shape[-1] >= _SHORT and z.size > z.shape[-1]:
        return [(slice(None), (z.size // z.shape[-1], z.shape[-1]))]
    whole = z.size // _ROW * _ROW
    return [(slice(0, whole), (whole // _ROW, _ROW)), (slice(whole, None), (1, z.size - whole))]


def activate(
    z: np.ndarray, *, activation: str, out: tuple[np.ndarray, np.ndarray] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Apply an activation to logits; see `fastmlp.reference.activate`.

    Parameters
    ----------
    z : ndarray of float32 or float64, any shape
    activation : str
    out : tuple of two ndarray, optional
        Where the results are written.

    Returns
    -------
    a : ndarray
        ``f(z)``, shaped and typed as z.
    derivative : ndarray
        ``f'(z)``, likewise.

    Raises
    ------
    TypeError, ValueError
        If z is no array of floats or the name is not known.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import kernels
    >>> a, derivative = kernels.activate(np.zeros(1), activation="sigmoid")
    >>> float(a[0]), float(derivative[0])
    (0.5, 0.25)
    """
    z = check_activate(z, activation)
    outs = (None, None) if out is None else check_outs(out, (z.shape, z.shape), z.dtype)
    plain_z = np.ascontiguousarray(z)
    a, derivative = (
        np.empty(z.shape, z.dtype)
        if each is None or not each.flags.c_contiguous or np.may_share_memory(each, z)
        else each
        for each in outs
    )
    for where, shape in _matrices(plain_z):
        plain.activate(
            plain_z.reshape(-1)[where].reshape(shape), activation,
            a.reshape(-1)[where].reshape(shape), derivative.reshape(-1)[where].reshape(shape),
        )  # fmt: skip
    return _given(outs[0], a), _given(outs[1], derivative)


def softmax(logits: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """Return the softmax of each row; see `fastmlp.reference.softmax`.

    Parameters
    ----------
    logits : ndarray of float32 or float64, (n, n_out)
    out : ndarray, (n, n_out), optional
        Where the result is written; it may be the logits.

    Returns
    -------
    ndarray, (n, n_out)
        Rows that sum to 1.

    Raises
    ------
    TypeError, ValueError
        If logits is no float matrix with at least one column.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import kernels
    >>> kernels.softmax(np.array([[1000.0, 1000.0]])).tolist()
    [[0.5, 0.5]]
    """
    logits = check_softmax(logits)
    if out is not None:
        check_out(out, logits.shape, logits.dtype)
    target = _target(out, logits.shape, logits.dtype, logits)
    plain.outputs(plain.rows_contiguous(logits), "softmax", target)
    return _given(out, target)


def softmax_cross_entropy(
    logits: np.ndarray,
    y: np.ndarray,
    *,
    sample_weight: np.ndarray | None = None,
    out: np.ndarray | None = None,
) -> tuple[float, np.ndarray]:
    """Return the loss and delta of softmax outputs; see the reference's twin for the formula.

    Parameters
    ----------
    logits : ndarray of float32 or float64, (n, n_out)
    y : ndarray
        Integer labels (n,), or rows of probabilities (n, n_out).
    sample_weight : ndarray, (n,), optional
    out : ndarray, (n, n_out), optional
        Where delta is written; it may be the logits.

    Returns
    -------
    loss : float
        The (weighted) mean over samples.
    delta : ndarray, (n, n_out)
        ``w (a - y)``, not divided by the number of samples.

    Raises
    ------
    TypeError, ValueError
        If shapes, labels or weights do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import kernels
    >>> loss, delta = kernels.softmax_cross_entropy(np.zeros((1, 2)), np.array([1]))
    >>> round(loss, 4), delta.tolist()
    (0.6931, [[0.5, -0.5]])
    """
    return output_loss(
        logits, y, output="softmax", loss="cross_entropy", sample_weight=sample_weight, out=out
    )


def output_loss(
    logits: np.ndarray,
    y: np.ndarray,
    *,
    output: str,
    loss: str,
    sample_weight: np.ndarray | None = None,
    out: np.ndarray | None = None,
) -> tuple[float, np.ndarray]:
    """Return the loss of a network's logits and its delta; see the reference's twin.

    Parameters
    ----------
    logits : ndarray of float32 or float64, (n, n_out)
    y : ndarray
        Labels (n,) or targets (n, n_out).
    output : {"softmax", "sigmoid", "identity"}
    loss : str
        One that goes with the output.
    sample_weight : ndarray, (n,), optional
    out : ndarray, (n, n_out), optional
        Where delta is written; it may be the logits.

    Returns
    -------
    loss : float
        Summed over outputs, (weighted) mean over samples.
    delta : ndarray, (n, n_out)
        ``w dL/dz``, not divided by the number of samples.

    Raises
    ------
    TypeError, ValueError
        If names, shapes, targets or weights do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import kernels
    >>> z, y = np.array([[3.0]]), np.array([[1.0]])
    >>> kernels.output_loss(z, y, output="identity", loss="squared_error")
    (2.0, array([[2.]]))
    """
    logits, y, weight = check_output_loss(logits, y, output, loss, sample_weight)
    if out is not None:
        check_out(out, logits.shape, logits.dtype)
    apart = out is not None and (
        not out.flags.c_contiguous or any(np.may_share_memory(out, a) for a in (logits, y))
    )
    delta = np.empty(logits.shape, logits.dtype) if out is None or apart else out
    losses = plain.loss(np.ascontiguousarray(logits), y, weight, (output, loss), delta)
    total = len(losses) if weight is None else weight.sum()
    return float(losses.sum() / total), _given(out, delta)


def dense(
    x: np.ndarray,
    weights: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    activation: str = "identity",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Return ``f(x W + b)``, fused; see `fastmlp.reference.dense`.

    Parameters
    ----------
    x : ndarray, (n, n_in)
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
    >>> from fastmlp import kernels
    >>> kernels.dense(np.ones((1, 2)), np.ones((2, 1)), np.array([-3.0]), activation="relu")
    array([[0.]])
    """
    x, weights, bias = check_dense(x, weights, bias, activation)
    shape, dtype = (x.shape[0], weights.shape[1]), weights.dtype
    if out is None:
        target = np.empty(shape, dtype)
    else:
        check_out(out, shape, dtype)
        target = _target(out, shape, dtype, x, weights, *([] if bias is None else [bias]))
    plain.dense(x, weights, bias, activation, target)
    return _given(out, target)


def dense_backward(
    delta: np.ndarray,
    x: np.ndarray,
    weights: np.ndarray,
    *,
    out: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return ``x^T delta``, the sum of delta and ``delta W^T``; see the reference's twin.

    Parameters
    ----------
    delta : ndarray, (n, n_out)
    x : ndarray, (n, n_in)
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
    >>> from fastmlp import kernels
    >>> x, delta = np.array([[1.0, 2.0]]), np.array([[3.0]])
    >>> kernels.dense_backward(delta, x, np.array([[1.0], [1.0]]))[0].tolist()
    [[3.0], [6.0]]
    """
    delta, x, weights = check_dense_backward(delta, x, weights)
    shapes = weights.shape, (weights.shape[1],), x.shape
    dtype = weights.dtype
    if out is None:
        dw, db, dx = (np.empty(shape, dtype) for shape in shapes)
        plain.backward(delta, x, weights, (dw, db, dx))
        return dw, db, dx
    outs = check_outs(out, shapes, dtype)
    targets = [
        _target(each, shape, dtype, delta, x, weights)
        for each, shape in zip(outs, shapes, strict=True)
    ]
    if not targets[1].flags.c_contiguous:
        targets[1] = np.empty(shapes[1], dtype)
    plain.backward(delta, x, weights, (targets[0], targets[1], targets[2]))
    dw, db, dx = (_given(each, target) for each, target in zip(outs, targets, strict=True))
    return dw, db, dx
