"""The public operations: the signature and the description that both backends share.

What stands here is what `help` shows of `fastmlp.reference` and of `fastmlp.kernels`, each with a
paragraph of its own. The checks of arguments are in `contract.operations`.
"""

# mypy: disable-error-code="empty-body"
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..architecture import Architecture
from ..optimizers import OptimizerState
from .operations import EpochResult, Gradients

__all__ = [
    "activate",
    "dense",
    "dense_backward",
    "forward",
    "loss_and_gradients",
    "optimizer_step",
    "output_loss",
    "softmax",
    "softmax_cross_entropy",
    "train_epoch",
]

Arrays = Sequence[np.ndarray]


def activate(
    z: np.ndarray, *, activation: str, out: tuple[np.ndarray, np.ndarray] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Apply an activation to logits.

    Parameters
    ----------
    z : ndarray of float32 or float64, any shape
        The logits ``a W + b`` of a layer.
    activation : str
        One of `fastmlp.activations.ACTIVATIONS`.
    out : tuple of two ndarray, optional
        Where the results are written.

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
    >>> from fastmlp import reference
    >>> a, derivative = reference.activate(np.zeros(1), activation="sigmoid")
    >>> float(a[0]), float(derivative[0])
    (0.5, 0.25)
    """


def dense(
    x: np.ndarray,
    weights: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    activation: str = "identity",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Return ``f(x W + b)``, the activations of a layer.

    Parameters
    ----------
    x : ndarray, (n, n_in)
        Activations of the layer before, or inputs.
    weights : ndarray of float32 or float64, (n_in, n_out)
    bias : ndarray, (n_out,), optional
    activation : str, default "identity"
    out : ndarray, (n, n_out), optional
        Where the result is written.

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
    >>> from fastmlp import reference
    >>> reference.dense(np.ones((1, 2)), np.ones((2, 1)), np.array([-3.0]), activation="relu")
    array([[0.]])
    """


def dense_backward(
    delta: np.ndarray,
    x: np.ndarray,
    weights: np.ndarray,
    *,
    out: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the gradients of a layer by its weights, its biases and what it was given.

    Parameters
    ----------
    delta : ndarray, (n, n_out)
        Derivatives of the loss by the layer's z.
    x : ndarray, (n, n_in)
        What the layer was given.
    weights : ndarray of float32 or float64, (n_in, n_out)
    out : tuple of three ndarray, optional
        Where the results are written.

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
    >>> from fastmlp import reference
    >>> x, delta = np.array([[1.0, 2.0]]), np.array([[3.0]])
    >>> reference.dense_backward(delta, x, np.array([[1.0], [1.0]]))[0].tolist()
    [[3.0], [6.0]]
    """


def forward(
    X: Any, weights: Arrays, biases: Arrays, architecture: Architecture
) -> list[np.ndarray]:
    """Return the activations, layer by layer, the output last.

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
    >>> from fastmlp import reference
    >>> from fastmlp.architecture import Architecture
    >>> shape = Architecture((2, 3, 1), output="identity", dtype="float64")
    >>> weights, biases = [np.ones((2, 3)), np.ones((3, 1))], [np.zeros(3), np.zeros(1)]
    >>> [a.shape for a in reference.forward(np.ones((4, 2)), weights, biases, shape)]
    [(4, 3), (4, 1)]
    """


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
    """Return the mean loss over all samples, and its gradients.

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
    >>> from fastmlp import reference
    >>> from fastmlp.architecture import Architecture
    >>> line = Architecture((1, 1), output="identity", dtype="float64")
    >>> W, b = [np.array([[2.0]])], [np.array([0.0])]
    >>> loss, gradients = reference.loss_and_gradients(np.array([[3.0]]), [5.0], W, b, line)
    >>> loss, gradients.weights[0].tolist()
    (0.5, [[3.0]])
    """


def optimizer_step(
    optimizer: Any,
    parameters: Arrays,
    gradients: Arrays,
    state: OptimizerState,
    *,
    learning_rate: float | None = None,
) -> None:
    """Take one step: change the parameters and the state in place.

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
    >>> from fastmlp import SGD, reference
    >>> w = [np.array([[1.0]])]
    >>> optimizer = SGD(0.5)
    >>> reference.optimizer_step(optimizer, w, [np.array([[1.0]])], optimizer.start(w))
    >>> w[0].tolist()
    [[0.5]]
    """


def output_loss(
    logits: np.ndarray,
    y: np.ndarray,
    *,
    output: str,
    loss: str,
    sample_weight: np.ndarray | None = None,
    out: np.ndarray | None = None,
) -> tuple[float, np.ndarray]:
    """Return the loss of a network's logits and its delta.

    Parameters
    ----------
    logits : ndarray of float32 or float64, (n, n_out)
    y : ndarray
        Labels (n,) or targets (n, n_out); see `fastmlp.support.validation.check_targets`.
    output : {"softmax", "sigmoid", "identity"}
    loss : str
        One that goes with the output.
    sample_weight : ndarray, (n,), optional
    out : ndarray, (n, n_out), optional
        Where delta is written; it may be the logits.

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
    >>> from fastmlp import reference
    >>> z, y = np.array([[3.0]]), np.array([[1.0]])
    >>> reference.output_loss(z, y, output="identity", loss="squared_error")
    (2.0, array([[2.]]))
    """


def softmax(logits: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """Return the softmax of each row.

    Parameters
    ----------
    logits : ndarray of float32 or float64, (n, n_out)
    out : ndarray, (n, n_out), optional
        Where the result is written; it may be the logits.

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
    >>> from fastmlp import reference
    >>> reference.softmax(np.array([[1000.0, 1000.0]])).tolist()
    [[0.5, 0.5]]
    """


def softmax_cross_entropy(
    logits: np.ndarray,
    y: np.ndarray,
    *,
    sample_weight: np.ndarray | None = None,
    out: np.ndarray | None = None,
) -> tuple[float, np.ndarray]:
    """Return the cross-entropy of softmax outputs and its delta, both from logits.

    Parameters
    ----------
    logits : ndarray of float32 or float64, (n, n_out)
    y : ndarray
        Integer labels (n,), or rows of probabilities (n, n_out).
    sample_weight : ndarray, (n,), optional
    out : ndarray, (n, n_out), optional
        Where delta is written; it may be the logits.

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
    >>> from fastmlp import reference
    >>> loss, delta = reference.softmax_cross_entropy(np.zeros((1, 2)), np.array([1]))
    >>> round(loss, 4), delta.tolist()
    (0.6931, [[0.5, -0.5]])
    """


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
