"""What follows on gradients in the reference, proved with SymPy as in ``test_symbolic``.

The optimizers are held against the recurrences of their papers, written as these write them.
"""

from __future__ import annotations

import importlib
from types import SimpleNamespace

import numpy as np
import pytest
import sympy as sp
from symbols import (
    assert_equal,
    gradient,
    number,
    numbers,
    symbol,
    symbols,
)

from fastmlp.optimizers import OptimizerState
from fastmlp.reference import optimizers, penalties

dense = importlib.import_module("fastmlp.reference.dense")  # the function hides the module


pytestmark = pytest.mark.usefixtures("symbolic")


# optimizers: three steps, on weights and biases, against the recurrences of their papers


def three_steps(**hyperparameters):
    """Return the settings, the start, the gradients and the reference's three values of each."""
    o = SimpleNamespace(**hyperparameters)
    weights, biases = symbols("W", [[1.0, -2.0]]), symbols("b", [0.5])
    start = [x.e for x in (*weights[0], *biases)]
    steps = [(symbols(f"G{t}", [[0.3, -0.7]]), symbols(f"g{t}", [0.2])) for t in (1, 2, 3)]
    rates = [symbol(f"r{t}", 0.1, positive=True) for t in (1, 2, 3)]
    zeros = [[numbers(np.zeros(p.shape, int)) for p in (weights, biases)] for _ in range(2)]
    state = OptimizerState(0, zeros[: SLOTS[o.rule]])
    seen = []
    for gradients, rate in zip(steps, rates, strict=True):
        optimizers.optimizer_step(o, [weights, biases], list(gradients), state, learning_rate=rate)
        seen.append([x.e for x in (*weights[0], *biases)])
    assert state.step == 3
    g = [[x.e for x in (*w[0], *b)] for w, b in steps]
    return SimpleNamespace(start=start, g=g, r=[rate.e for rate in rates], w=seen)


SLOTS = {"sgd": 0, "momentum": 1, "nesterov": 1, "adagrad": 1, "rmsprop": 1, "adam": 2}
MU, RHO, B1, B2, EPS, DECAY = (
    symbol(name, value, positive=True)
    for name, value in (("mu", 0.9), ("rho", 0.8), ("b1", 0.7), ("b2", 0.6), ("eps", 0.01),
                        ("decay", 0.05))
)  # fmt: skip


def test_every_rule_is_proved():
    assert {*optimizers._RULES} == {*SLOTS}


def test_gradient_descent():
    run = three_steps(rule="sgd")
    for i, w in enumerate(run.start):
        for t in range(3):
            w = w - run.r[t] * run.g[t][i]
            assert_equal([run.w[t][i]], [w])


def test_momentum_is_polyaks_heavy_ball():
    """w_{t+1} = w_t - r g_t + mu (w_t - w_{t-1}) (Polyak 1964)."""
    run = three_steps(rule="momentum", momentum=MU)
    for i, w in enumerate(run.start):
        before = w
        for t in range(3):
            before, w = w, w - run.r[t] * run.g[t][i] + MU.e * (w - before)
            assert_equal([run.w[t][i]], [w])


def test_nesterov_is_sutskevers_at_the_look_ahead():
    """v <- mu v - r g(w + mu v), w <- w + v (Sutskever et al. 2013, equations 3 and 4): what is
    kept is w + mu v, where the next gradient is taken.
    """
    run = three_steps(rule="nesterov", momentum=MU)
    for i, w in enumerate(run.start):
        v = sp.Integer(0)
        for t in range(3):
            v = MU.e * v - run.r[t] * run.g[t][i]
            w = w + v
            assert_equal([run.w[t][i]], [w + MU.e * v])


def test_adagrad():
    """w <- w - r g_t / (sqrt(sum_{k <= t} g_k^2) + eps) (Duchi et al. 2011)."""
    run = three_steps(rule="adagrad", epsilon=EPS)
    for i, w in enumerate(run.start):
        for t in range(3):
            total = sum(run.g[k][i] ** 2 for k in range(t + 1))
            w = w - run.r[t] * run.g[t][i] / (sp.sqrt(total) + EPS.e)
            assert_equal([run.w[t][i]], [w])


