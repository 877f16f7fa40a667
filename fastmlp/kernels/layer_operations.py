"""The operations of a layer over a caller's arrays, as they lie.

Nothing is copied but what has another dtype than the result, has gaps where an operation goes over
rows, or is to be packed and has neither contiguous rows nor columns. The network's own training and
inference do not pass through here: their arrays are padded. `fastmlp.reference` has the same
operations, and docstrings with formulas and shapes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..contract import signatures
from ..contract.operations import (
    check_activate,
    check_dense,
    check_dense_backward,
    check_out,
    check_output_loss,
    check_outs,
    check_softmax,
    implements,
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


def _target(
    out: np.ndarray | None, shape: tuple[int, ...], dtype: Any, *inputs: Any, gaps: bool = False
) -> np.ndarray:
    """Return what a kernel writes to: `out`, checked, or an array that is to be copied into it. The
    kernel may leave `gaps` between rows.
    """
    if out is None:
        return np.empty(shape, dtype)
    check_out(out, shape, dtype)
    fits = out.flags.c_contiguous or (gaps and _has_rows(out))
    apart = not any(np.may_share_memory(out, a) for a in inputs)
    return out if fits and apart else np.empty(shape, dtype)


def _has_rows(array: np.ndarray) -> bool:
    """Tell whether an array is a matrix whose rows are contiguous."""
    return array.ndim == 2 and (array.shape[1] <= 1 or array.strides[1] == array.itemsize)


def _given(out: np.ndarray | None, target: np.ndarray) -> np.ndarray:
    """Return `out` with the result in it, or the result."""
    if out is None or out is target:
        return target
    out[...] = target
    return out


@implements(signatures.activate)
def activate(
    z: np.ndarray, *, activation: str, out: tuple[np.ndarray, np.ndarray] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """One kernel; the derivative comes with the value."""
    z = check_activate(z, activation)
    outs = (None, None) if out is None else check_outs(out, (z.shape, z.shape), z.dtype)
    plain_z = np.ascontiguousarray(z)
    a, derivative = (_target(each, z.shape, z.dtype, z) for each in outs)
    plain.activate(activation, plain_z, a, derivative)
    return _given(outs[0], a), _given(outs[1], derivative)


@implements(signatures.softmax)
def softmax(logits: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """The kernel of the output layer."""
    logits = check_softmax(logits)
    target = _target(out, logits.shape, logits.dtype, logits, gaps=True)
    rows = logits if _has_rows(logits) else np.ascontiguousarray(logits)
    plain.outputs(rows, "softmax", target)
    return _given(out, target)


@implements(signatures.softmax_cross_entropy)
def softmax_cross_entropy(
    logits: np.ndarray,
    y: np.ndarray,
    *,
    sample_weight: np.ndarray | None = None,
    out: np.ndarray | None = None,
) -> tuple[float, np.ndarray]:
    """`output_loss` of that pair."""
    return output_loss(
        logits, y, output="softmax", loss="cross_entropy", sample_weight=sample_weight, out=out
    )


@implements(signatures.output_loss)
def output_loss(
    logits: np.ndarray,
    y: np.ndarray,
    *,
    output: str,
    loss: str,
    sample_weight: np.ndarray | None = None,
    out: np.ndarray | None = None,
) -> tuple[float, np.ndarray]:
    """One kernel for loss, delta and what is predicted right."""
    logits, y, weight = check_output_loss(logits, y, output, loss, sample_weight)
    delta = _target(out, logits.shape, logits.dtype, logits, y)
    losses = plain.loss(np.ascontiguousarray(logits), y, weight, (output, loss), delta)
    total = len(losses) if weight is None else weight.sum()
    return float(losses.sum() / total), _given(out, delta)


@implements(signatures.dense)
def dense(
    x: np.ndarray,
    weights: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    activation: str = "identity",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """One kernel: bias and activation are applied while a tile is in registers."""
    x, weights, bias = check_dense(x, weights, bias, activation)
    shape, dtype = (x.shape[0], weights.shape[1]), weights.dtype
    target = _target(out, shape, dtype, x, weights, *([] if bias is None else [bias]), gaps=True)
    plain.dense(x, weights, bias, activation, target)
    return _given(out, target)


@implements(signatures.dense_backward)
def dense_backward(
    delta: np.ndarray,
    x: np.ndarray,
    weights: np.ndarray,
    *,
    out: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three products in one call: the weights' sum, the biases' sum, what goes back."""
    delta, x, weights = check_dense_backward(delta, x, weights)
    shapes = weights.shape, (weights.shape[1],), x.shape
    outs = (None, None, None) if out is None else check_outs(out, shapes, weights.dtype)
    targets = [
        _target(each, shape, weights.dtype, delta, x, weights, gaps=True)
        for each, shape in zip(outs, shapes, strict=True)
    ]
    plain.backward(delta, x, weights, (targets[0], targets[1], targets[2]))
    dw, db, dx = (_given(each, target) for each, target in zip(outs, targets, strict=True))
    return dw, db, dx
