"""Loss and score on data that are not trained on."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.metrics import r2_score

from ..kernels.run.inference import Inference
from ..reference.losses import sample_losses
from ._epochs import LOG_LOSSES, Targets, reported
from ._network import Network

__all__ = ["HeldOut"]


class HeldOut:
    """Data that are asked for after every epoch.

    Parameters
    ----------
    network : Network
    X : array or sparse matrix
    targets : Targets
    rows : ndarray, (n, n_out)
        Targets in full precision.
    weight : ndarray of float64, optional
    """

    def __init__(
        self,
        network: Network,
        X: Any,
        targets: Targets,
        rows: np.ndarray,
        weight: np.ndarray | None,
    ) -> None:
        self.network, self.X, self.targets = network, X, targets
        self.rows, self.weight = rows, weight
        self._inference = Inference(network.parameters, X)

    def loss_and_score(self) -> tuple[float, float]:
        """Return the mean loss, and accuracy or R2; NaN where predictions are not finite."""
        architecture = self.network.parameters.architecture
        everything, threads = slice(None), self.network.threads
        if architecture.loss in LOG_LOSSES:
            losses, correct = self._inference.losses(self.X, self.targets.y, self.weight, threads)
            score = float(np.average(correct, weights=self.weight))
        else:
            outputs = self._inference.outputs(self.X, threads)
            with np.errstate(over="ignore", invalid="ignore"):
                losses, _ = sample_losses(outputs, self.targets.y, "identity", architecture.loss)
                predicted = np.exp(outputs) if architecture.loss == "poisson" else outputs
            if self.weight is not None:
                losses = losses * self.weight
            score = np.nan
            if np.isfinite(predicted).all():
                score = r2_score(self.rows, predicted, sample_weight=self.weight)
        losses = reported(losses, self.weight, self.targets, everything, self.network)
        total = len(losses) if self.weight is None else self.weight.sum()
        return float(losses.sum() / total), float(score)
