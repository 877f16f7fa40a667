"""What a training run looked like, epoch by epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["History", "check_history"]

_NAMES = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds")


@dataclass
class History:
    """One number per epoch in each list.

    ``history["loss"]`` is a list. A loop goes through the epochs, so that
    ``pandas.DataFrame(history)`` is a table of them.

    Attributes
    ----------
    loss : list of float
        The mean training loss seen during the epoch, the penalty included.
    accuracy : list of float
        The share of training samples that were predicted right when they were seen; empty for
        an identity output.
    val_loss, val_accuracy : list of float
        On the validation data, after the epoch; empty without such data.
    learning_rate : list of float
        At the epoch's first step.
    seconds : list of float
        How long the epoch took, validation included.
    metrics : dict of list of float
        What `fit` was asked for beside these, by name: of validation data as ``val_NAME``.
    interrupted : bool
        Whether Ctrl-C ended the run before its time.

    Examples
    --------
    >>> import numpy as np, fastmlp
    >>> net = fastmlp.MLP((2, 3, 2), rng=0, backend="numpy")
    >>> history = net.fit(np.eye(2), [0, 1], epochs=3)
    >>> len(history), history["loss"] is history.loss, "val_loss" in history
    (3, True, False)
    >>> [sorted(numbers) for numbers in history][0]
    ['accuracy', 'learning_rate', 'loss', 'seconds']
    """

    loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    val_loss: list[float] = field(default_factory=list)
    val_accuracy: list[float] = field(default_factory=list)
    learning_rate: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    metrics: dict[str, list[float]] = field(default_factory=dict)
    interrupted: bool = field(default=False, compare=False)

    def __len__(self) -> int:
        """Return the number of epochs."""
        return len(self.loss)

    def __getitem__(self, name: str) -> list[float]:
        """Return the list of that name, a metric's too; KeyError names those there are."""
        lists = self.as_dict()
        if name not in lists:
            raise KeyError(f"history: expected one of {', '.join(lists)}, got {name!r}")
        return lists[name]

    def __contains__(self, name: object) -> bool:
        """Tell whether there are numbers of that name."""
        return bool(self.as_dict().get(name))  # type: ignore[call-overload]

    def __iter__(self) -> Iterator[dict[str, float]]:
        """Go through the epochs, each as `row` returns it."""
        return (self.row(epoch) for epoch in range(len(self)))

    def as_dict(self) -> dict[str, list[float]]:
        """Return the lists by name, metrics among them, as JSON can hold them."""
        return {name: getattr(self, name) for name in _NAMES} | self.metrics

    def row(self, epoch: int) -> dict[str, float]:
        """Return an epoch's numbers by name, as callbacks are given them; the first is 0."""
        lists = self.as_dict()
        ends = {name: lists.pop(name) for name in ("learning_rate", "seconds")}
        return {name: v[epoch] for name, v in (lists | ends).items() if v}

    @classmethod
    def from_dict(cls, lists: Mapping[str, list[float]]) -> History:
        """Return the history of which `as_dict` gave these lists.

        Raises
        ------
        ValueError
            If they are no lists by name, or one is missing that every history has.
        """
        if not isinstance(lists, Mapping) or not all(isinstance(v, list) for v in lists.values()):
            raise ValueError("history: expected lists by name")
        if not all(isinstance(number, int | float) for v in lists.values() for number in v):
            raise ValueError("history: expected lists of numbers")
        if not lists.keys() >= set(_NAMES):
            raise ValueError(f"history: expected {', '.join(_NAMES)}, got {', '.join(lists)}")
        history = cls(metrics={name: v for name, v in lists.items() if name not in _NAMES})
        for name in _NAMES:
            setattr(history, name, lists[name])
        return history

    def append(self, numbers: Mapping[str, float]) -> None:
        """Add an epoch's numbers, each to the list of its name."""
        for name, value in numbers.items():
            if name in _NAMES:
                getattr(self, name).append(value)
            else:
                self.metrics.setdefault(name, []).append(value)

    def _repr_html_(self) -> str | None:
        from ..report._notebook import history_html

        return history_html(self)

    def plot(self, axes: Any = None) -> Any:
        """Draw loss and accuracy over epochs; needs the ``plot`` extra.

        Parameters
        ----------
        axes : matplotlib Axes, optional
            Where the loss is drawn. By default a new figure with loss and accuracy.

        Returns
        -------
        matplotlib Axes, or an array of two
        """
        from ..plots import plot_history

        return plot_history(self, axes)


def check_history(history: Any, _: Any = None) -> History:
    """Return what is a History; raise TypeError for everything else."""
    if not isinstance(history, History):
        raise TypeError(f"history: expected a History, got {type(history).__name__}")
    return history
