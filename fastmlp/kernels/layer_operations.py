"""The operations of a layer over plain arrays: copies into padded memory, a kernel, copies out.

The network's own training and inference do not pass through here; they work in place. These are
the same kernels, for whoever wants one operation, and for the tests that hold each
against its twin in `fastmlp.reference`, whose docstrings give formulas and shapes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..contract.operations import (
    check_activate,
    check_dense,
    check_dense_backward,
    check_output_loss,
    check_softmax,
)
from ..contract.parameters import aligned_zeros, row_length
from .emit.activations import ACTIVATIONS, SLOPES
from .emit.losses import ELEMENTWISE, OUTPUTS
from .emit.optimizers import STORE
from .emit.target import current_target
from .jit.registry import launch

__all__ = [
    "activate",
    "dense",
    "dense_backward",
    "output_loss",
    "padded",
    "softmax",
    "softmax_cross_entropy",
    "vectors_of",
]

Arrays = Sequence[np.ndarray]


def padded(array: np.ndarray, dtype: Any = None) -> np.ndarray:
    """Return a copy in rows of whole vectors, zeros behind, rows and columns to 16."""
    dtype = np.dtype(dtype or array.dtype)
    rows, columns = array.shape
    length = row_length(max(16, -(-columns // 16) * 16), dtype.itemsize)
    count = max(16, -(-rows // 16) * 16)
    copy = aligned_zeros(count * length, dtype).reshape(count, length)
    copy[:rows, :columns] = array
    return copy


def vectors_of(n: int, dtype: np.dtype) -> int:
    """Return the vectors of a row of n."""
    return -(-n * dtype.itemsize // current_target().vector_bytes)


def activate(z: np.ndarray, *, activation: str) -> tuple[np.ndarray, np.ndarray]:
    """Apply an activation to logits; see `fastmlp.reference.activate`.

    Parameters
    ----------
    z : ndarray of float32 or float64, any shape
    activation : str

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
    x = padded(z.reshape(1, -1))
    y, slope = np.zeros_like(x), np.zeros_like(x)
    launch(
        "map_activation", z.dtype.name, y=y.ctypes.data, slope=slope.ctypes.data,
        x=x.ctypes.data, ld=0, rows=1, vectors=vectors_of(z.size, z.dtype),
        code=ACTIVATIONS[activation], always=1,
    )  # fmt: skip
    return y[0, : z.size].reshape(z.shape), slope[0, : z.size].reshape(z.shape)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return the softmax of each row; see `fastmlp.reference.softmax`.

    Parameters
    ----------
    logits : ndarray of float32 or float64, (n, n_out)

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
    z, out = padded(logits), np.empty(logits.shape, logits.dtype)
    launch(
        "output", logits.dtype.name, out=out.ctypes.data, ldo=out.shape[1] * out.itemsize,
        z=z.ctypes.data, ldz=z.strides[0], n=logits.shape[1], rows=logits.shape[0],
        code=OUTPUTS["softmax"],
    )  # fmt: skip
    return out


