"""Early stopping."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..support.interrupts import CtrlC
from ..support.validation import check_bool, check_integer, check_number
from .base import Callback, Logs, Monitor

__all__ = ["EarlyStopping"]


class EarlyStopping(Callback):
    """End the fit when a watched number has stopped improving, and go back to the best epoch.

    Parameters
    ----------
    monitor : str, default "val_loss"
        A name of the history.
    patience : int, default 10
        The fit ends after so many epochs without an improvement (0 as 1).
    min_delta : float, default 0
        The least change that is an improvement.
    mode : {"min", "max"}, optional
        Which way is better; by default it follows from the name.
    restore_best : bool, default True
        Whether the parameters of the best epoch are put back at the end, after Ctrl-C too. What
        the optimizer remembers stays as it is.
    validation_fraction : float in (0, 1), default 0.1
        The share of samples that `fit` holds out where a ``val_`` number is watched and no
        validation data are given; a classifier's is drawn class by class.

    Attributes
    ----------
    best : float
        The best number seen.
    best_epoch : int or None
        Its epoch, the first is 0.
    stopped_epoch : int or None
        After which epoch the fit was ended; None if it was not.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of that kind.

    Examples
    --------
    >>> import numpy as np, fastmlp
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(60, 4)), rng.integers(0, 2, 60)  # nothing to be learnt
    >>> stopping = fastmlp.EarlyStopping(patience=3)
    >>> net = fastmlp.MLP((4, 32, 2), rng=0, backend="numpy")
    >>> history = net.fit(X, y, epochs=500, optimizer="adam", early_stopping=stopping)
    >>> len(history) < 500, stopping.best == min(history.val_loss)
    (True, True)
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        *,
        patience: int = 10,
        min_delta: float = 0.0,
        mode: str | None = None,
        restore_best: bool = True,
        validation_fraction: float = 0.1,
    ) -> None:
        self._monitor = Monitor(monitor, mode, min_delta)
        self.patience = check_integer("patience", patience, low=0)
        self.restore_best = check_bool("restore_best", restore_best)
        self.validation_fraction = check_number(
            "validation_fraction", validation_fraction, above=0.0, below=1.0
        )
        self._start()

    def _start(self) -> None:
        self._monitor.reset()
        self.best_epoch: int | None = None
        self.stopped_epoch: int | None = None
        self._waited = 0

    def __repr__(self) -> str:
        """Return what is watched, and for how long."""
        return f"{type(self).__name__}({self.monitor!r}, patience={self.patience})"

    @property
    def monitor(self) -> str:
        """What is watched."""
        return self._monitor.name

    @property
    def best(self) -> float:
        """The best number seen; infinite before the first."""
        return self._monitor.best

    def check(self, names: Sequence[str]) -> None:
        """Raise unless what is watched is among `names`."""
        self._monitor.check(names)

    def on_train_begin(self, logs: Logs) -> None:
        """Begin anew, or where the run that is resumed was."""
        self._start()
        history = self.net.history
        for epoch in range(len(history)):
            self._look(epoch, history.row(epoch))
        if history.loss and self.best_epoch == len(history) - 1:
            self._keep()

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Keep the parameters of a better epoch; end the fit when patience is at its end."""
        self._look(epoch, logs)
        if self.best_epoch == epoch:
            self._keep()

    def _keep(self) -> None:
        if self.restore_best:
            self.net._best = self.net._parameters.flat.copy()

    def _look(self, epoch: int, logs: Logs) -> None:
        if self._monitor.improved(logs):
            self.best_epoch, self._waited = epoch, 0
            return
        self._waited += 1
        if self._waited >= self.patience:
            self.stopped_epoch = epoch
            self.net.stop_training = True

    def on_train_end(self, logs: Logs) -> None:
        """Put the best parameters back."""
        if self.restore_best and self.net._best is not None:
            with CtrlC():
                self.net._parameters.flat[:] = self.net._best

    def close(self) -> None:
        """Forget the parameters kept."""
        self.net._best = None


def get_early_stopping(early_stopping: Any) -> EarlyStopping | None:
    """Return the object itself, a new one for True, None for None or False.

    Raises
    ------
    TypeError
        If it is none of these.
    """
    if early_stopping is None or early_stopping is False:
        return None
    if early_stopping is True:
        return EarlyStopping()
    if not isinstance(early_stopping, EarlyStopping):
        raise TypeError(
            f"early_stopping: expected True, False, None or an EarlyStopping, "
            f"got {early_stopping!r}"
        )
    return early_stopping
