"""Schedules: the rates that they give, and what they remember."""

from __future__ import annotations

import math

import numpy as np
import pytest
from fits import LABELS, X, make, parameters, rates

from fastmlp import (
    SGD,
    AnnealOnRise,
    Constant,
    CosineDecay,
    ExponentialDecay,
    InverseScaling,
    OneCycle,
    ReduceOnPlateau,
    StepDecay,
)


def half_cosine(x: float) -> float:
    return (1 + math.cos(math.pi * x)) / 2


FORMULAS = {
    "constant": (Constant(), lambda e, t: 0.8),
    "steps": (StepDecay(0.3, every=2), lambda e, t: 0.8 * 0.3 ** (e // 2)),
    "exponential": (ExponentialDecay(0.7), lambda e, t: 0.8 * 0.7**e),
    "inverse": (InverseScaling(0.6), lambda e, t: 0.8 / (1 + t) ** 0.6),
    "cosine": (CosineDecay(0.1), lambda e, t: 0.8 * (0.1 + 0.9 * half_cosine(t / 24))),
    "short cosine": (CosineDecay(epochs=3), lambda e, t: 0.8 * half_cosine(min(t / 12, 1))),
    "warm cosine": (
        CosineDecay(warmup=0.25),
        lambda e, t: 0.8 * (t / 6 if t < 6 else half_cosine((t - 6) / 18)),
    ),
    "one cycle": (
        OneCycle(warmup=0.5, start=0.2, final=0.01),
        lambda e, t: 0.8 * (
            0.2 + 0.8 * (1 - half_cosine(t / 12))
            if t < 12
            else 0.01 + 0.99 * half_cosine((t - 12) / 12)
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("schedule", "formula"), FORMULAS.values(), ids=FORMULAS)
def test_a_schedule_is_its_formula(schedule, formula):
    wanted = [[formula(e, 4 * e + s) for s in range(4)] for e in range(6)]
    np.testing.assert_allclose(rates(schedule), wanted, rtol=1e-12, atol=1e-16)


def test_the_rate_falls_when_the_loss_has_risen():
    losses = (1.0, 0.5, 0.6, 0.7, 0.7, 0.1)
    found = rates(AnnealOnRise(0.5), losses=losses)[:, 0] / 0.8
    np.testing.assert_allclose(found, [1, 1, 1, 0.5, 0.25, 0.25])


def test_the_rate_falls_when_the_loss_has_stopped_falling():
    schedule = ReduceOnPlateau(0.5, patience=1, min_delta=0.05)
    losses = (1.0, 0.98, 0.97, 0.5, 0.6, 0.7)
    found = rates(schedule, losses=losses)[:, 0] / 0.8
    np.testing.assert_allclose(found, [1, 1, 1, 0.5, 0.5, 0.5])
    rising = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)  # the validation loss is watched where there is one
    found = rates(schedule, losses=(6.0, 5.0, 4.0, 3.0, 2.0, 1.0), val_losses=rising)[:, 0] / 0.8
    np.testing.assert_allclose(found, [1, 1, 1, 0.5, 0.5, 0.25])


def test_fit_takes_the_schedule_s_rate_for_each_step(backend):
    schedule, net, twin = OneCycle(), make(backend), make(backend)
    history = net.fit(X, LABELS, epochs=2, batch_size=35, shuffle=False, schedule=schedule)
    wanted = 0.1 * schedule.curve(np.arange(4) / 2, 2, 2)
    for step, rate in enumerate(wanted):
        rows = slice(35 * (step % 2), 35 * (step % 2) + 35)
        twin.fit(X[rows], LABELS[rows], epochs=1, batch_size=None, optimizer=SGD(rate))
    assert history.learning_rate == wanted[::2].tolist()
    for a, b in zip(parameters(net), parameters(twin), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