def moving_mean(values, beta):
    """Return (1 - beta) sum_k beta^(t - k) x_k, the mean that a recurrence keeps, unrolled."""
    t = len(values)
    return (1 - beta) * sum(beta ** (t - 1 - k) * x for k, x in enumerate(values))


def test_rmsprop():
    """w <- w - r g_t / (sqrt(s_t) + eps), s a moving mean of squares (Tieleman, Hinton 2012)."""
    run = three_steps(rule="rmsprop", rho=RHO, epsilon=EPS)
    for i, w in enumerate(run.start):
        for t in range(3):
            mean = moving_mean([run.g[k][i] ** 2 for k in range(t + 1)], RHO.e)
            w = w - run.r[t] * run.g[t][i] / (sp.sqrt(sp.expand(mean)) + EPS.e)
            assert_equal_roots(run.w[t][i], w)


@pytest.mark.parametrize("decays", [pytest.param(False, marks=pytest.mark.slow), True])
def test_adam_and_adamw(decays):
    """Algorithm 1 of Kingma and Ba 2015, its means unrolled as in their equation 1; AdamW: w is
    shrunk by 1 - r decay first (Loshchilov and Hutter 2019, algorithm 2), biases are not.
    """
    extra = {"weight_decay": DECAY} if decays else {}
    run = three_steps(rule="adam", beta_1=B1, beta_2=B2, epsilon=EPS, **extra)
    for i, w in enumerate(run.start):
        is_weight = i < 2
        for t in range(3):
            g = [run.g[k][i] for k in range(t + 1)]
            m = moving_mean(g, B1.e) / (1 - B1.e ** (t + 1))
            u = moving_mean([x**2 for x in g], B2.e) / (1 - B2.e ** (t + 1))
            if decays and is_weight:
                w = w - run.r[t] * DECAY.e * w
            w = w - run.r[t] * m / (sp.sqrt(u) + EPS.e)
            assert_equal_roots(run.w[t][i], w)


def assert_equal_roots(ours, theirs) -> None:
    """Prove equality with what stands below roots brought to one form first."""

    def form(e):
        return sp.expand(e).replace(
            lambda x: x.is_Pow and x.exp == sp.Rational(1, 2),
            lambda x: sp.sqrt(sp.factor(x.base)),
        )

    assert_equal([form(ours)], [form(theirs)])


# what keeps weights small


def test_penalty_and_its_gradient():
    w, l1, l2 = symbols("w", [[-2.0, 1.0], [0.5, -0.1]]), symbol("l1", 0.1), symbol("l2", 0.2)
    value = number(penalties.penalty([w], l1, l2))
    assert_equal([value], [l1 * abs(w).sum() + l2 / 2 * (w * w).sum()])
    assert_equal(penalties.penalty_gradient(w, l1, l2), gradient(value, w))


def test_clipping_keeps_the_direction_and_sets_the_norm():
    c = symbol("c", 0.5, positive=True)
    g = [symbols("g", [[3.0, -1.0]]), symbols("h", [2.0])]
    before = [x.copy() for x in g]
    norm = penalties.clip_by_global_norm(g, c)
    assert_equal([norm * norm], [sum((x * x).sum() for x in before)])
    assert_equal([sum((x * x).sum() for x in g)], [c * c])
    assert_equal(g[0] * before[1], before[0] * g[1])
    assert all((ours * theirs > 0).all() for ours, theirs in zip(g, before, strict=True))
    large = symbol("c", 50.0, positive=True)
    same = [x.copy() for x in before]
    penalties.clip_by_global_norm(same, large)
    for ours, theirs in zip(same, before, strict=True):
        assert_equal(ours, theirs)


def test_limiting_sets_the_norm_of_the_columns_beyond_it():
    c = symbol("c", 2.5, positive=True)
    w = symbols("w", [[3.0, 0.3], [4.0, -0.4]])
    before = w.copy()
    penalties.limit_norms([w], c)
    assert_equal([(w[:, 0] ** 2).sum()], [c * c])
    assert_equal([w[0, 0] * before[1, 0]], [before[0, 0] * w[1, 0]])
    assert (w * before > 0).all()
    assert_equal(w[:, 1], before[:, 1])
