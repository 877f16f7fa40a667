"""The operations of a layer over plain arrays: copies into padded memory, a kernel, copies out.

The network's own training and inference do not pass through here; they work in place. These are
the same kernels, for whoever wants one operation, and for the tests that hold each
against its twin in `fastmlp.reference`, whose docstrings give formulas and shapes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..contract import signatures
from ..contract.operations import (
    check_activate,
    check_dense,
    check_dense_backward,
    check_output_loss,
    check_softmax,
    implements,
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


@implements(signatures.activate)
def activate(z: np.ndarray, *, activation: str) -> tuple[np.ndarray, np.ndarray]:
    """One kernel; the derivative comes with the value."""
    z = check_activate(z, activation)
    x = padded(z.reshape(1, -1))
    y, slope = np.zeros_like(x), np.zeros_like(x)
    launch(
        "map_activation", z.dtype.name, y=y.ctypes.data, slope=slope.ctypes.data,
        x=x.ctypes.data, ld=0, rows=1, vectors=vectors_of(z.size, z.dtype),
        code=ACTIVATIONS[activation], always=1,
    )  # fmt: skip
    return y[0, : z.size].reshape(z.shape), slope[0, : z.size].reshape(z.shape)


@implements(signatures.softmax)
def softmax(logits: np.ndarray) -> np.ndarray:
    """The kernel of the output layer."""
    logits = check_softmax(logits)
    z, out = padded(logits), np.empty(logits.shape, logits.dtype)
    launch(
        "output", logits.dtype.name, out=out.ctypes.data, ldo=out.shape[1] * out.itemsize,
        z=z.ctypes.data, ldz=z.strides[0], n=logits.shape[1], rows=logits.shape[0],
        code=OUTPUTS["softmax"],
    )  # fmt: skip
    return out


@implements(signatures.softmax_cross_entropy)
def softmax_cross_entropy(
    logits: np.ndarray, y: np.ndarray, *, sample_weight: np.ndarray | None = None
) -> tuple[float, np.ndarray]:
    """`output_loss` of that pair."""
    return output_loss(
        logits, y, output="softmax", loss="cross_entropy", sample_weight=sample_weight
    )


@implements(signatures.output_loss)
def output_loss(
    logits: np.ndarray,
    y: np.ndarray,
    *,
    output: str,
    loss: str,
    sample_weight: np.ndarray | None = None,
) -> tuple[float, np.ndarray]:
    """One kernel for loss, delta and what is predicted right."""
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


@implements(signatures.dense)
def dense(
    x: np.ndarray,
    weights: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    activation: str = "identity",
) -> np.ndarray:
    """One kernel: bias and activation are applied while a tile is in registers."""
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


@implements(signatures.dense_backward)
def dense_backward(
    delta: np.ndarray, x: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """W is transposed, then three kernels: what goes back, the weights' sum, the biases' sum."""
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
