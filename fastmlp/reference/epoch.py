"""An epoch of mini-batch gradient descent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..architecture import Architecture
from ..contract import signatures
from ..contract.operations import (
    DataSet,
    EpochResult,
    StepSettings,
    check_train_epoch,
    implements,
    read_rows,
)
from ..contract.splitting import layer_parts
from ..optimizers import OptimizerState
from ..regularization import Regularization
from .backprop import batch_gradients
from .dropout import key_words
from .optimizers import optimizer_step
from .penalties import clip_by_global_norm, limit_norms

__all__ = ["count_correct", "train_epoch", "train_steps"]

Arrays = Sequence[np.ndarray]


def count_correct(logits: np.ndarray, y: np.ndarray, output: str) -> int:
    """Return how many rows are predicted right: the largest logit, or every side of one half."""
    if output == "softmax":
        labels = y if y.ndim == 1 else y.argmax(axis=1)
        return int((logits.argmax(axis=1) == labels).sum())
    return int(((logits > 0) == (y > 0.5)).all(axis=1).sum())


@implements(signatures.train_epoch)
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
    """Take the steps of `train_steps`."""
    X, y, order, size, rates, l2, weight = check_train_epoch(
        X, y, weights, biases, architecture, optimizer, state,
        order, batch_size, learning_rate, l2, sample_weight,
    )  # fmt: skip
    settings = StepSettings(optimizer, state, size, Regularization(l2=l2))
    data = DataSet(X, y, weight)
    return train_steps(data, weights, biases, architecture, settings, order, rates)


def train_steps(
    data: DataSet,
    weights: Arrays,
    biases: Arrays,
    architecture: Architecture,
    settings: StepSettings,
    order: np.ndarray,
    rates: np.ndarray,
    key: np.ndarray | None = None,
) -> EpochResult:
    """Take one step per batch of `order`, over arguments that are checked already.

    A step is gradients of the loss with its penalties (`batch_gradients`), clipped
    (`clip_by_global_norm`), the optimizer's rule (`optimizer_step`), and the bound on the weights'
    norms (`limit_norms`).

    Parameters
    ----------
    data : DataSet
    weights, biases, architecture
        As for `train_epoch`.
    settings : StepSettings
    order : ndarray of int64
    rates : ndarray of float64, one per step
    key : ndarray of uint32, (2,), optional
        For dropout; with the state's number of steps it decides which units are left out.

    Returns
    -------
    EpochResult
    """
    X, y, sample_weight = data.X, data.y, data.sample_weight
    optimizer, state, r = settings.optimizer, settings.state, settings.regularization
    # mutant +: words of layers that are not there
    batch_size, steps, n_hidden = settings.batch_size, len(rates), architecture.n_layers - 1
    losses, totals, correct = np.zeros(steps), np.zeros(steps), np.zeros(steps, int)
    parts = layer_parts(architecture, batch_size, X)
    words = None if key is None else key_words(key, state.step, steps, n_hidden)
    for step, rate in enumerate(rates):
        rows = order[step * batch_size : (step + 1) * batch_size]
        x = read_rows(X, rows, architecture.input_scale, architecture.dtype)
        w = None if sample_weight is None else sample_weight[rows]
        with np.errstate(invalid="ignore", over="ignore"):
            loss, gradients, logits = batch_gradients(
                DataSet(x, y[rows], w), weights, biases, architecture, r,
                None if words is None else words[step], parts,
            )  # fmt: skip
            arrays = [*gradients.weights, *gradients.biases]
            if r.clip_norm is not None:
                clip_by_global_norm(arrays, r.clip_norm)
            optimizer_step(optimizer, [*weights, *biases], arrays, state, learning_rate=float(rate))
            if r.max_norm is not None:
                limit_norms(weights, r.max_norm)
        totals[step] = len(rows) if w is None else w.sum()
        losses[step] = loss * totals[step]
        if architecture.output != "identity":
            correct[step] = count_correct(logits, y[rows], architecture.output)
    return EpochResult(losses, totals, correct, len(order))
