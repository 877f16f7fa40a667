"""Divergence: a loss or parameters that are finite numbers no more, and the way back."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ..contract.operations import EpochResult

if TYPE_CHECKING:
    from ..network import MLP

__all__ = ["ON_DIVERGENCE", "DivergenceError", "Watch"]

ON_DIVERGENCE = ("raise", "restore", "ignore")


class DivergenceError(ArithmeticError):
    """Training has diverged: the loss or a parameter is NaN or infinite.

    Attributes
    ----------
    epoch, step : int
        Where it was seen; the first are 1, steps count within the epoch.
    loss : float
        The mean loss of that step.

    Examples
    --------
    >>> import numpy as np, fastmlp
    >>> X = np.linspace(-1000, 1000, 64).reshape(32, 2)
    >>> net = fastmlp.MLP((2, 4, 1), output="identity", activation="relu", rng=0)
    >>> try:
    ...     history = net.fit(X, X[:, :1], batch_size=8)
    ... except fastmlp.DivergenceError as error:
    ...     print("epoch", error.epoch)
    epoch 1
    """

    def __init__(self, message: str, epoch: int = 0, step: int = 0, loss: float = math.nan) -> None:
        super().__init__(message)
        self.epoch, self.step, self.loss = epoch, step, loss


class Watch:
    """Looks for divergence between groups of steps, and keeps what can be gone back to.

    Parameters
    ----------
    net : MLP
    on_divergence : {"raise", "restore", "ignore"}
        Only "restore" keeps anything: parameters, and what the optimizer remembers.
    """

    def __init__(self, net: MLP, on_divergence: str) -> None:
        self.net, self.restoring = net, on_divergence == "restore"
        self.ignoring = on_divergence == "ignore"
        self._kept: tuple[np.ndarray, int] | None = None
        self._stepped = False  # whether a loss has been finite, after which there was an update

    def keep(self) -> None:
        """Keep the present state, if it is finite or the first."""
        state = self.net._parameters.state
        if self.restoring and (self._kept is None or np.isfinite(state).all()):
            self._kept = state.copy(), self.net._state.step

    def restore(self) -> None:
        """Go back to what was kept last."""
        if self._kept is not None:
            state, self.net._state.step = self._kept
            self.net._parameters.state[:] = state

    def diverged(self, result: EpochResult) -> bool:
        """Tell whether a group of steps has a loss that is no finite number."""
        finite = math.isfinite(result.losses.sum())
        self._stepped |= finite
        return not (self.ignoring or finite)

    def raise_for(self, result: EpochResult, epoch: int, before: int, rates: np.ndarray) -> None:
        """Raise the error of a group of steps that has diverged.

        Parameters
        ----------
        result : EpochResult
        epoch, before : int
            The epoch's number from 0, and how many steps of it came before.
        rates : ndarray
            The learning rates of the steps.
        """
        at = int(np.argmin(np.isfinite(np.cumsum(result.losses))))
        with np.errstate(all="ignore"):
            loss = float(result.losses[at] / result.weights[at])
        self._stepped |= at > 0
        raise self._error(f"the loss is {loss}", epoch, before + at + 1, loss, rates[at])

    def check_parameters(self, epoch: int, result: EpochResult, rate: float) -> None:
        """Raise if a parameter is no finite number after an epoch whose loss is one."""
        if self.ignoring or not math.isfinite(result.loss):
            return
        if not self.net._parameters.finite:
            steps = len(result.losses)
            what = "a parameter is no finite number after the update"
            raise self._error(what, epoch, steps, result.loss, rate)

    def warning(self) -> str:
        """Return what to say of an epoch's loss that is the first to be no finite number."""
        losses = self.net.history.loss
        if math.isfinite(losses[-1]) or not all(map(math.isfinite, losses[-2:-1])):
            return ""
        return (
            f"the loss of epoch {len(losses)} is {losses[-1]}; a smaller learning rate or scaled "
            "inputs may help"
        )

    def _error(self, what: str, epoch: int, step: int, loss: float, rate: float) -> DivergenceError:
        message = f"training diverged: {what} in epoch {epoch + 1}, step {step}; "
        if not self._stepped:
            message += (
                "no update of this fit came before it: make the network anew if another fit of it "
                "has diverged, or have inputs of about unit size (input_scale)"
            )
            return DivergenceError(message, epoch + 1, step, loss)
        message += (
            f"try a smaller learning_rate (it was {rate:.3g}), clip_norm=1.0, or inputs of about "
            "unit size (input_scale)"
        )
        if not self.restoring:
            message += "; on_divergence='restore' goes back to the last finite parameters instead"
        return DivergenceError(message, epoch + 1, step, loss)
