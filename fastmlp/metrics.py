"""What else than the loss is measured after every epoch: by name, or a user's own function."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .architecture import Architecture
from .support.validation import check_choice

__all__ = ["METRICS", "Metric", "get_metrics"]

_TAKEN = ("loss", "learning_rate", "seconds", "epoch")


@dataclass(frozen=True)
class Metric:
    """A number that compares targets with what the network makes of their samples.

    Parameters
    ----------
    function : callable
        ``function(y_true, y_pred)`` returns a number. Targets come as labels (softmax), a 0/1
        matrix (sigmoid) or values (n, n_out) (identity). Both may be read only.
    name : str, optional
        The key in the history; by default the function's own name.
    of : {"predictions", "outputs"}, default "predictions"
        Whether `y_pred` is what `MLP.predict` or what `MLP.predict_proba` returns.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of that kind.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp.metrics import Metric
    >>> def errors(y_true, y_pred):
    ...     return (y_true != y_pred).sum()
    >>> metric = Metric(errors)
    >>> metric.name, metric(np.array([0, 1]), np.array([[0.9, 0.1], [0.8, 0.2]]), "softmax")
    ('errors', 1.0)
    """

    function: Callable[[np.ndarray, np.ndarray], Any]
    name: str = ""
    of: str = "predictions"

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise TypeError(f"metrics: expected a function, got {self.function!r}")
        _check_called_with_two(self.function)
        name = self.name or getattr(self.function, "__name__", "")
        if not name:  # functools.partial has none of its own
            name = getattr(getattr(self.function, "func", None), "__name__", "")
        if not isinstance(name, str) or not name:
            raise TypeError(f"metrics: expected a name for {self.function!r}, as Metric(f, 'f')")
        if name in _TAKEN or name.startswith("val_"):
            raise ValueError(f"metrics: expected another name than {name!r}")
        check_choice("of", self.of, ("predictions", "outputs"))
        object.__setattr__(self, "name", name)

    def __call__(self, targets: np.ndarray, outputs: np.ndarray, output: str) -> float:
        """Return the metric of a network's outputs (n, n_out), its output being `output`."""
        if output == "softmax":
            targets = targets if targets.ndim == 1 else targets.argmax(axis=1)
        elif output == "sigmoid":
            targets = (targets > 0.5).astype(np.int64)
        predicted = outputs
        if self.of == "predictions" and output != "identity":
            predicted = outputs.argmax(axis=1) if output == "softmax" else (outputs > 0.5) * 1
        value = self.function(targets, predicted)
        try:
            return float(value)
        except (TypeError, ValueError, OverflowError):
            raise TypeError(f"metrics: expected a number from {self.name}, got {value!r}") from None


def _check_called_with_two(function: Callable[..., Any]) -> None:
    """Raise TypeError where a function says that it does not take two arguments."""
    try:
        signature = inspect.signature(function)
    except ValueError:  # one in C need not say
        return
    try:
        signature.bind(None, None)
    except TypeError:
        name = getattr(function, "__name__", repr(function))
        raise TypeError(
            f"metrics: expected a function of (y_true, y_pred), got {name}{signature}"
        ) from None


def _accuracy(y_true: np.ndarray, y_pred: np.ndarray) -> float:
    """Share of samples that are all right."""
    equal = y_true == y_pred
    return float(equal.mean() if equal.ndim == 1 else equal.all(axis=1).mean())


def _counts(y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return how often each class is right, wanted and predicted; labels count as classes."""
    if y_true.ndim == 2:
        return (y_true & y_pred).sum(0), y_true.sum(0), y_pred.sum(0)
    n = int(max(y_true.max(), y_pred.max())) + 1
    right = np.bincount(y_true[y_true == y_pred], minlength=n)
    return right, np.bincount(y_true, minlength=n), np.bincount(y_pred, minlength=n)


def _balanced_accuracy(y_true: np.ndarray, y_pred: np.ndarray) -> float:
    """Mean over the classes that occur of the share that is predicted right."""
    right, wanted, _ = _counts(y_true, y_pred)
    return float((right[wanted > 0] / wanted[wanted > 0]).mean()) if wanted.any() else np.nan


def _f1(y_true: np.ndarray, y_pred: np.ndarray) -> float:
    """Mean over classes of 2 TP / (2 TP + FP + FN), over those that occur or are predicted."""
    right, wanted, predicted = _counts(y_true, y_pred)
    total = wanted + predicted
    return float((2 * right[total > 0] / total[total > 0]).mean()) if total.any() else np.nan


def _top_5_accuracy(y_true: np.ndarray, outputs: np.ndarray) -> float:
    """Share of samples with fewer than 5 classes that are likelier than the right one."""
    chosen = np.take_along_axis(outputs, y_true[:, None], axis=1)
    return float(((outputs > chosen).sum(axis=1) < 5).mean())


def _mean_absolute_error(y_true: np.ndarray, y_pred: np.ndarray) -> float:
    return float(np.abs(y_true - y_pred).mean(dtype=np.float64))


def _mean_squared_error(y_true: np.ndarray, y_pred: np.ndarray) -> float:
    return float(np.square(y_true - y_pred).mean(dtype=np.float64))


def _r2(y_true: np.ndarray, y_pred: np.ndarray) -> float:
    """1 - SS_residual / SS_total, the mean over outputs."""
    residual = np.square(y_true - y_pred).sum(axis=0, dtype=np.float64)
    total = np.square(y_true - y_true.mean(axis=0)).sum(axis=0, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.mean(1 - residual / total))


METRICS: dict[str, tuple[Metric, tuple[str, ...]]] = {
    name: (Metric(function, name, of), outputs)
    for name, function, of, outputs in (
        ("accuracy", _accuracy, "predictions", ("softmax", "sigmoid")),
        ("balanced_accuracy", _balanced_accuracy, "predictions", ("softmax", "sigmoid")),
        ("f1", _f1, "predictions", ("softmax", "sigmoid")),
        ("top_5_accuracy", _top_5_accuracy, "outputs", ("softmax",)),
        ("mean_absolute_error", _mean_absolute_error, "predictions", ("identity",)),
        ("mean_squared_error", _mean_squared_error, "predictions", ("identity",)),
        ("r2", _r2, "predictions", ("identity",)),
    )
}
"""The metrics that have a name, and the outputs they are for."""


def get_metrics(metrics: Any, architecture: Architecture) -> tuple[Metric, ...]:
    """Return what is to be measured beside loss and accuracy, which are measured anyway.

    Parameters
    ----------
    metrics : sequence of str, callable or Metric
    architecture : Architecture

    Raises
    ------
    TypeError, ValueError
        If one is not known, does not go with the output, or two have one name.
    """
    if isinstance(metrics, str) or not isinstance(metrics, Sequence):
        raise TypeError(f"metrics: expected a sequence of names or functions, got {metrics!r}")
    found: list[Metric] = []
    for item in metrics:
        if isinstance(item, str):
            check_choice("metrics", item, tuple(METRICS))
            metric, outputs = METRICS[item]
            check_choice(f"output with metric {item!r}", architecture.output, outputs)
            if item == "accuracy":
                continue
        else:
            metric = item if isinstance(item, Metric) else Metric(item)
            if metric.name == "accuracy":
                raise ValueError("metrics: expected another name than 'accuracy' for a function")
        if metric.name in {other.name for other in found}:
            raise ValueError(f"metrics: expected different names, got {metric.name!r} twice")
        found.append(metric)
    return tuple(found)
