"""The loss and its gradients, with no step taken."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...contract.operations import DataSet, Gradients, StepSettings
from ...contract.parameters import Parameters
from ...optimizers import OptimizerState
from .training import Training

__all__ = ["gradients"]


def gradients(
    parameters: Parameters,
    X: Any,
    y: np.ndarray,
    l2: float,
    sample_weight: np.ndarray | None,
    threads: int | None,
) -> tuple[float, Gradients]:
    """Return the mean loss over all samples with its penalty, and the gradients."""
    n = X.shape[0]
    data, settings = DataSet(X, y, sample_weight), StepSettings(None, OptimizerState(), n)
    training = Training(parameters, data, settings, threads=threads)
    result = training.train(np.arange(n), np.zeros(1))
    flat, total = training.gradient[: parameters.size], result.weights[0]
    flat /= parameters.dtype.type(total)
    weights, biases = parameters.views(flat)
    loss = result.loss
    if l2 > 0:
        for gradient, w in zip(weights, parameters.weights, strict=True):
            gradient += parameters.dtype.type(l2) * w
            loss += l2 / 2 * float(np.square(w).sum(dtype=np.float64))
    return loss, Gradients([np.ascontiguousarray(w) for w in weights], [b.copy() for b in biases])
