"""L-BFGS: SciPy's, over the compiled loss and gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.optimize
from sklearn.utils.optimize import _check_optimize_result

from ..contract.operations import DataSet, StepSettings
from ..kernels.emit.optimizers import HYPER_ROW, hyperparameters
from ..kernels.run.training import Training
from ..optimizers import Optimizer, OptimizerState
from ..support.interrupts import CtrlC
from ._epochs import Targets, reported
from ._held_out import HeldOut
from ._hooks import Hooks
from ._network import Network
from ._one_blas_thread import one_blas_thread
from ._tasks import Tasks
from ._warnings import as_sklearn

__all__ = ["Objective", "fit_lbfgs"]

_STOPPED = 99  # SciPy's status where a callback has ended it, which is no failure
_BLOCK = 1 << 14  # parameters whose gradient is finished at a time


class Objective:
    """The loss over all samples and its gradient, as functions of all parameters in one vector.

    Parameters
    ----------
    network : Network
        In float64, of its own: has the parameters that were asked for last.
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
        rows = np.empty((1, 2, HYPER_ROW), parameters.dtype)
        self._hyper = hyperparameters(Optimizer(0.0), np.zeros(1), np.ones(1), 0.0, 0, rows)
        self.loss, self.correct = np.nan, 0
        self._n_weights = sum(w.size for w in network.weights)
        self._value, self._gradient = np.nan, self.start()  # to be overwritten

    def start(self) -> np.ndarray:
        """Return the network's parameters: all weights, then all biases."""
        return np.concatenate([a.ravel() for a in (*self.network.weights, *self.network.biases)])

    def _is_at(self, x: np.ndarray) -> bool:
        """Tell whether x is what was asked for last."""
        if np.isnan(self.loss):
            return False
        done = 0
        for array in (*self.network.weights, *self.network.biases):
            part = x[done : done + array.size].reshape(array.shape)
            if not np.array_equal(array, part):
                return False
            done += array.size
        return True

    def value(self, x: np.ndarray) -> float:
        """Return the loss that belongs to the gradient."""
        if not self._is_at(x):
            self._look_at(x)
        return self._value

    def gradient(self, x: np.ndarray) -> np.ndarray:
        """Return the gradient, in memory of the objective's."""
        if not self._is_at(x):
            self._look_at(x)
        return self._gradient

    def _look_at(self, x: np.ndarray) -> None:
        training, network = self._training, self.network
        enter(network, x)
        with CtrlC():
            losses, correct, _ = training.steps(self._order, self._hyper)
        self.correct = int(correct.sum())
        self._take_gradient(x)
        penalized = x[: self._n_weights]
        penalty = self.alpha / 2 * float(np.einsum("i,i->", penalized, penalized))
        value = float(losses.sum())
        if self.targets.constant is not None:
            constant = self.targets.constant
            weighed = constant if self.weight is None else self.weight * constant
            value += float(weighed.sum())
        seen = reported(losses, self.weight, self.targets, self._order, network)
        self.loss = (float(seen.sum()) + penalty) / self.total
        self._value = (value + penalty) / self.total

    def _take_gradient(self, x: np.ndarray) -> None:
        """Note the gradient of the mean, penalty included; leave zeros where it was summed.

        Some rows at a time, which stay in the cache: passes over all of it take longer than the
        sums over sparse samples.
        """
        sums, size = self._training.gradient, self.network.parameters.size
        weights, biases = self.network.parameters.views(sums[:size])
        gradient, done = self._gradient, 0
        for summed in weights:
            n_in, n_out = summed.shape
            at_once = max(1, _BLOCK // max(1, n_out))
            for i in range(0, n_in, at_once):
                block = summed[i : i + at_once]
                part = slice(done, done + block.size)
                out = gradient[part].reshape(block.shape)
                np.multiply(x[part].reshape(block.shape), self.alpha, out=out)
                out += block
                out /= self.total
                block[...] = 0
                done += block.size
        for summed in biases:
            np.divide(summed, self.total, out=gradient[done : done + summed.size])
            summed[...] = 0
            done += summed.size
        sums[size:] = 0


def enter(network: Network, x: np.ndarray) -> None:
    """Give a network the parameters x."""
    done = 0
    for array in (*network.weights, *network.biases):
        array[...] = x[done : done + array.size].reshape(array.shape)
        done += array.size


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

    Raises
    ------
    KeyboardInterrupt
        At Ctrl-C, as scikit-learn does. The estimator is as after its last whole iteration.
    """
    e, n = estimator, len(samples.rows)
    e.loss_curve_, e.n_iter_ = [], 0
    if held_out is not None:
        e.validation_loss_curve_ = e.validation_loss_curve_ or []

    def after_iteration(intermediate_result: Any) -> None:  # by that name SciPy copies nothing
        epoch, x = e.n_iter_, intermediate_result.x
        tasks.begin(samples)
        hooks.begin_epoch(epoch)
        hooks.begin_group(0)
        with CtrlC():
            enter(network, x)
            e.n_iter_ += 1
            e.loss_ = objective.loss
            e.loss_curve_.append(e.loss_)
            logs = e._own_logs({"loss": e.loss_, "accuracy": objective.correct / n})
            measured = _measured(e, held_out)
        e._say(f"Iteration {e.n_iter_}, loss = {e.loss_:.8f}")
        hooks.end_group(1, samples=n, **logs)
        hooks.end_epoch(epoch, logs | measured)
        if tasks.end(samples) or hooks.stopped:
            raise StopIteration

    try:
        hooks.begin()
        with one_blas_thread(), np.errstate(over="ignore", invalid="ignore"):
            result = scipy.optimize.minimize(
                objective.value, objective.start(), method="L-BFGS-B",
                jac=objective.gradient, callback=after_iteration,
                options={"maxfun": e.max_fun, "maxiter": e.max_iter, "gtol": e.tol},
            )  # fmt: skip
            n_iter = result.nit
            if result.status != _STOPPED:
                n_iter = as_sklearn(_check_optimize_result, "lbfgs", result, e.max_iter)
            with CtrlC():
                if result.status != _STOPPED:
                    objective.value(result.x)
                enter(network, result.x)
                e.n_iter_, e.loss_ = n_iter, objective.loss
    except KeyboardInterrupt:
        hooks.interrupt()
        hooks.end()
        raise
    hooks.end()


def _measured(estimator: Any, held_out: HeldOut | None) -> dict[str, float]:
    """Note the loss on held-out data; return it and the score."""
    if held_out is None:
        return {}
    loss, score = held_out.loss_and_score()
    estimator.validation_loss_curve_.append(loss)
    return {"val_loss": loss, f"val_{estimator._score_name}": score}
