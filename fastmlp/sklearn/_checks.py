"""What estimators refuse before they train: parameters and targets that do not go together."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np

from ..architecture import Architecture, check_precision
from ..regularization import get_regularization
from ..support.validation import MOST_WEIGHT, check_integer, check_number

__all__ = [
    "check_class_weights",
    "check_continued",
    "check_n_outputs",
    "check_together",
    "hidden_sizes",
]


def hidden_sizes(estimator: Any) -> list[int]:
    """Return ``hidden_layer_sizes`` as a list of whole numbers.

    Raises
    ------
    ValueError
        If one is none, or not positive.
    """
    hidden = estimator.hidden_layer_sizes
    sizes = list(hidden) if hasattr(hidden, "__iter__") and np.ndim(hidden) else [hidden]
    if any(isinstance(size, bool) or not isinstance(size, Integral) for size in sizes):
        raise ValueError(f"hidden_layer_sizes: expected whole numbers, got {sizes}")
    if any(size <= 0 for size in sizes):
        raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
    return [int(size) for size in sizes]


def check_together(estimator: Any, hidden: Sequence[int], incremental: bool) -> None:
    """Raise where parameters do not go together.

    Parameters
    ----------
    estimator : BaseMLP
    hidden : sequence of int
        Sizes of the hidden layers.
    incremental : bool
        Whether this is ``partial_fit``.

    Raises
    ------
    TypeError, ValueError
        Naming the parameter.
    """
    e = estimator
    rates = get_regularization(Architecture([1, *hidden, 1]), dropout=e.dropout).dropout
    if e.solver == "lbfgs":
        if rates:
            raise ValueError(f"dropout: expected 0 with solver='lbfgs', got {e.dropout!r}")
        for name in ("optimizer", "schedule"):
            if getattr(e, name) is not None:
                raise ValueError(
                    f"{name}: expected None with solver='lbfgs', got {getattr(e, name)!r}"
                )
    elif incremental and e.early_stopping:
        raise ValueError("partial_fit does not support early_stopping=True")
    elif e.schedule is not None and e.learning_rate != "constant":
        raise ValueError(
            f"schedule: expected None where learning_rate is {e.learning_rate!r}, got "
            f"{e.schedule!r}"
        )
    if e.threads is not None:
        check_integer("threads", e.threads, low=1)
    if e.dtype is not None and np.dtype(e.dtype) not in (np.float32, np.float64):
        raise ValueError(f"dtype: expected float32 or float64, got {e.dtype!r}")
    if e.dtype is not None:
        check_precision(e.precision, np.dtype(e.dtype).name)


def check_class_weights(given: Any) -> None:
    """Raise where a weight of a class is none: one is a number from 0 to 1e30.

    Parameters
    ----------
    given : dict, list of dict or "balanced"

    Raises
    ------
    TypeError, ValueError
        Naming the parameter and the class.

    Examples
    --------
    >>> from fastmlp.sklearn._checks import check_class_weights
    >>> check_class_weights({"yes": -2.0})
    Traceback (most recent call last):
    ValueError: class_weight['yes']: expected a number at least 0.0, got -2.0
    """
    for weights in given if isinstance(given, list) else [given]:
        for label, weight in weights.items() if isinstance(weights, dict) else ():
            check_number(f"class_weight[{label!r}]", weight, low=0.0, high=MOST_WEIGHT)


def check_continued(estimator: Any, hidden: Sequence[int], incremental: bool) -> None:
    """Raise where the network that training would go on with is not what is asked for.

    Parameters
    ----------
    estimator : BaseMLP
        Fitted.
    hidden : sequence of int
        Sizes of the hidden layers that are asked for.
    incremental : bool
        Whether this is ``partial_fit``.

    Raises
    ------
    ValueError
        Naming the parameter.
    """
    has = [len(biases) for biases in estimator.intercepts_[:-1]]
    if hidden != has:
        anew = "fit" if incremental else "warm_start=False"
        raise ValueError(
            f"hidden_layer_sizes: expected {has}, as the network has that training goes on "
            f"with, got {hidden}; {anew} begins anew"
        )
    own, now = estimator.out_activation_, estimator._output()
    if own != now and (own, now) != ("logistic", "identity"):  # a regressor that is bounded
        raise ValueError(
            f"out_activation_: expected {now!r} where training goes on, got {own!r}, which "
            "the network was fitted with or given since"
        )


def check_n_outputs(estimator: Any, name: str, y: np.ndarray, rows: np.ndarray) -> None:
    """Raise where there is another number of values per sample than the network has outputs.

    Parameters
    ----------
    estimator : BaseMLP
        Fitted.
    name : str
        What the message calls the argument.
    y, rows : ndarray
        The targets as given, and as (n, n_out).

    Raises
    ------
    ValueError
        Naming the argument.
    """
    has = estimator.coefs_[-1].shape[1]
    if estimator._n_outputs(rows) != has:
        raise ValueError(
            f"{name}: expected as many values per sample as the network has outputs, {has}, "
            f"got y of shape {y.shape}"
        )
