"""L-BFGS: SciPy's, over the compiled loss and gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.optimize
from sklearn.utils.optimize import _check_optimize_result

from ..contract.operations import DataSet, StepSettings
from ..kernels.emit.optimizers import hyperparameters
from ..kernels.run.training import Training
from ..optimizers import Optimizer, OptimizerState
from ._epochs import Targets, reported
from ._held_out import HeldOut
from ._hooks import Hooks
from ._network import Network
from ._one_blas_thread import one_blas_thread
from ._tasks import Tasks
from ._warnings import as_sklearn

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
    correct : int
        How many samples were predicted right at the last.
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
        data, settings = DataSet(X, targets.y, weight), StepSettings(None, OptimizerState(), n)
        self._training = Training(parameters, data, settings, threads=network.threads)
        self._hyper = hyperparameters(
            Optimizer(0.0), np.zeros(1), np.ones(1), 0.0, 0, parameters.dtype
        )
        self.loss, self.correct = np.nan, 0

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
        losses, correct, _ = training.steps(self._order, self._hyper)
        self.correct = int(correct.sum())
        weights, biases = network.parameters.views(training.gradient[: network.parameters.size])
        gradient = np.concatenate([g.ravel() for g in (*weights, *biases)])
        n_weights = sum(w.size for w in network.weights)
        penalty = self.alpha / 2 * float(np.einsum("i,i->", x[:n_weights], x[:n_weights]))
        gradient[:n_weights] += self.alpha * x[:n_weights]
        value = float(losses.sum())
        if self.targets.constant is not None:
            constant = self.targets.constant
            weighed = constant if self.weight is None else self.weight * constant
            value += float(weighed.sum())
        seen = reported(losses, self.weight, self.targets, self._order, network)
        self.loss = (float(seen.sum()) + penalty) / self.total
        return (value + penalty) / self.total, gradient / self.total


def fit_lbfgs(
    estimator: Any,
    objective: Objective,
    samples: Any,
    network: Network,
    held_out: HeldOut | None,
    *,
    hooks: Hooks,
    tasks: Tasks,
) -> None:
    """Minimise the objective; set ``n_iter_``, ``loss_`` and ``loss_curve_``.

    Parameters
    ----------
    estimator : BaseMLP
    objective : Objective
    samples : Samples
    network : Network
        The estimator's own: has the parameters of every iteration, in its own dtype.
    held_out : HeldOut or None
        Given by the user.
    hooks : Hooks
    tasks : Tasks
        scikit-learn's callbacks.
    """
    e, n = estimator, len(samples.rows)
    e.loss_curve_, e.n_iter_ = [], 0
    if held_out is not None:
        e.validation_loss_curve_ = e.validation_loss_curve_ or []

    def enter(x: np.ndarray) -> None:
        if objective.network is not network:
            objective.enter(x)
            network.parameters.assign(objective.network.weights, objective.network.biases)

    def after_iteration(x: np.ndarray) -> None:
        epoch = e.n_iter_
        tasks.begin(samples)
        hooks.begin_epoch(epoch)
        hooks.begin_group(0)
        enter(x)
        e.n_iter_ += 1
        e.loss_ = objective.loss
        e.loss_curve_.append(e.loss_)
        e._say(f"Iteration {e.n_iter_}, loss = {e.loss_:.8f}")
        logs = e._own_logs({"loss": e.loss_, "accuracy": objective.correct / n})
        hooks.end_group(1, samples=n, **logs)
        if held_out is not None:
            loss, score = held_out.loss_and_score()
            e.validation_loss_curve_.append(loss)
            logs |= {"val_loss": loss, f"val_{e._score_name}": score}
        hooks.end_epoch(epoch, logs)
        if tasks.end(samples) or hooks.stopped:
            raise StopIteration

    hooks.begin()
    with one_blas_thread(), np.errstate(over="ignore", invalid="ignore"):
        result = scipy.optimize.minimize(
            objective, objective.start(), method="L-BFGS-B", jac=True, callback=after_iteration,
            options={"maxfun": e.max_fun, "maxiter": e.max_iter, "gtol": e.tol},
        )  # fmt: skip
        stopped = result.status == 99  # by a callback, which is no failure
        e.n_iter_ = result.nit
        if not stopped:
            e.n_iter_ = as_sklearn(_check_optimize_result, "lbfgs", result, e.max_iter)
        objective(result.x)
    enter(result.x)
    e.loss_ = objective.loss
    hooks.end()
