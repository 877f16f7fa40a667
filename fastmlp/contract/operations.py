"""The contract of the operations: what both backends take, check and return.

`fastmlp.reference` and `fastmlp.kernels` implement the same names over these types. Arrays of
parameters are changed in place, everything else is left alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from ..activations import ACTIVATIONS
from ..architecture import Architecture
from ..losses import OUTPUTS
from ..optimizers import Optimizer, OptimizerState
from ..regularization import Regularization
from ..support.validation import (
    as_array,
    as_rows,
    check_choice,
    check_integer,
    check_number,
    check_sample_weight,
    check_targets,
)

__all__ = [
    "DataSet",
    "EpochResult",
    "Gradients",
    "StepSettings",
    "check_activate",
    "check_dense",
    "check_dense_backward",
    "check_network_call",
    "check_optimizer_step",
    "check_out",
    "check_output_loss",
    "check_outs",
    "check_parameters",
    "check_softmax",
    "check_train_epoch",
    "implements",
    "learning_rates",
    "read_rows",
    "written",
]

Operation = TypeVar("Operation", bound=Callable[..., Any])


def implements(operation: Operation) -> Callable[[Operation], Operation]:
    """Make the decorator that describes a backend's function as one of `contract.signatures`.

    The first line and the sections are the operation's, examples call the backend; between them
    stays what the function says of itself.

    Examples
    --------
    >>> from fastmlp import reference
    >>> from fastmlp.contract import signatures
    >>> ours, first = reference.dense.__doc__.splitlines(), signatures.dense.__doc__.splitlines()[0]
    >>> ours[0] == first, ours[2]
    (True, 'Compute ``a = f(z)``, ``z = x W + b``.')
    """

    def describe(function: Operation) -> Operation:
        if operation.__doc__ and function.__doc__:  # python -OO leaves them out
            backend = function.__module__.split(".")[1]
            first, _, sections = inspect.cleandoc(operation.__doc__).partition("\n\n")
            sections = sections.replace("reference", backend)
            own = inspect.cleandoc(function.__doc__)
            function.__doc__ = f"{first}\n\n{own}\n\n{sections}\n"
        return function

    return describe


@dataclass(frozen=True)
class DataSet:
    """Samples and their targets, checked.

    Attributes
    ----------
    X : ndarray, frame or scipy sparse matrix, (n, n_in)
    y : ndarray
        Labels (n,) or targets (n, n_out).
    sample_weight : ndarray of float64, (n,), or None
    """

    X: Any
    y: np.ndarray
    sample_weight: np.ndarray | None = None


@dataclass(frozen=True)
class StepSettings:
    """How steps are taken, beside the learning rate.

    Attributes
    ----------
    optimizer : Optimizer or None
        None, in the kernels alone: gradients are summed and the parameters left alone.
    state : OptimizerState
        Changed in place, as the parameters are.
    batch_size : int
        Samples of a step.
    regularization : Regularization
    """

    optimizer: Optimizer | None
    state: OptimizerState
    batch_size: int
    regularization: Regularization = Regularization()  # noqa: RUF009  frozen


@dataclass
class Gradients:
    """Gradients of a loss, shaped as the parameters.

    Attributes
    ----------
    weights : list of ndarray, (n_in, n_out)
    biases : list of ndarray, (n_out,)
        Empty for a network without biases.
    """

    weights: list[np.ndarray]
    biases: list[np.ndarray]


@dataclass
class EpochResult:
    """What was seen while training, one number per step.

    Attributes
    ----------
    losses : ndarray of float64
        The sum over the step's samples of weight times loss, the penalty counted once per sample.
    weights : ndarray of float64
        The sum of the step's sample weights.
    correct : ndarray of int64
        How many samples were predicted right before the step's update.
    samples : int
        How many samples there were.
    """

    losses: np.ndarray
    weights: np.ndarray
    correct: np.ndarray
    samples: int

    @property
    def loss(self) -> float:
        """The mean loss over all samples, each as it was when it was seen."""
        total = float(self.weights.sum())
        return float(self.losses.sum()) / total if total > 0 else 0.0

    @property
    def accuracy(self) -> float:
        """The share of samples that were predicted right when they were seen."""
        return float(self.correct.sum() / self.samples)

    @classmethod
    def join(cls, parts: Sequence[EpochResult]) -> EpochResult:
        """Put the steps of consecutive pieces of an epoch together."""
        return cls(
            np.concatenate([part.losses for part in parts]),
            np.concatenate([part.weights for part in parts]),
            np.concatenate([part.correct for part in parts]),
            sum(part.samples for part in parts),
        )


def read_rows(X: Any, rows: Any, input_scale: float | None, dtype: Any) -> np.ndarray:
    """Return ``X[rows] / input_scale`` in `dtype`, C-ordered.

    The division happens in the type that NumPy gives to ``X / input_scale``, before the cast.

    Parameters
    ----------
    X : ndarray or scipy sparse matrix, (n_samples, n_in)
    rows : slice or integer array
    input_scale : float or None
    dtype : numpy dtype

    Returns
    -------
    ndarray, (len(rows), n_in)
    """
    part = X[rows]
    if hasattr(part, "toarray"):
        part = part.toarray()
    if input_scale is not None:
        part = part / input_scale
    return np.ascontiguousarray(part, dtype)


def learning_rates(optimizer: Optimizer, learning_rate: Any, n_steps: int) -> np.ndarray:
    """Return one learning rate per step as float64: given, an array, or the optimizer's own."""
    if learning_rate is None:
        learning_rate = optimizer.learning_rate
    try:
        rates = np.asarray(learning_rate, np.float64)
    except (TypeError, ValueError):
        raise TypeError(
            f"learning_rate: expected one number, or one per step, got {learning_rate!r}"
        ) from None
    if rates.ndim > 1 or (rates.ndim == 1 and len(rates) != n_steps):
        raise ValueError(
            f"learning_rate: expected one number or {n_steps}, one per step, "
            f"got shape {rates.shape}"
        )
    if not (np.isfinite(rates).all() and (rates >= 0).all()):
        raise ValueError("learning_rate: expected finite numbers of at least 0")
    return np.ascontiguousarray(np.broadcast_to(rates, (n_steps,)))


