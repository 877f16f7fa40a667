"""The whole network: forward, and the gradients by back-propagation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..architecture import Architecture
from ..contract import signatures
from ..contract.operations import (
    DataSet,
    Gradients,
    check_network_call,
    implements,
    read_rows,
)
from ..regularization import Regularization
from ..support.validation import check_number, check_sample_weight, check_targets
from .activations import activation_function
from .dropout import dropout_factors
from .losses import output_function, sample_losses, smooth_targets
from .penalties import penalty, penalty_gradient
from .products import product

__all__ = ["batch_gradients", "forward", "hidden_and_logits", "loss_and_gradients"]

Arrays = Sequence[np.ndarray]


def hidden_and_logits(
    x: np.ndarray,
    weights: Arrays,
    biases: Arrays,
    architecture: Architecture,
    dropout: Sequence[float] = (),
    words: np.ndarray | None = None,
    parts: Sequence[int] = (),
) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
    """Return ``[a_0, a_1, ...]``, ``[f_1'(z_1), ...]`` of the hidden layers, and the logits.

    With `dropout`, a rate per hidden layer, both are multiplied by `dropout_factors`; `words`
    are the step's, (n_hidden, 2). `parts` are those of each layer's `product`, none by default.
    """
    activations, derivatives = [x], []
    for layer, weight in enumerate(weights):
        z = product(activations[-1], weight, parts[layer] if parts else 0)
        if biases:
            z = z + biases[layer]
        if layer == len(weights) - 1:
            break
        a, derivative = activation_function(architecture.activations[layer])(z)
        rate = dropout[layer] if dropout else 0.0
        if rate and words is not None:  # mutant or: a rate of 0 has factors of 1
            n, n_units = a.shape
            factors = dropout_factors(words[layer], n, n_units, rate, a.dtype)
            a, derivative = a * factors, derivative * factors
        activations.append(a)
        derivatives.append(derivative)
    return activations, derivatives, z


@implements(signatures.forward)
def forward(
    X: Any, weights: Arrays, biases: Arrays, architecture: Architecture
) -> list[np.ndarray]:
    """Compute ``a_0 = X / input_scale``, ``z_l = a_{l-1} W_l + b_l``, ``a_l = f_l(z_l)``."""
    X = check_network_call(X, weights, biases, architecture)
    x = read_rows(X, slice(None), architecture.input_scale, architecture.dtype)
    with np.errstate(invalid="ignore", over="ignore"):
        activations, _, logits = hidden_and_logits(x, weights, biases, architecture)
        return [*activations[1:], output_function(logits, architecture.output)]


def batch_gradients(
    data: DataSet,
    weights: Arrays,
    biases: Arrays,
    architecture: Architecture,
    regularization: Regularization,
    words: np.ndarray | None = None,
    parts: Sequence[int] = (),
) -> tuple[float, Gradients, np.ndarray]:
    """Return loss, gradients and logits of samples that are read and checked already.

    The delta of the output is ``w dL/dz``; going back, ``delta_l = (delta_{l+1} W_{l+1}^T) *
    f_l'(z_l)``. Then ``dW_l = a_{l-1}^T delta_l / sum w + l1 sign W_l + l2 W_l`` and
    ``db_l = sum_i delta_l / sum w``. `words` are the step's for dropout, (n_hidden, 2); `parts`
    are those of each layer's three products (`products`), none by default.
    """
    x, y, sample_weight, r = data.X, data.y, data.sample_weight, regularization
    parts = parts or (0,) * len(weights)
    activations, derivatives, logits = hidden_and_logits(
        x, weights, biases, architecture, r.dropout, words, parts
    )
    if r.label_smoothing:
        y = smooth_targets(
            y, r.label_smoothing, architecture.n_out, architecture.output, logits.dtype
        )
    losses, delta = sample_losses(logits, y, architecture.output, architecture.loss)
    total = float(len(x))
    if sample_weight is not None:
        total = float(sample_weight.sum())
        losses = losses * sample_weight
        delta = delta * sample_weight[:, None].astype(delta.dtype)
    # A batch whose weights are all zero has nothing to learn from: its mean is taken as 0.
    scale = 1 / total if total > 0 else 0.0  # mutant 1.0: it multiplies sums that are 0
    loss = float(losses.sum() * scale)
    loss += penalty(weights, r.l1, r.l2)

    gradients = Gradients([], [])
    for layer in reversed(range(len(weights))):
        w_gradient = product(activations[layer].T, delta, parts[layer])
        w_gradient = w_gradient * delta.dtype.type(scale)
        w_gradient = w_gradient + penalty_gradient(weights[layer], r.l1, r.l2)
        # mutant True: a copy more, of the same values
        gradients.weights.insert(0, w_gradient.astype(delta.dtype, copy=False))
        if biases:
            gradients.biases.insert(0, delta.sum(axis=0) * delta.dtype.type(scale))
        if layer > 0:
            delta = product(delta, weights[layer].T, parts[layer]) * derivatives[layer - 1]
    return loss, gradients, logits


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
    """Go back through the layers: see `batch_gradients` for the formulas."""
    X = check_network_call(X, weights, biases, architecture)
    if X.shape[0] == 0:
        raise ValueError("X: expected at least one sample, got none")
    a = architecture
    y = check_targets("y", y, X.shape[0], a.n_out, a.output, a.loss, np.dtype(a.dtype))
    weight = check_sample_weight(sample_weight, X.shape[0])
    settings = Regularization(l2=check_number("l2", l2, low=0.0))
    x = read_rows(X, slice(None), a.input_scale, a.dtype)
    with np.errstate(invalid="ignore", over="ignore"):
        data = DataSet(x, y, weight)
        loss, gradients, _ = batch_gradients(data, weights, biases, a, settings)
    return loss, gradients
