"""A learning rate to begin with, found by trying them all."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..contract.operations import DataSet, StepSettings
from ..optimizers import Optimizer, get_optimizer
from ..regularization import Regularization
from ..support.extras import require
from ..support.validation import check_integer, check_network, check_number

if TYPE_CHECKING:
    from ..network import MLP

__all__ = ["LearningRateFinder", "LearningRates"]

_SMOOTHING = 0.98
_DIVERGED = 4.0  # times the least loss


@dataclass(frozen=True)
class LearningRates:
    """What a range test has found.

    Attributes
    ----------
    learning_rates : ndarray of float64, (n_steps,)
        Rising exponentially.
    losses : ndarray of float64, (n_steps,)
        Each step's loss, before its update.
    smoothed : ndarray of float64, (n_steps,)
        Their exponential moving average, corrected for its start at 0.
    """

    learning_rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray

    @property
    def suggestion(self) -> float:
        """A tenth of the rate at which the smoothed loss was least."""
        return float(self.learning_rates[np.nanargmin(self.smoothed)]) / 10

    def plot(self, axes: Any = None) -> Any:
        """Draw the smoothed loss over the rates; needs the ``plot`` extra.

        Parameters
        ----------
        axes : matplotlib Axes, optional
            By default of a new figure.

        Returns
        -------
        matplotlib Axes

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        if axes is None:
            axes = require("matplotlib.pyplot", "plot").subplots(layout="constrained")[1]
        axes.semilogx(self.learning_rates, self.losses, alpha=0.3, label="loss")
        axes.semilogx(self.learning_rates, self.smoothed, label="smoothed")
        label = f"suggestion {self.suggestion:.2g}"
        axes.axvline(self.suggestion, linestyle="--", color="grey", label=label)
        axes.set_xlabel("learning rate")
        axes.set_ylabel("loss")
        axes.legend()
        return axes


class LearningRateFinder:
    """Train a copy of a network while the rate rises exponentially (Smith 2015, section 3.3).

    Where the loss falls, the rate is high enough to learn; where it turns, too high.

    Parameters
    ----------
    low, high : float, default 1e-6 and 10
        The first and the last rate.
    steps : int, default 100
        The test ends sooner once the smoothed loss is four times its least.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of that kind.

    Examples
    --------
    >>> import numpy as np, fastmlp
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 4))
    >>> net = fastmlp.MLP((4, 8, 2), rng=0, backend="numpy")
    >>> found = fastmlp.callbacks.LearningRateFinder().run(net, X, (X[:, 0] > 0) * 1)
    >>> history = net.fit(X, (X[:, 0] > 0) * 1, optimizer=fastmlp.SGD(found.suggestion))
    """

    def __init__(self, low: float = 1e-6, high: float = 10.0, steps: int = 100) -> None:
        self.low = check_number("low", low, above=0.0)
        self.high = check_number("high", high, above=self.low)
        self.steps = check_integer("steps", steps, low=2)

    def run(
        self,
        net: MLP,
        X: Any,
        y: Any,
        *,
        batch_size: int = 64,
        optimizer: Optimizer | str | None = None,
        l2: float = 0.0,
    ) -> LearningRates:
        """Try the rates out on a copy of the network; the network itself stays as it is.

        Parameters
        ----------
        net : MLP
        X, y : as for `MLP.fit`
        batch_size : int, default 64
        optimizer : Optimizer or str, optional
            By default the network's own; its learning rate plays no part.
        l2 : float, default 0

        Returns
        -------
        LearningRates

        Raises
        ------
        TypeError, ValueError
            If an argument does not fit.
        """
        check_network(net)
        X, targets, _ = net._samples(X, y, None)
        size = min(check_integer("batch_size", batch_size, low=1), len(targets))
        regularization = Regularization(l2=check_number("l2", l2, low=0.0))
        chosen = net.optimizer if optimizer is None else get_optimizer(optimizer)
        trial = copy.deepcopy(net)
        trial.optimizer = chosen
        settings = StepSettings(chosen, trial._state, size, regularization)
        train = trial._backend().trainer(
            trial._parameters, DataSet(X, targets), settings, trial.threads
        )
        whole = len(targets) // size * size
        order = np.concatenate(
            [
                trial._rng.permutation(len(targets))[:whole]
                for _ in range(-(-self.steps * size // whole))
            ]
        )
        rates = np.geomspace(self.low, self.high, self.steps)
        losses: list[float] = []
        smoothed: list[float] = []
        mean = 0.0
        for step, rate in enumerate(rates):
            part = order[step * size : (step + 1) * size]
            losses.append(train(part, np.array([rate]), None).loss)
            mean = _SMOOTHING * mean + (1 - _SMOOTHING) * losses[-1]
            smoothed.append(mean / (1 - _SMOOTHING ** (step + 1)))
            if not smoothed[-1] <= _DIVERGED * min(smoothed):
                break
        return LearningRates(rates[: len(losses)], np.array(losses), np.array(smoothed))
