"""Outputs and losses: what the last layer's logits z become, what it costs, and d cost / d z.

A loss is summed over a sample's outputs and averaged over samples, with weights w:
``loss = sum_i w_i L_i / sum_i w_i``. The delta of a sample is ``w_i dL_i / dz``; whoever adds up
gradients divides by ``sum_i w_i``. For the three outputs under their own loss ``dL/dz = a - y``.
"""

from __future__ import annotations

import numpy as np

from ..contract import signatures
from ..contract.operations import (
    check_out,
    check_output_loss,
    check_softmax,
    implements,
    written,
)
from .activations import sigmoid

__all__ = [
    "output_function",
    "output_loss",
    "sample_losses",
    "smooth_targets",
    "softmax",
    "softmax_cross_entropy",
]


@implements(signatures.softmax)
def softmax(logits: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """Compute ``a_j = exp(z_j - m) / sum_k exp(z_k - m)`` with ``m = max_k z_k``.

    The largest logit is taken off first, so that nothing overflows.
    """
    logits = check_softmax(logits)
    if out is not None:
        check_out(out, logits.shape, logits.dtype)
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.divide(e, e.sum(axis=1, keepdims=True), out=out)


def output_function(logits: np.ndarray, output: str) -> np.ndarray:
    """Return the network's outputs a from the last layer's logits z."""
    if output == "softmax":
        return softmax(logits)
    return sigmoid(logits) if output == "sigmoid" else logits


@implements(signatures.softmax_cross_entropy)
def softmax_cross_entropy(
    logits: np.ndarray,
    y: np.ndarray,
    *,
    sample_weight: np.ndarray | None = None,
    out: np.ndarray | None = None,
) -> tuple[float, np.ndarray]:
    """Compute ``L = -sum_j y_j log a_j = sum_j y_j (log sum_k exp(z_k - m) - (z_j - m))`` and
    ``dL/dz = a - y``: nothing is divided by a probability that may be 0.
    """
    return output_loss(
        logits, y, output="softmax", loss="cross_entropy", sample_weight=sample_weight, out=out
    )


def _one_hot(y: np.ndarray, like: np.ndarray) -> np.ndarray:
    if y.ndim == 2:
        return y
    rows = np.zeros_like(like)
    rows[np.arange(len(y)), y] = 1
    return rows


def smooth_targets(
    y: np.ndarray, share: float, n_out: int, output: str, dtype: np.dtype
) -> np.ndarray:
    """Return ``(1 - e) y + e / k``: k classes for softmax, 2 for each output of a sigmoid
    (Szegedy et al. 2016, section 7).

    With labels and softmax, ``dL/dz = a - (1 - e) onehot - e / k`` and
    ``L = (1 - e) (-log a_y) + e / k sum_j (-log a_j)``.

    Parameters
    ----------
    y : ndarray
        Labels (n,) or targets (n, n_out).
    share : float in [0, 1)
        The e.
    n_out : int
    output : {"softmax", "sigmoid"}
    dtype : numpy dtype

    Returns
    -------
    ndarray, (n, n_out)

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp.reference.losses import smooth_targets
    >>> smooth_targets(np.array([0]), 0.5, 2, "softmax", np.dtype("float64")).tolist()
    [[0.75, 0.25]]
    """
    rows = _one_hot(y, np.empty((len(y), n_out), dtype))
    classes = n_out if output == "softmax" else 2
    return (1 - share) * rows + dtype.type(share / classes)


def _cross_entropy(z: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    z = z - z.max(axis=1, keepdims=True)
    log_a = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    terms = np.where(y > 0, y * log_a, 0)
    return -terms, softmax(z) - y


def _binary_cross_entropy(z: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """-(y log a + (1 - y) log(1 - a)) = max(z, 0) - z y + log(1 + exp(-|z|)); delta a - y."""
    value = np.maximum(z, 0) - z * y + np.log1p(np.exp(-np.abs(z)))
    return value, sigmoid(z) - y


def _poisson(z: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """exp(z) - y z: the output is the logarithm of the rate; delta exp(z) - y."""
    return np.exp(z) - y * z, np.exp(z) - y


def _squared_error(r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """r^2 / 2, r = a - y; by a: r."""
    return r * r / 2, r


def _absolute_error(r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """|r|; by a: sign r."""
    return np.abs(r), np.sign(r)


def _huber(r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """r^2 / 2 where |r| <= 1, else |r| - 1/2; by a: r clipped to [-1, 1] (Huber 1964)."""
    size = np.abs(r)
    # mutant <: at 1 both are 1/2
    return np.where(size <= 1, r * r / 2, size - 0.5), np.clip(r, -1, 1)


_FROM_LOGITS = {
    "cross_entropy": _cross_entropy,
    "binary_cross_entropy": _binary_cross_entropy,
    "poisson": _poisson,
}
_FROM_RESIDUALS = {
    "squared_error": _squared_error,
    "absolute_error": _absolute_error,
    "huber": _huber,
}


def sample_losses(
    logits: np.ndarray, y: np.ndarray, output: str, loss: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return every sample's loss L (n,) and dL/dz (n, n_out), without weights or checks."""
    y = _one_hot(y, logits)
    if loss in _FROM_LOGITS:
        terms, delta = _FROM_LOGITS[loss](logits, y)
    else:
        a = output_function(logits, output)
        terms, delta = _FROM_RESIDUALS[loss](a - y)
        if output == "sigmoid":
            delta = delta * a * (1 - a)
    return terms.sum(axis=1, dtype=np.float64), delta


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
    """Average the losses of `sample_losses`, where the formulas stand."""
    logits, y, weight = check_output_loss(logits, y, output, loss, sample_weight)
    if out is not None:
        check_out(out, logits.shape, logits.dtype)
    losses, delta = sample_losses(logits, y, output, loss)
    if weight is None:
        mean = float(losses.mean())
    else:
        mean = float((weight * losses).sum() / weight.sum())
        delta = delta * weight[:, None].astype(delta.dtype)
    return mean, delta if out is None else written(out, delta)