def _floats(name: str, array: Any, ndim: int) -> np.ndarray:
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
        raise TypeError(f"{name}: expected an array of real numbers, got {type(array).__name__}")
    if array.ndim != ndim:
        raise ValueError(f"{name}: expected {ndim} dimensions, got shape {array.shape}")
    return array if type(array) is np.ndarray else as_array(name, array)


def _weights(weights: Any) -> np.ndarray:
    weights = _floats("weights", weights, 2)
    if weights.dtype not in (np.float32, np.float64):
        raise TypeError(f"weights: expected float32 or float64, got {weights.dtype}")
    return weights


def check_out(out: Any, shape: tuple[int, ...], dtype: Any, name: str = "out") -> np.ndarray:
    """Return `out`, which a result of this shape and dtype can be written to.

    Raises
    ------
    TypeError
        If it is no array of that dtype.
    ValueError
        If it has another shape, or is read-only.
    """
    if not isinstance(out, np.ndarray):
        raise TypeError(f"{name}: expected an array, got {type(out).__name__}")
    if out.dtype != dtype:
        raise TypeError(f"{name}: expected an array of {np.dtype(dtype)}, got {out.dtype}")
    if out.shape != shape:
        raise ValueError(f"{name}: expected shape {shape}, got {out.shape}")
    if not out.flags.writeable:
        raise ValueError(f"{name}: expected an array that can be written to, got a read-only one")
    return out


