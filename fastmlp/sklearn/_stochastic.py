"""Solvers that go through the data in batches: scikit-learn's rules around compiled epochs."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from ..callbacks import Callback
from ..contract.operations import StepSettings
from ..network import MLP
from ..optimizers import SGD, Adam, Optimizer, OptimizerState, get_optimizer
from ..regularization import Regularization, get_regularization
from ..schedules import get_schedule
from ..support.interrupts import BrokenOff, CtrlC
from ..training.samples import dropout_key
from ._epochs import Epochs, EpochSums, Samples, Targets, shuffled
from ._held_out import HeldOut
from ._hooks import Hooks, as_mlp
from ._network import Network
from ._random import legacy
from ._stopping import Progress, lowered
from ._tasks import Tasks
from ._warnings import as_sklearn

__all__ = ["CurrentRate", "fit_stochastic", "hold_out"]


class CurrentRate:
    """What scikit-learn's estimators have as ``_optimizer``: the present learning rate.

    Parameters
    ----------
    estimator : BaseMLP
    """

    def __init__(self, estimator: Any) -> None:
        self._estimator = estimator

    @property
    def learning_rate(self) -> float:
        """``learning_rate_``; the next call of ``partial_fit`` goes on with what is set."""
        return float(self._estimator.learning_rate_)

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self._estimator.learning_rate_ = float(value)


@dataclass(frozen=True)
class _SGD(SGD):
    """SGD that takes a momentum of 1 too, as scikit-learn does."""

    def __post_init__(self) -> None:
        """Leave the checks to the estimator's own constraints."""


def _optimizer(estimator: Any) -> Optimizer:
    if estimator.optimizer is not None:
        return get_optimizer(estimator.optimizer)
    if estimator.solver == "sgd":
        rate, momentum = estimator.learning_rate_init, estimator.momentum
        kind = SGD if momentum < 1 else _SGD
        return kind(rate, momentum=momentum, nesterov=bool(estimator.nesterovs_momentum))
    return Adam(estimator.learning_rate_init, estimator.beta_1, estimator.beta_2, estimator.epsilon)


def _batch_size(estimator: Any, n: int) -> int:
    if isinstance(estimator.batch_size, str):
        return min(200, n)
    if estimator.batch_size > n:
        as_sklearn(
            warnings.warn,
            "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped",
        )
    return int(min(estimator.batch_size, n))


def hold_out(
    estimator: Any, samples: Samples, network: Network, validation: HeldOut | None
) -> tuple[np.ndarray, HeldOut | None]:
    """Return the numbers of the samples to train on, and what is measured after every epoch.

    Early stopping holds samples out as scikit-learn does, unless the user gave others.

    Parameters
    ----------
    estimator : BaseMLP
    samples : Samples
    network : Network
    validation : HeldOut or None
        Given by the user.

    Raises
    ------
    ValueError
        If there are too few samples.
    """
    wanted = estimator.early_stopping and estimator.solver != "lbfgs"
    if validation is not None or not wanted:
        return np.arange(len(samples.rows)), validation
    stratify = samples.rows if estimator._stratified() else None
    rows, held = train_test_split(
        np.arange(len(samples.rows)), random_state=legacy(estimator._rng),
        test_size=estimator.validation_fraction, stratify=stratify,
    )  # fmt: skip
    if len(held) < 2:
        raise ValueError(
            "The validation set is too small. Increase 'validation_fraction' or the size of your "
            "dataset."
        )
    weight = None if samples.score_weight is None else samples.score_weight[held]
    targets = Targets(samples.targets.y[held], estimator.loss)
    held_out = HeldOut(network, samples.X[held], targets, samples.rows[held], weight)
    return rows, held_out


