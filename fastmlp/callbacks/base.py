"""The hooks of a fit, and how a watched number is compared."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..support.validation import check_choice, check_number

if TYPE_CHECKING:
    from ..network import MLP

__all__ = ["Callback", "Logs", "Monitor", "TerminateOnNaN", "check_callbacks"]

Logs = Mapping[str, float]


class Callback:
    """Base of what is called while a network trains; override the hooks that are wanted.

    Hooks are called between compiled calls: the network always stands after a whole step. One
    that raises ends the fit, and the network stays usable as it then is. ``self.net.stop_training
    = True`` ends the fit after the present batch group.

    Attributes
    ----------
    net : MLP
        The network that trains.
    params : dict
        ``epochs``, ``batch_size``, and ``steps`` and ``samples`` of an epoch (None where chunks
        have not been counted).

    Examples
    --------
    >>> import numpy as np, fastmlp
    >>> class Patience(fastmlp.callbacks.Callback):
    ...     def on_epoch_end(self, epoch, logs):
    ...         self.net.stop_training = logs["loss"] < 0.3
    >>> net = fastmlp.MLP((2, 2), rng=0, backend="numpy")
    >>> history = net.fit(np.eye(2), [0, 1], epochs=999, callbacks=[Patience()])
    >>> 1 < len(history) < 999
    True
    """

    net: MLP
    params: dict[str, Any]

    def __init_subclass__(cls, **options: Any) -> None:
        """Raise TypeError for a hook that nothing calls, such as Keras' ``on_batch_end``."""
        super().__init_subclass__(**options)
        for name in vars(cls):
            if name.startswith("on_") and not hasattr(Callback, name):
                hooks = ", ".join(hook for hook in dir(Callback) if hook.startswith("on_"))
                raise TypeError(f"{cls.__name__}.{name}: expected one of {hooks}")

    def __repr__(self) -> str:
        """Return the class, and what it watches or writes; messages have it."""
        return f"{type(self).__name__}()"

    def check(self, names: Sequence[str]) -> None:
        """Raise ValueError unless what is watched is among `names`, the logs of an epoch's end.

        Called before anything changes.
        """

    def on_train_begin(self, logs: Logs) -> None:
        """Run before the first epoch; `logs` is empty."""

    def on_train_end(self, logs: Logs) -> None:
        """Run after the last epoch, after Ctrl-C too, with that epoch's logs."""

    def on_epoch_begin(self, epoch: int, logs: Logs) -> None:
        """Run before epoch number `epoch`, the first is 0; `logs` is empty."""

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Run after the epoch and its validation.

        `logs` is what the history has of it: loss, accuracy, val_loss, ..., learning_rate,
        seconds.
        """

    def on_batch_group_begin(self, step: int, logs: Logs) -> None:
        """Run before a group of steps of about 0.1 s; `step` counts within the epoch."""

    def on_batch_group_end(self, step: int, logs: Logs) -> None:
        """Run after a group of steps; `step` is the number of steps done in the epoch.

        `logs` has the group's loss, its number of samples and, for classifiers, its accuracy.
        """

    def close(self) -> None:
        """Give back what is open; run last, also where an error ended the fit."""


def check_callbacks(callbacks: Sequence[Callback], names: Sequence[str]) -> None:
    """Raise TypeError or ValueError, which says whose it is, unless all find what they watch."""
    for callback in callbacks:
        try:
            callback.check(names)
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"callbacks: {callback!r}: {error}") from None


class TerminateOnNaN(Callback):
    """End the fit with a warning as soon as the loss is NaN or infinite; `fit` does not raise."""

    def on_batch_group_end(self, step: int, logs: Logs) -> None:
        """Look at the group's loss."""
        if not math.isfinite(logs["loss"]):
            self.net.stop_training = True


_RISING = ("accuracy", "auc", "f1", "precision", "recall", "r2", "score")


class Monitor:
    """Compares a watched number with the best so far.

    Parameters
    ----------
    name : str
        As in the history: ``"val_loss"``, ``"val_accuracy"``, ``"val_f1"`` ...
    mode : {"min", "max"}, optional
        Which way is better; by default it follows from names that end in loss or error, or in
        accuracy, auc, f1, precision, recall, r2 or score.
    min_delta : float, default 0
        The least change that is an improvement.
    """

    def __init__(self, name: Any, mode: Any = None, min_delta: Any = 0.0) -> None:
        if not isinstance(name, str):
            raise TypeError(f"monitor: expected a name of the history, got {name!r}")
        if mode is None:
            if name.endswith(("loss", "error")):
                mode = "min"
            elif name.endswith(_RISING):
                mode = "max"
            else:
                raise ValueError(f"mode: expected 'min' or 'max' for {name!r}, got None")
        self.name, self.mode = name, check_choice("mode", mode, ("min", "max"))
        self.min_delta = check_number("min_delta", min_delta, low=0.0)
        self.reset()

    def reset(self) -> None:
        """Forget the best."""
        self.best = math.inf if self.mode == "min" else -math.inf

    def check(self, names: Sequence[str]) -> None:
        """Raise unless the run's logs have the name."""
        if self.name not in names:
            validated = any(name.startswith("val_") for name in names)
            needs = self.name.startswith("val_") and not validated
            hint = ", which needs validation data" if needs else ""
            raise ValueError(
                f"monitor: expected one of {', '.join(names)}, got {self.name!r}{hint}"
            )

    def improved(self, logs: Logs) -> bool:
        """Tell whether the number is better than the best so far, and if so, note it."""
        value = logs[self.name]
        gain = self.best - value if self.mode == "min" else value - self.best
        if gain > self.min_delta:  # never so for NaN
            self.best = value
            return True
        return False