def check_outs(out: Any, shapes: Sequence[tuple[int, ...]], dtype: Any) -> tuple[np.ndarray, ...]:
    """Return `out`, a tuple of arrays for results of these shapes; see `check_out`."""
    if not isinstance(out, tuple) or len(out) != len(shapes):
        raise TypeError(f"out: expected a tuple of {len(shapes)} arrays, got {out!r}")
    return tuple(
        check_out(each, shape, dtype, f"out[{i}]")
        for i, (each, shape) in enumerate(zip(out, shapes, strict=True))
    )


def written(out: np.ndarray, result: np.ndarray) -> np.ndarray:
    """Return `out`, with the result in it."""
    out[...] = result
    return out


def _arrays(name: str, arrays: Any) -> Any:
    """Check that these are arrays, in a sequence."""
    if not isinstance(arrays, Sequence):
        raise TypeError(f"{name}: expected a sequence of arrays, got {type(arrays).__name__}")
    for i, array in enumerate(arrays):
        if not isinstance(array, np.ndarray):
            raise TypeError(f"{name}[{i}]: expected an array, got {type(array).__name__}")
    return arrays


def check_activate(z: Any, activation: Any) -> np.ndarray:
    """Check `activate`; return z as an array of float32 or float64."""
    check_choice("activation", activation, ACTIVATIONS)
    if not isinstance(z, np.ndarray) or z.dtype not in (np.float32, np.float64):
        raise TypeError("z: expected an array of float32 or float64")
    return z if type(z) is np.ndarray else as_array("z", z)


def check_dense(x: Any, weights: Any, bias: Any, activation: Any) -> tuple[Any, Any, Any]:
    """Check `dense`; return x and bias in the dtype of the weights."""
    check_choice("activation", activation, ACTIVATIONS)
    weights = _weights(weights)
    x = _floats("x", x, 2)
    if x.shape[1] != weights.shape[0]:
        raise ValueError(f"x: expected {weights.shape[0]} columns as weights, got {x.shape[1]}")
    if bias is not None:
        bias = _floats("bias", bias, 1).astype(weights.dtype, copy=False)
        if len(bias) != weights.shape[1]:
            raise ValueError(f"bias: expected length {weights.shape[1]}, got {len(bias)}")
    return x.astype(weights.dtype, copy=False), weights, bias


def check_dense_backward(delta: Any, x: Any, weights: Any) -> tuple[Any, Any, Any]:
    """Check `dense_backward`; return delta and x in the dtype of the weights."""
    x, weights, _ = check_dense(x, weights, None, "identity")
    delta = _floats("delta", delta, 2)
    wanted = (x.shape[0], weights.shape[1])
    if delta.shape != wanted:
        raise ValueError(f"delta: expected shape {wanted}, got {delta.shape}")
    return delta.astype(weights.dtype, copy=False), x, weights


def check_softmax(logits: Any) -> np.ndarray:
    """Check logits: float32 or float64, (n, n_out), n_out at least 1."""
    logits = _floats("logits", logits, 2)
    if logits.dtype not in (np.float32, np.float64):
        raise TypeError(f"logits: expected float32 or float64, got {logits.dtype}")
    if logits.shape[1] == 0:
        raise ValueError("logits: expected at least one column")
    return logits