class _Rates:
    """The learning rates of an epoch's steps, and how they move."""

    def __init__(self, estimator: Any, optimizer: Optimizer) -> None:
        self.estimator, self.base = estimator, optimizer.learning_rate
        self.schedule = get_schedule(estimator.schedule)
        self.planned = estimator.schedule is not None
        self.moving = estimator.solver == "sgd" and estimator.optimizer is None

    def of_epoch(self, n_steps: int) -> np.ndarray:
        """Return one rate per step."""
        e = self.estimator
        if not self.planned:
            return np.full(n_steps, e.learning_rate_)
        memory = e._solver_state["memory"]
        done = int(memory.get("epoch", 0))
        rates = self.schedule.rates(self.base, done, n_steps, e.max_iter, memory)
        e.learning_rate_ = float(rates[0])
        return rates

    def after_epoch(self, loss: float, held_out_loss: float | None) -> None:
        """Move on."""
        e = self.estimator
        if self.planned:
            memory = e._solver_state["memory"]
            self.schedule.after_epoch(memory, loss, held_out_loss)
            memory["epoch"] = memory.get("epoch", 0) + 1
        elif self.moving and e.learning_rate == "invscaling":
            e.learning_rate_ = float(e.learning_rate_init) / (e.t_ + 1) ** e.power_t

    def lower(self, message: str) -> bool:
        """Lower an adaptive rate; return whether to stop instead."""
        e = self.estimator
        adaptive = self.moving and e.learning_rate == "adaptive"
        rate = lowered(e.learning_rate_) if adaptive else None
        if rate is None:
            e._say(message + (" Learning rate too small." if adaptive else "") + " Stopping.")
            return True
        e.learning_rate_ = rate
        e._say(f"{message} Setting learning rate to {rate:f}")
        return False


def _start(estimator: Any, optimizer: Optimizer, network: Network, incremental: bool) -> None:
    """Begin with a fresh optimizer, unless partial_fit goes on with the one it has.

    An optimizer of another kind begins afresh too; another learning rate takes effect.
    """
    state = estimator.__dict__.get("_solver_state")
    asked = [type(optimizer).__name__, float(optimizer.learning_rate)]
    had = None if state is None else state.get("asked", asked)
    if not incremental or had is None or had[0] != asked[0]:
        network.parameters.clear_slots()
        estimator._solver_state = {"step": 0, "memory": {}}
    if not incremental or had != asked:
        estimator.learning_rate_ = asked[1]
    estimator._solver_state["asked"] = asked


def _watch(estimator: Any, network: Network, held_out: HeldOut | None) -> Progress:
    """Return what counts epochs without improvement; a warm start may have changed what counts."""
    e = estimator
    scores = getattr(e, "validation_scores_", None)
    if not hasattr(e, "best_validation_score_") or (scores is None) == bool(e.early_stopping):
        e.best_loss_ = None if e.early_stopping else np.inf
        e.validation_scores_ = [] if e.early_stopping else None
        e.best_validation_score_ = -np.inf if e.early_stopping else None
    if held_out is not None and e.validation_loss_curve_ is None:
        e.validation_loss_curve_ = []
    best = e.best_validation_score_ if e.early_stopping else e.best_loss_
    if best == -np.inf:
        e._best_coefs = [w.copy() for w in network.weights]
        e._best_intercepts = [b.copy() for b in network.biases]
    return Progress(e.tol, bool(e.early_stopping), best, e._no_improvement_count)


