"""The hyperparameters of steps, as the kernels read them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..optimizers import Optimizer
from .microkernel import HYPERPARAMETERS
from .workspace import HYPER_ROW

__all__ = ["hyperparameters"]


def hyperparameters(
    optimizer: Optimizer,
    rates: np.ndarray,
    totals: np.ndarray,
    l2: float,
    start: int,
    dtype: Any,
    l1: float = 0.0,
) -> np.ndarray:
    """Return the hyperparameters of consecutive steps, (steps, 2, HYPER_ROW).

    One row for weights, one for biases, which neither penalties nor weight decay touch.

    Parameters
    ----------
    optimizer : Optimizer
    rates : ndarray of float64, (steps,)
    totals : ndarray of float64, (steps,)
        What the gradient sums are divided by; where 0, the gradient counts as 0.
    l2 : float
    start : int
        Steps taken before.
    dtype : numpy dtype
    l1 : float
    """
    steps = np.arange(start + 1, start + 1 + len(rates), dtype=np.float64)
    scale = np.divide(1.0, totals, out=np.zeros_like(totals), where=totals > 0)
    beta_1, beta_2 = getattr(optimizer, "beta_1", 0.0), getattr(optimizer, "beta_2", 0.0)
    beta_2 = getattr(optimizer, "rho", beta_2)
    values = {
        "scale": scale,
        "learning_rate": rates,
        "l2": l2,
        "momentum": getattr(optimizer, "momentum", 0.0),
        "beta_1": beta_1,
        "one_minus_beta_1": 1 - beta_1,
        "beta_2": beta_2,
        "one_minus_beta_2": 1 - beta_2,
        "epsilon": getattr(optimizer, "epsilon", 0.0),
        "correction_1": 1 / (1 - beta_1**steps),
        "correction_2": 1 / (1 - beta_2**steps),
        "decay": 1 - rates * getattr(optimizer, "weight_decay", 0.0),
        "l1": l1,
    }
    table = np.zeros((len(rates), 2, HYPER_ROW), dtype)
    for i, name in enumerate(HYPERPARAMETERS):
        table[:, :, i] = np.asarray(values[name])[..., None]
    for name in ("l1", "l2"):
        table[:, 1, HYPERPARAMETERS.index(name)] = 0
    table[:, 1, HYPERPARAMETERS.index("decay")] = 1
    return table