def check_output_loss(
    logits: Any, y: Any, output: Any, loss: Any, sample_weight: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Check `output_loss`; return logits, targets and weights as the kernels want them."""
    check_choice("output", output, tuple(OUTPUTS))
    check_choice(f"loss with output {output!r}", loss, OUTPUTS[output])
    logits = check_softmax(logits)
    if len(logits) == 0:
        raise ValueError("logits: expected at least one row")
    targets = check_targets("y", y, len(logits), logits.shape[1], output, loss, logits.dtype)
    return logits, targets, check_sample_weight(sample_weight, len(logits))


def check_parameters(weights: Any, biases: Any, architecture: Architecture) -> None:
    """Raise where arrays are not the parameters of `architecture`."""
    if not isinstance(architecture, Architecture):
        raise TypeError(f"architecture: expected an Architecture, got {architecture!r}")
    for name, arrays, shapes in (
        ("weights", weights, architecture.layers),
        ("biases", biases, [(n_out,) for _, n_out in architecture.layers] * architecture.bias),
    ):
        got = [array.shape for array in _arrays(name, arrays)]
        if got != shapes:
            raise ValueError(f"{name}: expected shapes {shapes}, got {got}")
        if any(array.dtype != architecture.dtype for array in arrays):
            raise TypeError(f"{name}: expected arrays of {architecture.dtype}")


def check_network_call(X: Any, weights: Any, biases: Any, architecture: Architecture) -> np.ndarray:
    """Check `forward`; return X as rows."""
    check_parameters(weights, biases, architecture)
    return as_rows("X", X, architecture.n_in)


def check_optimizer_step(
    optimizer: Any, parameters: Any, gradients: Any, state: Any, learning_rate: Any
) -> float:
    """Check `optimizer_step`; return the learning rate."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"optimizer: expected an optimizer, got {optimizer!r}")
    if not isinstance(state, OptimizerState):
        raise TypeError(f"state: expected an OptimizerState, got {state!r}")
    shapes = [p.shape for p in _arrays("parameters", parameters)]
    for i, p in enumerate(parameters):
        if p.dtype not in (np.float32, np.float64):
            raise TypeError(f"parameters[{i}]: expected float32 or float64, got {p.dtype}")
    if [g.shape for g in _arrays("gradients", gradients)] != shapes:
        raise ValueError(
            f"gradients: expected shapes {shapes} as parameters, got {[g.shape for g in gradients]}"
        )
    if len(state.slots) != optimizer.slots or any(
        [s.shape for s in slot] != shapes for slot in state.slots
    ):
        raise ValueError(f"state: expected {optimizer.slots} slots shaped as parameters")
    for name, arrays in (("parameters", [parameters]), ("state", state.slots)):
        if not all(array.flags.writeable for each in arrays for array in each):
            raise ValueError(f"{name}: expected arrays that can be written to, got a read-only one")
    if learning_rate is None:
        return optimizer.learning_rate
    return check_number("learning_rate", learning_rate, low=0.0)


def check_train_epoch(
    X: Any,
    y: Any,
    weights: Any,
    biases: Any,
    architecture: Architecture,
    optimizer: Any,
    state: Any,
    order: Any,
    batch_size: Any,
    learning_rate: Any,
    l2: Any,
    sample_weight: Any,
) -> tuple[Any, np.ndarray, np.ndarray, int, np.ndarray, float, np.ndarray | None]:
    """Check `train_epoch`; return X, targets, order, batch size, rates, l2 and sample weights."""
    X = check_network_call(X, weights, biases, architecture)
    n = X.shape[0]
    if n == 0:
        raise ValueError("X: expected at least one sample, got none")
    a = architecture
    targets = check_targets("y", y, n, a.n_out, a.output, a.loss, np.dtype(a.dtype))
    weight = check_sample_weight(sample_weight, n)
    order = np.arange(n) if order is None else np.asarray(order)
    if order.size and order.dtype.kind not in "iu":
        raise TypeError(f"order: expected integers, got dtype {order.dtype}")
    order = np.ascontiguousarray(order, np.int64)
    if order.ndim != 1 or len(order) == 0 or order.min() < 0 or order.max() >= n:
        raise ValueError(f"order: expected sample numbers from 0 to {n - 1}")
    size = len(order) if batch_size is None else check_integer("batch_size", batch_size, low=1)
    size = min(size, len(order))
    parameters = [*weights, *biases]
    check_optimizer_step(optimizer, parameters, parameters, state, None)
    rates = learning_rates(optimizer, learning_rate, -(-len(order) // size))
    return X, targets, order, size, rates, check_number("l2", l2, low=0.0), weight
