"""Epochs in scikit-learn's terms: its penalty, its losses, its Adam, its order of samples."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..contract.operations import DataSet, StepSettings
from ..initializers import RandomSource
from ..kernels.emit.optimizers import HYPER_ROW, HYPERPARAMETERS, hyperparameters
from ..kernels.run.choose import CHUNK
from ..kernels.run.decayed import SEGMENT, DecayedTraining
from ..kernels.run.steps import batches
from ..kernels.run.training import Training
from ..optimizers import Adam
from ..reference.dropout import key_words
from ..support.interrupts import CtrlC
from ._hooks import Hooks
from ._network import Network

__all__ = ["LOG_LOSSES", "EpochSums", "Epochs", "Samples", "Targets", "reported", "shuffled"]

_L2, _EPSILON = HYPERPARAMETERS.index("l2"), HYPERPARAMETERS.index("epsilon")
_SEEN = 1e-12  # what of a loss is told from rounding
LOG_LOSSES = ("cross_entropy", "binary_cross_entropy")  # of classes
_PIECE_SECONDS = 0.1  # Python is re-entered about this often, for Ctrl-C


class Targets:
    """What the network learns, as the kernels take it, and what its loss lacks.

    Parameters
    ----------
    y : ndarray
        Labels (n,) of int64 for softmax, else (n, n_out) in the network's dtype.
    loss : str
        The estimator's: its poisson has a constant more than fastmlp's, so that 0 is the best.
    """

    def __init__(self, y: np.ndarray, loss: str) -> None:
        self.y = y
        self.constant: np.ndarray | None = None
        if loss == "poisson":
            # y log y - y, 0 where y is 0
            logs = np.log(y, where=y > 0, out=np.zeros_like(y, np.float64))
            self.constant = (y * logs - y).sum(axis=1, dtype=np.float64)


@dataclass
class Samples:
    """What is learned from, checked.

    Attributes
    ----------
    X : array or sparse matrix
    y : ndarray
        As the user gave it, checked.
    rows : ndarray, (n, n_out)
        Targets as scikit-learn has them: bool for classes.
    targets : Targets
    weight : ndarray of float64, optional
        Sample weights times class weights.
    score_weight : ndarray of float64, optional
        Sample weights alone.
    """

    X: Any
    y: np.ndarray
    rows: np.ndarray
    targets: Targets
    weight: np.ndarray | None
    score_weight: np.ndarray | None


def reported(
    losses: np.ndarray, weight: np.ndarray | None, targets: Targets, order: Any, network: Network
) -> np.ndarray:
    """Return scikit-learn's value of each sample's weight times loss.

    Parameters
    ----------
    losses : ndarray of float64
        Weight times loss, summed over outputs, of the samples in `order`; changed in place.
    weight : ndarray of float64, optional
        All samples' weights.
    targets : Targets
        Of all samples.
    order : index of samples
    network : Network
    """
    architecture = network.parameters.architecture
    if architecture.loss not in LOG_LOSSES:
        if targets.constant is not None:
            constant = targets.constant[order]
            losses += constant if weight is None else weight[order] * constant
        else:
            losses /= architecture.n_out
    elif architecture.output == "softmax" or architecture.n_out == 1:
        # probabilities are clipped to [eps, 1 - eps]
        eps = np.finfo(network.parameters.dtype).eps
        low, high = -np.log1p(-float(eps)), -np.log(float(eps))
        if architecture.output == "sigmoid":
            _round_probabilities(losses, weight, targets, order)
        if weight is None:
            np.clip(losses, low, high, out=losses)
        else:
            # a negative weight turns them round
            bounds = np.sort([low * weight[order], high * weight[order]], axis=0)
            np.clip(losses, *bounds, out=losses)
    return losses


def _round_probabilities(
    losses: np.ndarray, weight: np.ndarray | None, targets: Targets, order: Any
) -> None:
    """Take the loss of negative samples from ``1 - p``, p rounded: -log(1 - 1 / (1 + exp(-z))).

    A confident mistake then costs one of few values, as scikit-learn counts it; from the logit it
    would be exact. Stopping rules see the difference: 0.4 for a single sample at z = 36. What it
    moves a loss by, up to ``eps exp(loss)``, is left out below 1e-12.
    """
    negative = targets.y[order, 0] == 0
    least = np.log(_SEEN / np.finfo(targets.y.dtype).eps)
    if weight is None:
        negative &= losses > least
    else:
        weight = weight[order]
        negative &= (weight != 0) & (np.abs(losses) > least * np.abs(weight))
    w = 1.0 if weight is None else weight[negative]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        survival = np.exp(-losses[negative] / w)  # 1 - p, exact
        odds = survival / (1 - survival)  # exp(-z)
        p = 1 / (1 + odds.astype(targets.y.dtype))
        losses[negative] = -w * np.log(1 - p).astype(np.float64)


def shuffled(order: np.ndarray, rng: RandomSource) -> np.ndarray:
    """Return `order` in a new order, drawn as `sklearn.utils.shuffle` draws it."""
    places = np.arange(len(order))
    rng.shuffle(places)
    return order[places]


@dataclass
class EpochSums:
    """What was seen in an epoch, or a part of it.

    Attributes
    ----------
    losses : ndarray of float64, one per step
        The batch's mean loss, the penalty included, times its number of samples.
    correct, samples : int
    """

    losses: np.ndarray
    correct: int
    samples: int

    @classmethod
    def join(cls, parts: list[EpochSums]) -> EpochSums:
        """Return parts as one; where they were cut has no influence on its loss."""
        losses = np.concatenate([part.losses for part in parts])
        return cls(losses, sum(p.correct for p in parts), sum(p.samples for p in parts))

    @property
    def means(self) -> dict[str, float]:
        """Mean loss and accuracy."""
        return {
            "loss": float(self.losses.sum()) / self.samples,
            "accuracy": self.correct / self.samples,
        }


class Epochs:
    """Whole epochs over one data set, in compiled code.

    Parameters
    ----------
    network : Network
        Trained in place.
    samples : Samples
        All; an epoch's order says which are taken.
    settings : StepSettings
        The optimizer's state goes on. Of regularization dropout, and alpha as ``l2``: adds
        ``alpha / 2 * sum(W^2)``, divided by the batch's sum of weights.
    published : bool
        Whether Adam's epsilon is added to the root of the uncorrected mean, as in the algorithm's
        efficient form (Kingma and Ba 2015, end of section 2).
    ctrl_c : CtrlC
        Held back while steps are taken.
    memory : dict
        Its ``step`` is how many have been, at any moment.
    """

    def __init__(
        self,
        network: Network,
        samples: Samples,
        settings: StepSettings,
        *,
        published: bool,
        ctrl_c: CtrlC,
        memory: dict[str, Any],
    ) -> None:
        batch_size, sample_weight = settings.batch_size, samples.weight
        self.network, self.targets, self.sample_weight = network, samples.targets, sample_weight
        self.optimizer: Any = settings.optimizer
        self.state = settings.state
        self.batch_size, self.alpha = batch_size, settings.regularization.l2
        self._ctrl_c, self._memory = ctrl_c, memory
        self._group = SEGMENT if batch_size == 1 else 1  # steps that are taken at once
        self.published = published and isinstance(self.optimizer, Adam)
        self._settings, self._data = settings, DataSet(samples.X, samples.targets.y, sample_weight)
        totals = sample_weight[sample_weight > 0] if sample_weight is not None else np.ones(1)
        self._strongest = self.alpha / totals.min() if len(totals) else 0.0
        self._one_by_one = batch_size == 1 and DecayedTraining.fits(
            samples.X, network.parameters, settings
        )
        self._made: dict[type[Training], Training] = {}

    def _training(self, rates: np.ndarray) -> Training:
        """Return what takes an epoch's steps: what the network has kept, if it can."""
        decayed = self._one_by_one and DecayedTraining.steady(rates, self._strongest)
        kind = DecayedTraining if decayed else Training
        if kind not in self._made:
            made, self.network.kept = self.network.kept, None
            given, threads = (self._data, self._settings), self.network.threads
            if made is None or type(made) is not kind or not made.take(*given, threads):
                made = kind(self.network.parameters, *given, threads=threads)
            self._made[kind] = made
        return self._made[kind]

    def keep(self) -> None:
        """Leave what took the steps to the network, for its next call with as few samples."""
        if len(self._made) == 1 and len(self._data.y) <= CHUNK:
            (self.network.kept,) = self._made.values()
            self.network.kept.release()

    def run(
        self, order: np.ndarray, rates: np.ndarray, key: np.ndarray | None, hooks: Hooks
    ) -> EpochSums:
        """Take one step per batch of `order`, unless a callback ends it.

        Parameters
        ----------
        order : ndarray of int64
        rates : ndarray of float64, one per step
        key : ndarray of uint32, (2,), or None
            For dropout.
        hooks : Hooks
            Called between groups of steps.
        """
        done, size, training = 0, self.batch_size, self._training(rates)
        parts: list[EpochSums] = []
        while done < len(rates) and not hooks.stopped:
            hooks.begin_group(done)
            begun = time.perf_counter()
            part = rates[done : done + self._group]
            with self._ctrl_c:
                samples = order[done * size : (done + self._group) * size]
                group = self._steps(training, samples, part, key)
                parts.append(group)
                self._memory["step"] = self.state.step
            done += len(part)
            seconds = time.perf_counter() - begun
            whole = int(min(len(part) * _PIECE_SECONDS / seconds, 64 * self._group))
            self._group = max(1, whole // SEGMENT) * SEGMENT if self._one_by_one else max(1, whole)
            if hooks.callbacks:
                hooks.end_group(done, samples=group.samples, **group.means)
        return EpochSums.join(parts)

    def _steps(
        self, training: Training, order: np.ndarray, rates: np.ndarray, key: np.ndarray | None
    ) -> EpochSums:
        """Take some steps."""
        words = None
        starts, totals = batches(order, training.batch_size, training.sample_weight)
        hyper = self._hyperparameters(rates, totals)
        if key is not None:
            n_hidden = self.network.parameters.architecture.n_layers - 1
            words = key_words(key, self.state.step, len(rates), n_hidden)
        losses, correct, penalty = training.steps(order, hyper, words)
        losses = reported(losses, self.sample_weight, self.targets, order, self.network)
        sums = np.add.reduceat(losses, starts) + penalty
        if self.sample_weight is not None:
            sizes = np.diff(np.append(starts, len(order)))
            sums = np.divide(sums, totals, out=np.zeros_like(sums), where=totals > 0) * sizes
        return EpochSums(sums, int(correct.sum()), len(order))

    def _hyperparameters(self, rates: np.ndarray, totals: np.ndarray) -> np.ndarray:
        rows = np.empty((len(rates), 2, HYPER_ROW), self.network.parameters.dtype)
        table = hyperparameters(self.optimizer, rates, totals, 0.0, self.state.step, rows)
        if self.alpha:
            table[:, 0, _L2] = np.divide(
                self.alpha, totals, out=np.zeros_like(totals), where=totals > 0
            )
        if self.published:
            steps = self.state.step + np.arange(1, 1 + len(rates))
            epsilon = self.optimizer.epsilon / np.sqrt(1 - self.optimizer.beta_2**steps)
            table[:, :, _EPSILON] = epsilon[:, None]
        return table