def softmax_cross_entropy(
    logits: np.ndarray, y: np.ndarray, *, sample_weight: np.ndarray | None = None
) -> tuple[float, np.ndarray]:
    """Return the loss and delta of softmax outputs; see the reference's twin for the formula.

    Parameters
    ----------
    logits : ndarray of float32 or float64, (n, n_out)
    y : ndarray
        Integer labels (n,), or rows of probabilities (n, n_out).
    sample_weight : ndarray, (n,), optional

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
        logits, y, output="softmax", loss="cross_entropy", sample_weight=sample_weight
    )


def output_loss(
    logits: np.ndarray,
    y: np.ndarray,
    *,
    output: str,
    loss: str,
    sample_weight: np.ndarray | None = None,
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
    n, n_out = logits.shape
    z = padded(logits)
    delta, losses, correct = np.zeros_like(z), np.zeros(n), np.zeros(n, np.int64)
    order = np.arange(n, dtype=np.int64)
    targets = y if y.ndim == 1 else padded(y, logits.dtype)
    where = {
        "d": delta.ctypes.data, "loss": losses.ctypes.data, "correct": correct.ctypes.data,
        "z": z.ctypes.data, "ldz": z.strides[0], "order": order.ctypes.data,
        "weight": 0 if weight is None else weight.ctypes.data, "n": n_out, "rows": n,
    }  # fmt: skip
    if y.ndim == 1:
        launch("softmax_labels", logits.dtype.name, **where, y=targets.ctypes.data)
    else:
        where |= {"t": targets.ctypes.data, "ldt": targets.strides[0]}
        if output == "softmax":
            launch("softmax_targets", logits.dtype.name, **where)
        else:
            where["code"] = ELEMENTWISE[output, loss]
            launch("elementwise_loss", logits.dtype.name, **where)
    total = n if weight is None else weight.sum()
    return float(losses.sum() / total), np.ascontiguousarray(delta[:n, :n_out])


def _tiles(n: int) -> int:
    """Return how many row tiles hold n rows."""
    return -(-n // current_target().tile_rows)


def dense(
    x: np.ndarray,
    weights: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    activation: str = "identity",
) -> np.ndarray:
    """Return ``f(x W + b)``, fused; see `fastmlp.reference.dense`.

    Parameters
    ----------
    x : ndarray, (n, n_in)
    weights : ndarray of float32 or float64, (n_in, n_out)
    bias : ndarray, (n_out,), optional
    activation : str, default "identity"

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
    (n, n_in), n_out = x.shape, weights.shape[1]
    a, w = padded(x, weights.dtype), padded(weights)
    b = padded((np.zeros(n_out) if bias is None else bias)[None, :], weights.dtype)
    h = padded(np.zeros((n, n_out), weights.dtype))
    slope = np.zeros_like(h) if activation in SLOPES else h
    launch(
        "forward", weights.dtype.name, c=h.ctypes.data, ldc=h.strides[0], a=a.ctypes.data,
        lda=a.strides[0], w=w.ctypes.data, ldw=w.strides[0], k=n_in, bias=b.ctypes.data,
        code=ACTIVATIONS[activation], slope=slope.ctypes.data, tiles=_tiles(n),
        vectors=vectors_of(n_out, weights.dtype),
    )  # fmt: skip
    return np.ascontiguousarray(h[:n, :n_out])


def dense_backward(
    delta: np.ndarray, x: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return ``x^T delta``, the sum of delta and ``delta W^T``; see the reference's twin.

    Parameters
    ----------
    delta : ndarray, (n, n_out)
    x : ndarray, (n, n_in)
    weights : ndarray of float32 or float64, (n_in, n_out)

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
    (n, n_in), n_out, dtype = x.shape, weights.shape[1], weights.dtype
    a, d, w = padded(x, dtype), padded(delta, dtype), padded(weights)
    transposed, e = padded(np.zeros((n_out, n_in), dtype)), padded(np.zeros((n, n_in), dtype))
    gradient, bias = np.zeros_like(w), padded(np.zeros((1, n_out), dtype))
    item, rows, hyper = dtype.itemsize, -(-n_in // 16) * 16, np.zeros(32, dtype)
    vectors = vectors_of(n_out, dtype)
    launch(
        "transpose", dtype.name, dst=transposed.ctypes.data, ldd=transposed.strides[0],
        src=w.ctypes.data, lds=w.strides[0],
        row_blocks=rows * item // current_target().vector_bytes, vectors=vectors,
    )  # fmt: skip
    launch(
        "backward", dtype.name, e=e.ctypes.data, lde=e.strides[0], d=d.ctypes.data,
        ldd=d.strides[0], wt=transposed.ctypes.data, ldwt=transposed.strides[0], k=n_out,
        h=e.ctypes.data, code=ACTIVATIONS["identity"], tiles=_tiles(n),
        vectors=vectors_of(n_in, dtype),
    )  # fmt: skip
    sums = {"k": n, "code": STORE, "state": 0, "hyper": hyper.ctypes.data, "vectors": vectors}
    launch(
        "update", dtype.name, w=gradient.ctypes.data, ldw=gradient.strides[0], a=a.ctypes.data,
        lda=a.strides[0], d=d.ctypes.data, ldd=d.strides[0], tiles=_tiles(n_in), **sums,
    )  # fmt: skip
    del sums["k"]
    launch(
        "bias_update", dtype.name, bias=bias.ctypes.data, d=d.ctypes.data, ldd=d.strides[0],
        rows=n, **sums,
    )  # fmt: skip
    return (
        np.ascontiguousarray(gradient[:n_in, :n_out]),
        bias[0, :n_out].copy(),
        np.ascontiguousarray(e[:n, :n_in]),
    )
