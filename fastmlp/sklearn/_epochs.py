"""Epochs in scikit-learn's terms: its penalty, its losses, its Adam, its order of samples."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from ..initializers import RandomSource
from ..kernels.optimizers import HYPERPARAMETERS, hyperparameters
from ..kernels.training import Training
from ..optimizers import Adam, Optimizer, OptimizerState
from ..regularization import Regularization
from ._network import Network

__all__ = ["Epochs", "Targets", "reported", "shuffled"]

_L2, _EPSILON = HYPERPARAMETERS.index("l2"), HYPERPARAMETERS.index("epsilon")
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
    if architecture.output == "identity":
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
            np.clip(losses, low * weight[order], high * weight[order], out=losses)
    return losses


def _round_probabilities(
    losses: np.ndarray, weight: np.ndarray | None, targets: Targets, order: Any
) -> None:
    """Take the loss of negative samples from ``1 - p``, p rounded: -log(1 - 1 / (1 + exp(-z))).

    A confident mistake then costs one of few values, as scikit-learn counts it; from the logit it
    would be exact. Stopping rules see the difference: 0.4 for a single sample at z = 36.
    """
    negative = targets.y[order, 0] == 0
    if weight is not None:
        weight = weight[order]
        negative &= weight > 0
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


class Epochs:
    """Whole epochs over one data set, in compiled code.

    Parameters
    ----------
    network : Network
        Trained in place.
    X : array or sparse matrix
        All samples; an epoch's order says which are taken.
    targets : Targets
    sample_weight : ndarray of float64, optional
    optimizer : Optimizer
    state : OptimizerState
        Goes on.
    batch_size : int
    alpha : float
        Adds ``alpha / 2 * sum(W^2)``, divided by the batch's sum of weights.
    published : bool
        Whether Adam's epsilon is added to the root of the uncorrected mean, as in the algorithm's
        efficient form (Kingma and Ba 2015, end of section 2).
    """

    def __init__(
        self,
        network: Network,
        X: Any,
        targets: Targets,
        sample_weight: np.ndarray | None,
        *,
        optimizer: Optimizer,
        state: OptimizerState,
        batch_size: int,
        alpha: float,
        published: bool,
    ) -> None:
        self.network, self.targets, self.sample_weight = network, targets, sample_weight
        self.optimizer, self.state = optimizer, state
        self.batch_size, self.alpha = batch_size, float(alpha)
        self.published = published and isinstance(optimizer, Adam)
        self._training = Training(
            network.parameters, X, targets.y, sample_weight, optimizer=optimizer, state=state,
            batch_size=batch_size, regularization=Regularization(l2=self.alpha),
            threads=network.threads,
        )  # fmt: skip

    def run(self, order: np.ndarray, rates: np.ndarray) -> float:
        """Take one step per batch of `order`; return the mean loss seen, the penalty included.

        Parameters
        ----------
        order : ndarray of int64
        rates : ndarray of float64, one per step
        """
        done, steps, loss = 0, 1, 0.0
        while done < len(rates):
            begun = time.perf_counter()
            part = rates[done : done + steps]
            samples = order[done * self.batch_size : (done + steps) * self.batch_size]
            loss += self._piece(samples, part)
            done += len(part)
            seconds = time.perf_counter() - begun
            steps = max(1, int(min(len(part) * _PIECE_SECONDS / seconds, 64 * steps)))
        return loss / len(order)

    def _piece(self, order: np.ndarray, rates: np.ndarray) -> float:
        """Take some steps; return the sum over samples of their batch's loss."""
        training = self._training
        starts, totals = training.batches(order)
        hyper = self._hyperparameters(rates, totals)
        losses, _, penalty = training.steps(order, hyper)
        losses = reported(losses, self.sample_weight, self.targets, order, self.network)
        sums = np.add.reduceat(losses, starts) + penalty
        if self.sample_weight is None:
            return float(sums.sum())
        sizes = np.diff(np.append(starts, len(order)))
        means = np.divide(sums, totals, out=np.zeros_like(sums), where=totals > 0)
        return float((means * sizes).sum())

    def _hyperparameters(self, rates: np.ndarray, totals: np.ndarray) -> np.ndarray:
        dtype = self.network.parameters.dtype
        step = self.state.step
        table = hyperparameters(self.optimizer, rates, totals, 0.0, step, dtype)
        if self.alpha:
            table[:, 0, _L2] = np.divide(
                self.alpha, totals, out=np.zeros_like(totals), where=totals > 0
            )
        if self.published:
            steps = np.arange(step + 1, step + 1 + len(rates))
            epsilon = self.optimizer.epsilon / np.sqrt(1 - self.optimizer.beta_2**steps)  # type: ignore[attr-defined]
            table[:, :, _EPSILON] = epsilon[:, None]
        return table
