"""The operations of a whole network over a caller's arrays, as `layer_operations` has a layer's.

Sparse X, and training, go the network's own way: through a padded copy of the parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np

from ..architecture import Architecture
from ..contract import signatures
from ..contract.operations import (
    DataSet,
    EpochResult,
    Gradients,
    StepSettings,
    check_network_call,
    check_optimizer_step,
    check_train_epoch,
    implements,
    read_rows,
)
from ..contract.parameters import Parameters
from ..optimizers import OptimizerState
from ..regularization import Regularization
from ..support.validation import check_number, check_sample_weight, check_targets
from .run import plain
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


def _hidden_and_logits(
    X: np.ndarray, weights: Arrays, biases: Arrays, architecture: Architecture,
    derivatives: list[np.ndarray] | None = None,
) -> list[np.ndarray]:  # fmt: skip
    """Return the hidden layers' activations and the logits, layer by layer.

    The hidden layers' f'(z) are appended to `derivatives`, where it is given.
    """
    found, a = [], X
    names = [*architecture.activations, "identity"]
    for layer, (w, name) in enumerate(zip(weights, names, strict=True)):
        z = np.empty((len(X), w.shape[1]), w.dtype)
        apart = derivatives is not None and layer < len(names) - 1
        plain.dense(a, w, biases[layer] if biases else None, "identity" if apart else name, z)
        if derivatives is not None and apart:
            derivatives.append(np.empty_like(z))
            plain.activate(name, z, z, derivatives[-1])
        found.append(z)
        a = z
    return found


@implements(signatures.forward)
def forward(
    X: Any, weights: Arrays, biases: Arrays, architecture: Architecture
) -> list[np.ndarray]:
    """As a network predicts, but every layer is kept."""
    X = check_network_call(X, weights, biases, architecture)
    if not isinstance(X, np.ndarray):
        return Inference(_parameters(weights, biases, architecture)).activations(X, None)
    activations = _hidden_and_logits(_rows(X, architecture), weights, biases, architecture)
    plain.outputs(activations[-1], architecture.output, activations[-1])
    return activations


@implements(signatures.loss_and_gradients)
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
    """A step that stops before its update."""
    X = check_network_call(X, weights, biases, architecture)
    if X.shape[0] == 0:
        raise ValueError("X: expected at least one sample, got none")
    a = architecture
    targets = check_targets("y", y, X.shape[0], a.n_out, a.output, a.loss, np.dtype(a.dtype))
    weight = check_sample_weight(sample_weight, X.shape[0])
    l2 = check_number("l2", l2, low=0.0)
    if not isinstance(X, np.ndarray):
        return gradients(_parameters(weights, biases, a), X, targets, l2, weight, None)
    derivatives: list[np.ndarray] = []
    inputs = [_rows(X, a)]
    inputs += _hidden_and_logits(inputs[0], weights, biases, a, derivatives)
    logits = inputs.pop()
    delta = np.empty_like(logits)
    losses = plain.loss(logits, targets, weight, (a.output, a.loss), delta)
    total = len(losses) if weight is None else weight.sum()
    loss, result = float(losses.sum() / total), Gradients([], [])
    for layer in reversed(range(len(weights))):
        w, x = weights[layer], inputs[layer]
        dw, db = np.empty(w.shape, w.dtype), np.empty(w.shape[1], w.dtype)
        dx = np.empty_like(x) if layer else None
        plain.backward(delta, x, w, (dw, db, dx))
        if dx is not None:
            delta = np.multiply(dx, derivatives[layer - 1], out=dx)
        for gradient in (dw, db):
            gradient /= w.dtype.type(total)
        if l2 > 0:
            dw += w.dtype.type(l2) * w
            loss += l2 / 2 * float(np.square(w).sum(dtype=np.float64))
        result.weights.insert(0, dw)
        if biases:
            result.biases.insert(0, db)
    return loss, result


@implements(signatures.optimizer_step)
def optimizer_step(
    optimizer: Any,
    parameters: Arrays,
    gradients: Arrays,
    state: OptimizerState,
    *,
    learning_rate: float | None = None,
) -> None:
    """The kernel that a step ends with, for each array."""
    rate = check_optimizer_step(optimizer, parameters, gradients, state, learning_rate)
    step(optimizer, rate, state.step + 1, parameters, gradients, state.slots)
    state.step += 1


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
    """The whole epoch is one compiled call."""
    X, y, order, size, rates, l2, weight = check_train_epoch(
        X, y, weights, biases, architecture, optimizer, state,
        order, batch_size, learning_rate, l2, sample_weight,
    )  # fmt: skip
    parameters = Parameters(architecture)
    views = parameters.slot_views(optimizer.slots)
    ours = [*parameters.weights, *parameters.biases, *chain(*views)]
    pairs = list(zip(ours, [*weights, *biases, *chain(*state.slots)], strict=True))
    for view, array in pairs:
        view[...] = array
    progress = OptimizerState(state.step, views)
    settings = StepSettings(optimizer, progress, size, Regularization(l2=l2))
    data, repeats = DataSet(X, y, weight), int(np.bincount(order).max())
    run = Training(parameters, data, settings, threads=None, repeats=repeats)
    result = run.train(order, rates)
    for view, array in pairs:
        array[...] = view
    state.step = progress.step
    return result
