"""The optimizers on vectors: what `fastmlp.reference.optimizers` is in NumPy.

An entry of the table is all that the kernels know of a rule: from it come the cases of every
kernel that takes a step, and their codes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np

from ...optimizers import Optimizer
from .vector_math import Vec

__all__ = [
    "ADD",
    "HYPERPARAMETERS",
    "HYPER_ROW",
    "OPTIMIZERS",
    "STORE",
    "hyperparameters",
    "load_hyperparameters",
    "one_step",
    "state_arrays",
    "step_vector",
    "updates",
    "whole_gradient",
]

STORE, ADD = 90, 91  # the sums themselves: written to, or added to, a gradient

# One row of these, in the network's dtype, per step and kind of parameter (weights, biases).
HYPERPARAMETERS = (
    "scale", "learning_rate", "l2", "momentum", "beta_1", "one_minus_beta_1", "beta_2",
    "one_minus_beta_2", "epsilon", "correction_1", "correction_2", "decay", "l1",
)  # fmt: skip
_PLACES = {name: place for place, name in enumerate(HYPERPARAMETERS)}
HYPER_ROW = 16  # elements of a row of hyperparameters
assert len(HYPERPARAMETERS) <= HYPER_ROW

Hyper = dict[str, Any]


class Rule(NamedTuple):
    """A step on vectors."""

    # of v, h, the gradient, the parameter, addresses of its slots: the new parameter
    step: Callable[[Vec, Hyper, Any, Any, list[Any]], Any]
    slots: int  # arrays that it remembers


def _betas(optimizer: Optimizer) -> tuple[float, float]:
    beta_2 = getattr(optimizer, "beta_2", 0.0)
    return getattr(optimizer, "beta_1", 0.0), getattr(optimizer, "rho", beta_2)


def _changing(optimizer: Optimizer, rates: Any, steps: Any) -> dict[str, Any]:
    """Return what is not the same in every step, for steps of these rates and numbers."""
    changing: dict[str, Any] = {"learning_rate": rates}
    for number, beta in enumerate(_betas(optimizer), 1):
        if beta:
            changing[f"correction_{number}"] = 1 / (1 - beta**steps)
    if decay := getattr(optimizer, "weight_decay", 0.0):
        changing["decay"] = 1 - rates * decay
    return changing


def one_step(optimizer: Optimizer, rate: float, step: int, dtype: Any) -> np.ndarray:
    """Return the hyperparameters of one step from plain gradients, (2, HYPER_ROW).

    As `hyperparameters` does for many steps, which takes ten times as long for one.
    """
    table = _usual_rows(optimizer, dtype).copy()
    for name, value in _changing(optimizer, rate, step).items():
        table[:, _PLACES[name]] = value
    table[1, _PLACES["decay"]] = 1.0
    return table


@lru_cache(maxsize=16)
def _usual_rows(optimizer: Optimizer, dtype: np.dtype) -> np.ndarray:
    """Return the hyperparameters of any step, (2, HYPER_ROW)."""
    beta_1, beta_2 = _betas(optimizer)
    values = {
        "scale": 1.0,
        "momentum": getattr(optimizer, "momentum", 0.0),
        "beta_1": beta_1,
        "one_minus_beta_1": 1 - beta_1,
        "beta_2": beta_2,
        "one_minus_beta_2": 1 - beta_2,
        "epsilon": getattr(optimizer, "epsilon", 0.0),
        "correction_1": 1.0,
        "correction_2": 1.0,
        "decay": 1.0,
    }
    table = np.zeros((2, HYPER_ROW), dtype)
    for name, value in values.items():
        table[:, _PLACES[name]] = value
    return table


def hyperparameters(
    optimizer: Optimizer,
    rates: np.ndarray,
    totals: np.ndarray,
    l2: float,
    start: int,
    out: np.ndarray,
    l1: float = 0.0,
) -> np.ndarray:
    """Return `out` with the hyperparameters of consecutive steps, (steps, 2, HYPER_ROW).

    One row for weights, one for biases, which neither penalties nor weight decay touch. A step's
    gradient sums are divided by its total of `totals`; where that is 0, the gradient counts as 0.
    `start` steps were taken before.
    """
    steps = np.arange(start + 1, start + 1 + len(rates), dtype=np.float64)
    scale = np.divide(1.0, totals, out=np.zeros_like(totals), where=totals > 0)
    out[:] = _usual_rows(optimizer, out.dtype)
    for name, value in ({"scale": scale} | _changing(optimizer, rates, steps)).items():
        out[:, :, _PLACES[name]] = np.asarray(value)[..., None]
    out[:, 0, _PLACES["l1"]], out[:, 0, _PLACES["l2"]] = l1, l2
    out[:, 1, _PLACES["decay"]] = 1
    return out


def _sgd(v: Vec, h: Hyper, g: Any, x: Any, slots: list[Any]) -> Any:
    return v.fma(v.negative(h["learning_rate"]), g, x)


def _momentum(v: Vec, h: Hyper, g: Any, x: Any, slots: list[Any], nesterov: bool = False) -> Any:
    b, (slot,) = v.b, slots
    step = b.fmul(h["learning_rate"], g)
    velocity = b.fsub(b.fmul(h["momentum"], v.load(slot)), step)
    v.store(velocity, slot)
    if nesterov:
        velocity = b.fsub(b.fmul(h["momentum"], velocity), step)
    return b.fadd(x, velocity)


def _scaled(v: Vec, h: Hyper, g: Any, x: Any, slots: list[Any], forgets: bool) -> Any:
    b, (slot,) = v.b, slots
    square = v.load(slot)
    if forgets:
        kept = b.fmul(h["beta_2"], square)
        square = v.fma(b.fmul(h["one_minus_beta_2"], g), g, kept)
    else:
        square = v.fma(g, g, square)
    v.store(square, slot)
    root = b.fadd(v.intrinsic("sqrt", [square]), h["epsilon"])
    return b.fsub(x, b.fdiv(b.fmul(h["learning_rate"], g), root))


def _adam(v: Vec, h: Hyper, g: Any, x: Any, slots: list[Any]) -> Any:
    b, (first, second) = v.b, slots
    m = v.fma(h["one_minus_beta_1"], g, b.fmul(h["beta_1"], v.load(first)))
    kept = b.fmul(h["beta_2"], v.load(second))
    u = v.fma(b.fmul(h["one_minus_beta_2"], g), g, kept)
    v.store(m, first)
    v.store(u, second)
    root = v.intrinsic("sqrt", [b.fmul(u, h["correction_2"])])
    step = b.fmul(h["learning_rate"], b.fmul(m, h["correction_1"]))
    step = b.fdiv(step, b.fadd(root, h["epsilon"]))
    return b.fsub(b.fmul(x, h["decay"]), step)


_RULES: dict[str, Rule] = {
    "sgd": Rule(_sgd, 0),
    "momentum": Rule(_momentum, 1),
    "nesterov": Rule(partial(_momentum, nesterov=True), 1),
    "adagrad": Rule(partial(_scaled, forgets=False), 1),
    "rmsprop": Rule(partial(_scaled, forgets=True), 1),
    "adam": Rule(_adam, 2),
}
OPTIMIZERS = {name: code for code, name in enumerate(_RULES)}  # the codes that programs pass


def load_hyperparameters(v: Vec, address: Any, names: Sequence[str] = HYPERPARAMETERS) -> Hyper:
    """Return hyperparameters of a row, each in every lane."""
    return {name: v.splat(v.load_item(address, _PLACES[name])) for name in names}


def whole_gradient(v: Vec, h: dict[str, Any], total: Any, x: Any, l1: bool) -> Any:
    """Return scale * total + l2 * x, and with `l1` + l1 * sign(x)."""
    g = v.fma(h["l2"], x, v.b.fmul(h["scale"], total))
    if not l1:
        return g
    zero = v.c(0.0)
    signed = v.b.select(v.greater(x, zero), h["l1"], v.negative(h["l1"]))
    return v.b.fadd(g, v.b.select(v.b.fcmp_ordered("==", x, zero), zero, signed))


def step_vector(
    v: Vec, name: str, h: Hyper, total: Any, w: Any, slots: list[Any], l1: bool
) -> None:
    """Emit one vector's step: the whole gradient, then the rule of `name`; `slots` are the
    addresses of its state.
    """
    x = v.load(w)
    g = whole_gradient(v, h, total, x, l1)
    v.store(_RULES[name].step(v, h, g, x, slots), w)


def updates(v: Vec, q: Any, *, l1: bool = False) -> Iterator[Callable[[Any, Any, Any], None]]:
    """Emit the body of a ``for`` for everything that may become of gradient sums, by `q.code`: it
    calls what it is given, ``become(sum, row, offset)``, for every sum.

    A rule's state arrays lie `q.state` bytes behind the parameters and behind one another.
    """

    def step(total: Any, row: Any, offset: int) -> None:
        slots, place = [], row
        for _ in range(_RULES[name].slots):
            place = v.at(place, q.state)
            slots.append(v.at(place, offset))
        step_vector(v, name, h, total, v.at(row, offset), slots, l1)

    def add(x: Any, row: Any, offset: int) -> None:
        v.store(v.b.fadd(x, v.load(row, offset)), row, offset)

    for name in v.cases(q.code, {"store": STORE, "add": ADD, **OPTIMIZERS}):
        if name in OPTIMIZERS:
            h = load_hyperparameters(v, q.hyper)
            yield step
        else:
            yield v.store if name == "store" else add


def state_arrays(code: int) -> int:
    """Return how many arrays the rule of a code keeps beside the parameters."""
    return _RULES[list(_RULES)[code]].slots