def fit_stochastic(
    estimator: Any,
    network: Network,
    samples: Samples,
    *,
    order: np.ndarray,
    held_out: HeldOut | None,
    incremental: bool,
    callbacks: list[Callback],
    tasks: Tasks,
) -> None:
    """Train until a rule says stop, or for one epoch.

    Parameters
    ----------
    estimator : BaseMLP
        Its fitted attributes are kept up to date.
    network : Network
    samples : Samples
    order : ndarray of int
        Numbers of the samples to train on.
    held_out : HeldOut or None
        What is measured after every epoch.
    incremental : bool
        One epoch, with the optimizer's state kept.
    callbacks : list of Callback
    tasks : Tasks
        scikit-learn's callbacks.
    """
    e = estimator
    optimizer, n = _optimizer(e), len(order)
    with CtrlC():
        _start(e, optimizer, network, incremental)
    batch_size = _batch_size(e, n)
    rates = _Rates(e, optimizer)
    state = OptimizerState(e._solver_state["step"], network.parameters.slot_views(optimizer.slots))
    dropout = get_regularization(network.parameters.architecture, dropout=e.dropout).dropout
    settings = StepSettings(
        optimizer, state, batch_size, Regularization(dropout=dropout, l2=float(e.alpha))
    )
    ctrl_c, published = CtrlC(breakable=True), e.optimizer is None
    epochs = Epochs(
        network, samples, settings, published=published, ctrl_c=ctrl_c, memory=e._solver_state
    )
    progress = _watch(e, network, held_out)
    net = _net(e, network, optimizer, state, rates) if callbacks else None
    hooks = Hooks(callbacks, net, 1 if incremental else e.max_iter, batch_size, n)
    positions, n_steps = order, -(-n // batch_size)
    if not incremental:
        e.n_iter_ = 0
    try:
        hooks.begin()
        for epoch in range(1 if incremental else e.max_iter):
            hooks.begin_epoch(epoch)
            if hooks.stopped:
                break
            tasks.begin(samples)
            key = dropout_key(e._rng) if dropout else None
            if e.shuffle and n > 1:
                positions = shuffled(positions, e._rng)
            steps = rates.of_epoch(n_steps)
            seen = epochs.run(positions, steps, key, hooks)
            measured = None if held_out is None else held_out.loss_and_score()
            with ctrl_c:
                _note(e, seen)
                logs = e._own_logs(seen.means) | _judge(e, network, measured, progress)
                rates.after_epoch(e.loss_, logs.get("val_loss"))
            stop = progress.waited > e.n_iter_no_change and _patience_is_over(e, rates, progress)
            hooks.end_epoch(epoch, {**logs, "learning_rate": float(steps[0])})
            if tasks.end(samples) or hooks.stopped or stop:
                break
            if e.n_iter_ == e.max_iter and not incremental:
                as_sklearn(
                    warnings.warn,
                    f"Stochastic Optimizer: Maximum iterations ({e.max_iter}) reached and the "
                    "optimization hasn't converged yet.",
                    ConvergenceWarning,
                )
    except BrokenOff:
        raise
    except KeyboardInterrupt:
        hooks.interrupt()
        as_sklearn(warnings.warn, "Training interrupted by user.")
    with CtrlC():
        if e.early_stopping:
            network.parameters.assign(e._best_coefs, e._best_intercepts)
        if incremental:
            epochs.keep()
    hooks.end()


def _net(
    e: Any, network: Network, optimizer: Optimizer, state: OptimizerState, rates: _Rates
) -> MLP:
    """Return what callbacks see and save, training where the estimator is."""
    net = as_mlp(network, e._rng)
    # a momentum of 1 is none that an MLP could go on with
    net._optimizer = SGD(optimizer.learning_rate) if isinstance(optimizer, _SGD) else optimizer
    net._state = state
    if rates.planned:
        net._schedule, net._schedule_memory = rates.schedule, e._solver_state["memory"]
    return net


def _note(e: Any, seen: EpochSums) -> None:
    """Count an epoch and its loss."""
    e.n_iter_ += 1
    e.t_ += seen.samples
    e.loss_ = seen.means["loss"]
    e.loss_curve_.append(e.loss_)
    e._say(f"Iteration {e.n_iter_}, loss = {e.loss_:.8f}")


def _patience_is_over(e: Any, rates: _Rates, progress: Progress) -> bool:
    """Lower the rate and wait again, or return that it is time to stop."""
    what = "Validation score" if e.early_stopping else "Training loss"
    if rates.lower(
        f"{what} did not improve more than tol={e.tol:f} for {e.n_iter_no_change} consecutive "
        "epochs."
    ):
        return True
    progress.waited = e._no_improvement_count = 0
    return False


def _judge(
    e: Any, network: Network, measured: tuple[float, float] | None, progress: Progress
) -> dict[str, float]:
    """Look at the epoch's loss, or the score on held-out data; keep what is best.

    Return what was measured, by name.
    """
    logs = {}
    if measured is not None:
        loss, score = measured
        e.validation_loss_curve_.append(loss)
        logs = {"val_loss": loss, f"val_{e._score_name}": score}
    if e.early_stopping:
        e.validation_scores_.append(score)
        e._say(f"Validation score: {score:f}")
        if progress.note(score):
            e._best_coefs = [w.copy() for w in network.weights]
            e._best_intercepts = [b.copy() for b in network.biases]
        e.best_validation_score_ = progress.best
    else:
        progress.note(e.loss_)
        e.best_loss_ = progress.best
    e._no_improvement_count = progress.waited
    return logs
