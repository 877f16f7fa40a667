"""An epoch of mini-batch gradient descent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..architecture import Architecture
from ..operations import EpochResult, check_train_epoch, read_rows
from ..optimizers import OptimizerState
from .backprop import batch_gradients
from .optimizers import optimizer_step

__all__ = ["train_epoch"]

Arrays = Sequence[np.ndarray]


def count_correct(logits: np.ndarray, y: np.ndarray, output: str) -> int:
    """Return how many rows are predicted right: the largest logit, or every side of one half."""
    if output == "softmax":
        labels = y if y.ndim == 1 else y.argmax(axis=1)
        return int((logits.argmax(axis=1) == labels).sum())
    return int(((logits > 0) == (y > 0.5)).all(axis=1).sum())


def train_epoch(
    X: Any,
    y: Any,
    weights: Arrays,
    biases: Arrays,
    architecture: Architecture,
    optimizer: Any,
    state: OptimizerState,
    *,
    order: Any = None,
    batch_size: int | None = 64,
    learning_rate: Any = None,
    l2: float = 0.0,
    sample_weight: Any = None,
) -> EpochResult:
    """Go once through the samples in `order`, a step per batch; change parameters in place.

    Parameters
    ----------
    X : array, frame or sparse matrix, (n, n_in)
    y : array
        Labels (n,) or targets (n, n_out).
    weights, biases : sequences of ndarray
        Changed in place.
    architecture : Architecture
    optimizer : Optimizer
    state : OptimizerState
        Its slots are shaped as ``[*weights, *biases]``; changed in place.
    order : integer array, optional
        The samples to take, in this order; all in their own order by default.
    batch_size : int or None, default 64
        Samples per step, the last step takes what is left; None takes all at once.
    learning_rate : float or array, optional
        One for all steps or one per step, instead of the optimizer's own.
    l2 : float, default 0
    sample_weight : array, (n,), optional

    Returns
    -------
    EpochResult

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; nothing is changed then.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import SGD, reference
    >>> from fastmlp.architecture import Architecture
    >>> line = Architecture((1, 1), output="identity", bias=False, dtype="float64")
    >>> W, optimizer = [np.zeros((1, 1))], SGD(1.0)
    >>> state = optimizer.start(W)
    >>> result = reference.train_epoch(np.ones((1, 1)), [2.0], W, [], line, optimizer, state)
    >>> result.loss, W[0].tolist()
    (2.0, [[2.0]])
    """
    X, y, order, size, rates, l2, weight = check_train_epoch(
        X, y, weights, biases, architecture, optimizer, state,
        order, batch_size, learning_rate, l2, sample_weight,
    )  # fmt: skip
    losses, totals, correct = np.zeros(len(rates)), np.zeros(len(rates)), np.zeros(len(rates), int)
    for step, rate in enumerate(rates):
        rows = order[step * size : (step + 1) * size]
        x = read_rows(X, rows, architecture.input_scale, architecture.dtype)
        w = None if weight is None else weight[rows]
        with np.errstate(invalid="ignore", over="ignore"):
            loss, gradients, logits = batch_gradients(
                x, y[rows], weights, biases, architecture, l2, w
            )
            optimizer_step(
                optimizer,
                [*weights, *biases],
                [*gradients.weights, *gradients.biases],
                state,
                learning_rate=float(rate),
            )
        totals[step] = len(rows) if w is None else w.sum()
        losses[step] = loss * totals[step]
        if architecture.output != "identity":
            correct[step] = count_correct(logits, y[rows], architecture.output)
    return EpochResult(losses, totals, correct, len(order))
