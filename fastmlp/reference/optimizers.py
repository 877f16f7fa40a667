"""One step of every optimizer, in place. g is the gradient, w the parameter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..contract import signatures
from ..contract.operations import check_optimizer_step, implements
from ..optimizers import OptimizerState

__all__ = ["optimizer_step"]

Arrays = Sequence[np.ndarray]


def _sgd(o: Any, w: np.ndarray, g: np.ndarray, slots: Arrays, t: int, rate: float) -> None:
    """w <- w - rate g."""
    w -= rate * g


def _momentum(o: Any, w: np.ndarray, g: np.ndarray, slots: Arrays, t: int, rate: float) -> None:
    """v <- mu v - rate g;  w <- w + v (Sutskever et al. 2013)."""
    (v,) = slots
    v *= o.momentum
    v -= rate * g
    w += v


def _nesterov(o: Any, w: np.ndarray, g: np.ndarray, slots: Arrays, t: int, rate: float) -> None:
    """v <- mu v - rate g;  w <- w + mu v - rate g."""
    (v,) = slots
    v *= o.momentum
    v -= rate * g
    w += o.momentum * v - rate * g


def _adagrad(o: Any, w: np.ndarray, g: np.ndarray, slots: Arrays, t: int, rate: float) -> None:
    """s <- s + g^2;  w <- w - rate g / (sqrt(s) + epsilon)."""
    (s,) = slots
    s += g * g
    w -= rate * g / (np.sqrt(s) + o.epsilon)


def _rmsprop(o: Any, w: np.ndarray, g: np.ndarray, slots: Arrays, t: int, rate: float) -> None:
    """s <- rho s + (1 - rho) g^2;  w <- w - rate g / (sqrt(s) + epsilon)."""
    (s,) = slots
    s *= o.rho
    s += (1 - o.rho) * g * g
    w -= rate * g / (np.sqrt(s) + o.epsilon)


def _adam(o: Any, w: np.ndarray, g: np.ndarray, slots: Arrays, t: int, rate: float) -> None:
    """m <- b1 m + (1 - b1) g;  u <- b2 u + (1 - b2) g^2;
    w <- w - rate m' / (sqrt(u') + epsilon), m' = m / (1 - b1^t), u' = u / (1 - b2^t).

    AdamW first shrinks weight matrices: w <- (1 - rate decay) w.
    """
    m, u = slots
    m *= o.beta_1
    m += (1 - o.beta_1) * g
    u *= o.beta_2
    u += (1 - o.beta_2) * g * g
    m_hat = m / (1 - o.beta_1**t)
    u_hat = u / (1 - o.beta_2**t)
    if w.ndim == 2:
        w *= 1 - rate * getattr(o, "weight_decay", 0.0)
    w -= rate * m_hat / (np.sqrt(u_hat) + o.epsilon)


_RULES = {
    "sgd": _sgd,
    "momentum": _momentum,
    "nesterov": _nesterov,
    "adagrad": _adagrad,
    "rmsprop": _rmsprop,
    "adam": _adam,
}


@implements(signatures.optimizer_step)
def optimizer_step(
    optimizer: Any,
    parameters: Arrays,
    gradients: Arrays,
    state: OptimizerState,
    *,
    learning_rate: float | None = None,
) -> None:
    """Apply the rule that the optimizer names; they stand above, one function each."""
    rate = check_optimizer_step(optimizer, parameters, gradients, state, learning_rate)
    state.step += 1
    # mutant False: both are of one length
    for i, (w, g) in enumerate(zip(parameters, gradients, strict=True)):
        slots = [slot[i] for slot in state.slots]
        _RULES[optimizer.rule](optimizer, w, g, slots, state.step, rate)
