"""What holds a network back in a step, beside the optimizer: checked once, handed down as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .architecture import Architecture
from .support.validation import check_number

__all__ = ["Regularization", "get_regularization", "threshold"]

_SMOOTHED = ("cross_entropy", "binary_cross_entropy")


@dataclass(frozen=True)
class Regularization:
    """Settings of a step; formulas stand in `fastmlp.reference`.

    Attributes
    ----------
    dropout : tuple of float
        The share of activations set to 0, one per hidden layer; empty where there is none at all.
    l1, l2 : float
        ``l1 sum |W| + l2 / 2 sum W^2`` is added to the loss, biases excluded.
    label_smoothing : float
        The share of a target that is spread over all classes.
    clip_norm : float or None
        The most that the norm of the whole gradient may be.
    max_norm : float or None
        The most that the norm of each neuron's incoming weights may be after a step.
    """

    dropout: tuple[float, ...] = ()
    l1: float = 0.0
    l2: float = 0.0
    label_smoothing: float = 0.0
    clip_norm: float | None = None
    max_norm: float | None = None

    @property
    def whole(self) -> bool:
        """Whether a step has to know the whole gradient, or to change weights after it."""
        return self.l1 > 0 or self.clip_norm is not None or self.max_norm is not None


def threshold(rate: float) -> np.uint32:
    """Return ``rate * 2^32``, rounded: a draw below it leaves its activation out."""
    return np.uint32(min(round(rate * 2**32), 2**32 - 1))


def _dropout(dropout: Any, n_hidden: int) -> tuple[float, ...]:
    if isinstance(dropout, np.ndarray) and dropout.ndim:
        dropout = list(dropout)
    if isinstance(dropout, Sequence) and not isinstance(dropout, str):
        rates = tuple(check_number("dropout", r, low=0.0, below=1.0) for r in dropout)
        if len(rates) != n_hidden:
            raise ValueError(
                f"dropout: expected one rate, or {n_hidden} for the hidden layers, got {len(rates)}"
            )
    else:
        rates = (check_number("dropout", dropout, low=0.0, below=1.0),) * n_hidden
        if dropout and not n_hidden:
            raise ValueError(f"dropout: expected 0 without hidden layers, got {dropout!r}")
    return rates if any(rates) else ()


def get_regularization(
    architecture: Architecture,
    *,
    dropout: Any = 0.0,
    l1: Any = 0.0,
    l2: Any = 0.0,
    label_smoothing: Any = 0.0,
    clip_norm: Any = None,
    max_norm: Any = None,
) -> Regularization:
    """Return the settings, checked against the architecture.

    Raises
    ------
    TypeError, ValueError
        If an argument is not a number within its range, or does not go with the architecture.

    Examples
    --------
    >>> from fastmlp.architecture import Architecture
    >>> from fastmlp.regularization import get_regularization
    >>> get_regularization(Architecture((4, 8, 8, 2)), dropout=0.5).dropout
    (0.5, 0.5)
    """
    rates = _dropout(dropout, architecture.n_layers - 1)
    smoothing = check_number("label_smoothing", label_smoothing, low=0.0, below=1.0)
    if smoothing and architecture.loss not in _SMOOTHED:
        raise ValueError(
            f"label_smoothing: expected 0 for {architecture.loss}, got {label_smoothing!r}"
        )
    return Regularization(
        dropout=rates,
        l1=check_number("l1", l1, low=0.0),
        l2=check_number("l2", l2, low=0.0),
        label_smoothing=smoothing,
        clip_norm=None if clip_norm is None else check_number("clip_norm", clip_norm, above=0.0),
        max_norm=None if max_norm is None else check_number("max_norm", max_norm, above=0.0),
    )
