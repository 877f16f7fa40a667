"""The operations of a whole network over a caller's arrays, as `layer_operations` has a layer's.

Sparse X, and training, go the network's own way: through a padded copy of the parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..architecture import Architecture
from ..contract.operations import (
    EpochResult,
    Gradients,
    check_network_call,
    check_optimizer_step,
    check_train_epoch,
    read_rows,
)
from ..contract.parameters import Parameters
from ..optimizers import OptimizerState
from ..regularization import Regularization
from ..support.validation import check_number, check_sample_weight, check_targets
from .run import network, plain
from .run.gradients import gradients
from .run.inference import Inference
from .run.stepping import step
from .run.training import Training

__all__ = ["forward", "loss_and_gradients", "optimizer_step", "train_epoch"]

Arrays = Sequence[np.ndarray]


def _parameters(weights: Arrays, biases: Arrays, architecture: Architecture) -> Parameters:
    parameters = Parameters(architecture)
    parameters.assign(weights, biases)
    return parameters


def _rows(X: np.ndarray, architecture: Architecture) -> np.ndarray:
    """Return X as the network reads it: itself where its dtype is the network's."""
    if X.dtype == architecture.dtype and architecture.input_scale is None:
        return X
    return read_rows(X, slice(None), architecture.input_scale, architecture.dtype)


def forward(
    X: Any, weights: Arrays, biases: Arrays, architecture: Architecture
) -> list[np.ndarray]:
    """Return the activations, layer by layer; see `fastmlp.reference.forward`.

    Parameters
    ----------
    X : array, frame or sparse matrix, (n, n_in)
    weights : sequence of ndarray, (n_in, n_out) each
    biases : sequence of ndarray, (n_out,) each
        Empty without biases.
    architecture : Architecture

    Returns
    -------
    list of ndarray, (n, n_out) each

    Raises
    ------
    TypeError, ValueError
        If X or the parameters do not fit the architecture.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import kernels
    >>> from fastmlp.architecture import Architecture
    >>> shape = Architecture((2, 3, 1), output="identity", dtype="float64")
    >>> weights, biases = [np.ones((2, 3)), np.ones((3, 1))], [np.zeros(3), np.zeros(1)]
    >>> [a.shape for a in kernels.forward(np.ones((4, 2)), weights, biases, shape)]
    [(4, 3), (4, 1)]
    """
    X = check_network_call(X, weights, biases, architecture)
    if not isinstance(X, np.ndarray):
        return Inference(_parameters(weights, biases, architecture), None).activations(X)
    activations = network.hidden_and_logits(_rows(X, architecture), weights, biases, architecture)
    plain.outputs(activations[-1], architecture.output, activations[-1])
    return activations


def loss_and_gradients(
    X: Any,
    y: Any,
    weights: Arrays,
    biases: Arrays,
    architecture: Architecture,
    *,
    l2: float = 0.0,
    sample_weight: Any = None,
) -> tuple[float, Gradients]:
    """Return the mean loss and its gradients; see `fastmlp.reference.loss_and_gradients`.

    Parameters
    ----------
    X : array, frame or sparse matrix, (n, n_in)
    y : array
        Labels (n,) or targets (n, n_out).
    weights, biases : sequences of ndarray
    architecture : Architecture
    l2 : float, default 0
        Adds ``l2 / 2 * sum(W^2)`` over all weights, biases excluded.
    sample_weight : array, (n,), optional

    Returns
    -------
    loss : float
        The penalty included.
    gradients : Gradients

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit the architecture.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import kernels
    >>> from fastmlp.architecture import Architecture
    >>> line = Architecture((1, 1), output="identity", dtype="float64")
    >>> W, b = [np.array([[2.0]])], [np.array([0.0])]
    >>> loss, gradients = kernels.loss_and_gradients(np.array([[3.0]]), [5.0], W, b, line)
    >>> loss, gradients.weights[0].tolist()
    (0.5, [[3.0]])
    """
    X = check_network_call(X, weights, biases, architecture)
    if X.shape[0] == 0:
        raise ValueError("X: expected at least one sample, got none")
    a = architecture
    targets = check_targets("y", y, X.shape[0], a.n_out, a.output, a.loss, np.dtype(a.dtype))
    weight = check_sample_weight(sample_weight, X.shape[0])
    l2 = check_number("l2", l2, low=0.0)
    if isinstance(X, np.ndarray):
        rows = _rows(X, a)
        return network.loss_and_gradients(rows, targets, weights, biases, a, l2, weight)
    return gradients(_parameters(weights, biases, a), X, targets, l2, weight, None)


def optimizer_step(
    optimizer: Any,
    parameters: Arrays,
    gradients: Arrays,
    state: OptimizerState,
    *,
    learning_rate: float | None = None,
) -> None:
    """Take one step in place; see `fastmlp.reference.optimizer_step` for the rules.

    Parameters
    ----------
    optimizer : Optimizer
    parameters : sequence of ndarray
        Matrices are weights, vectors biases (only weights decay under AdamW).
    gradients : sequence of ndarray, shaped as the parameters
    state : OptimizerState
        ``optimizer.start(parameters)`` before the first step.
    learning_rate : float, optional
        Instead of the optimizer's own.

    Raises
    ------
    TypeError, ValueError
        If shapes or state do not fit; nothing is changed then.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import SGD, kernels
    >>> w = [np.array([[1.0]])]
    >>> optimizer = SGD(0.5)
    >>> kernels.optimizer_step(optimizer, w, [np.array([[1.0]])], optimizer.start(w))
    >>> w[0].tolist()
    [[0.5]]
    """
    rate = check_optimizer_step(optimizer, parameters, gradients, state, learning_rate)
    step(optimizer, rate, state.step + 1, parameters, gradients, state.slots)
    state.step += 1


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

    The whole epoch is one compiled call; see `fastmlp.reference.train_epoch`.

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
    >>> from fastmlp import SGD, kernels
    >>> from fastmlp.architecture import Architecture
    >>> line = Architecture((1, 1), output="identity", bias=False, dtype="float64")
    >>> W, optimizer = [np.zeros((1, 1))], SGD(1.0)
    >>> state = optimizer.start(W)
    >>> result = kernels.train_epoch(np.ones((1, 1)), [2.0], W, [], line, optimizer, state)
    >>> result.loss, W[0].tolist()
    (2.0, [[2.0]])
    """
    X, y, order, size, rates, l2, weight = check_train_epoch(
        X, y, weights, biases, architecture, optimizer, state,
        order, batch_size, learning_rate, l2, sample_weight,
    )  # fmt: skip
    parameters = _parameters(weights, biases, architecture)
    views = parameters.slot_views(optimizer.slots)
    for slot, given in zip(views, state.slots, strict=True):
        for view, array in zip(slot, given, strict=True):
            view[...] = array
    progress = OptimizerState(state.step, views)
    run = Training(
        parameters, X, y, weight, optimizer=optimizer, state=progress, batch_size=size,
        regularization=Regularization(l2=l2), threads=None,
    )  # fmt: skip
    result = run.train(order, rates)
    for array, view in zip([*weights, *biases], [*parameters.weights, *parameters.biases],
                           strict=True):  # fmt: skip
        array[...] = view
    for slot, given in zip(views, state.slots, strict=True):
        for view, array in zip(slot, given, strict=True):
            array[...] = view
    state.step = progress.step
    return result
