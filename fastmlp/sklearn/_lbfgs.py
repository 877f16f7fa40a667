"""L-BFGS: SciPy's, over the compiled loss and gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.optimize
from sklearn.utils.optimize import _check_optimize_result

from ..kernels.optimizers import hyperparameters
from ..kernels.training import Training
from ..optimizers import Optimizer, OptimizerState
from ..regularization import Regularization
from ._epochs import Targets, reported
from ._network import Network
from ._tasks import Tasks

__all__ = ["Objective", "fit_lbfgs"]


class Objective:
    """The loss over all samples and its gradient, as functions of all parameters in one vector.

    Parameters
    ----------
    network : Network
        In float64; left with the parameters that were asked for last.
    X, targets, weight
        As for `Epochs`.
    alpha : float
        Adds ``alpha / 2 * sum(W^2)``, divided by the sum of weights.

    Attributes
    ----------
    loss : float
        The last value in scikit-learn's terms.
    """

    def __init__(
        self,
        network: Network,
        X: Any,
        targets: Targets,
        weight: np.ndarray | None,
        alpha: float,
    ) -> None:
        self.network, self.targets, self.weight, self.alpha = network, targets, weight, alpha
        n = X.shape[0]
        self._order = np.arange(n)
        self.total = float(n if weight is None else weight.sum())
        parameters = network.parameters
        self._training = Training(
            parameters, X, targets.y, weight, optimizer=None, state=OptimizerState(),
            batch_size=n, regularization=Regularization(), threads=network.threads,
        )  # fmt: skip
        self._hyper = hyperparameters(
            Optimizer(0.0), np.zeros(1), np.ones(1), 0.0, 0, parameters.dtype
        )
        self.loss = np.nan

    def start(self) -> np.ndarray:
        """Return the network's parameters: all weights, then all biases."""
        return np.concatenate([a.ravel() for a in (*self.network.weights, *self.network.biases)])

    def enter(self, x: np.ndarray) -> None:
        """Give the network the parameters x."""
        done = 0
        for array in (*self.network.weights, *self.network.biases):
            array[...] = x[done : done + array.size].reshape(array.shape)
            done += array.size

    def __call__(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the loss that belongs to the gradient, and the gradient."""
        self.enter(x)
        training, network = self._training, self.network
        training.gradient[:] = 0
        losses, _, _ = training.steps(self._order, self._hyper)
        weights, biases = network.parameters.views(training.gradient[: network.parameters.size])
        gradient = np.concatenate([g.ravel() for g in (*weights, *biases)])
        n_weights = sum(w.size for w in network.weights)
        penalty = self.alpha / 2 * float(x[:n_weights] @ x[:n_weights])
        gradient[:n_weights] += self.alpha * x[:n_weights]
        value = float(losses.sum())
        if self.targets.constant is not None:
            constant = self.targets.constant
            value += float(constant.sum() if self.weight is None else self.weight @ constant)
        seen = reported(losses, self.weight, self.targets, self._order, network)
        self.loss = (float(seen.sum()) + penalty) / self.total
        return (value + penalty) / self.total, gradient / self.total


def fit_lbfgs(
    estimator: Any,
    objective: Objective,
    samples: Any,
    *,
    callbacks: Sequence[Callable[[Any], Any]],
    tasks: Tasks,
) -> None:
    """Minimise the objective; set ``n_iter_``, ``loss_`` and ``loss_curve_``.

    Parameters
    ----------
    estimator : BaseMLP
    objective : Objective
    samples : Samples
    callbacks, tasks
        As for `fit_stochastic`.
    """
    e = estimator
    e.loss_curve_, e.n_iter_ = [], 0

    def after_iteration(x: np.ndarray) -> None:
        tasks.begin(samples)
        e.n_iter_ += 1
        e.loss_ = objective.loss
        e.loss_curve_.append(e.loss_)
        e._say(f"Iteration {e.n_iter_}, loss = {e.loss_:.8f}")
        asked = [bool(callback(e)) for callback in callbacks]
        if tasks.end(samples) or any(asked):
            raise StopIteration

    with np.errstate(over="ignore", invalid="ignore"):
        result = scipy.optimize.minimize(
            objective, objective.start(), method="L-BFGS-B", jac=True, callback=after_iteration,
            options={"maxfun": e.max_fun, "maxiter": e.max_iter, "gtol": e.tol},
        )  # fmt: skip
        stopped = result.status == 99  # by a callback, which is no failure
        e.n_iter_ = result.nit if stopped else _check_optimize_result("lbfgs", result, e.max_iter)
        objective(result.x)
    e.loss_ = objective.loss
