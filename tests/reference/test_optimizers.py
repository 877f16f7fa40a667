"""The optimizers of the reference: a scalar at a time, and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fastmlp import SGD, AdaGrad, Adam, AdamW, RMSProp, reference

# optimizers: a scalar at a time with Python's floats, then closed forms for a constant gradient


def run(optimizer, gradients, w0=0.8, ndim=2, **options) -> list[float]:
    w = [np.full((1,) * ndim, w0)]
    state, path = optimizer.start(w), []
    for g in gradients:
        reference.optimizer_step(optimizer, w, [np.full((1,) * ndim, g)], state, **options)
        path.append(w[0].item())
    assert state.step == len(gradients)
    return path


GRADIENTS = [0.3, -0.7, 1.9, 0.0, -0.2, 0.05]


def test_each_rule_is_its_formula():
    w = v = nw = nv = aw = s = rw = u = dw = m = q = ww = 0.0
    w = nw = aw = rw = dw = ww = 0.8
    wanted = []
    for t, g in enumerate(GRADIENTS, 1):
        v = 0.8 * v - 0.1 * g
        w += v
        nv = 0.8 * nv - 0.1 * g
        nw += 0.8 * nv - 0.1 * g
        s += g**2
        aw -= 0.1 * g / (math.sqrt(s) + 1e-3)
        u = 0.7 * u + 0.3 * g**2
        rw -= 0.1 * g / (math.sqrt(u) + 1e-3)
        m = 0.6 * m + 0.4 * g
        q = 0.95 * q + 0.05 * g**2
        step = 0.1 * m / (1 - 0.6**t) / (math.sqrt(q / (1 - 0.95**t)) + 1e-3)
        dw -= step
        ww = ww - 0.1 * 0.5 * ww - step
        wanted.append((w, nw, aw, rw, dw, ww))
    betas = {"beta_1": 0.6, "beta_2": 0.95, "epsilon": 1e-3}
    got = [
        run(SGD(0.1, momentum=0.8), GRADIENTS),
        run(SGD(0.1, momentum=0.8, nesterov=True), GRADIENTS),
        run(AdaGrad(0.1, epsilon=1e-3), GRADIENTS),
        run(RMSProp(0.1, rho=0.7, epsilon=1e-3), GRADIENTS),
        run(Adam(0.1, **betas), GRADIENTS),
        run(AdamW(0.1, **betas, weight_decay=0.5), GRADIENTS),
    ]
    np.testing.assert_allclose(np.transpose(got), wanted, rtol=1e-13)
    sgd = 0.8 - 0.1 * np.cumsum(GRADIENTS)
    np.testing.assert_allclose(run(SGD(0.1), GRADIENTS), sgd, rtol=1e-13)
    np.testing.assert_allclose(run(SGD(9.0), GRADIENTS, learning_rate=0.1), sgd, rtol=1e-13)


def test_closed_forms_for_a_constant_gradient():
    g, lr, mu, t = -0.4, 0.05, 0.9, np.arange(1, 13)
    velocity = -lr * g * (1 - mu**t) / (1 - mu)
    same = [g] * 12
    cases = {
        SGD(lr, momentum=mu): np.cumsum(velocity),
        SGD(lr, momentum=mu, nesterov=True): np.cumsum(mu * velocity - lr * g),
        AdaGrad(lr, epsilon=1e-30): lr * np.cumsum(1 / np.sqrt(t)),
        RMSProp(lr, rho=mu, epsilon=1e-30): lr * np.cumsum(1 / np.sqrt(1 - mu**t)),
        Adam(lr, epsilon=1e-30): lr * t,  # the corrections make every mean the gradient itself
    }
    for optimizer, moved in cases.items():
        np.testing.assert_allclose(run(optimizer, same), 0.8 + moved, rtol=1e-10)


def test_adamw_shrinks_matrices_and_leaves_vectors():
    lr, decay, t = 0.05, 0.6, np.arange(1, 9)
    q = 1 - lr * decay
    optimizer = AdamW(lr, weight_decay=decay, epsilon=1e-30)
    falling = 0.8 * q**t - lr * (1 - q**t) / (1 - q)
    np.testing.assert_allclose(run(optimizer, [0.4] * 8), falling, rtol=1e-10)
    np.testing.assert_allclose(run(optimizer, [0.4] * 8, ndim=1), 0.8 - lr * t, rtol=1e-10)


def test_nesterov_is_momentum_that_looks_ahead():
    """On a parabola: w + mu v of the form with the gradient taken at w + mu v."""
    lr, mu, curvature = 0.1, 0.9, 1.7
    w, v, ours = 0.8, 0.0, [np.array([[0.8]])]
    optimizer = SGD(lr, momentum=mu, nesterov=True)
    state = optimizer.start(ours)
    for _ in range(10):
        v = mu * v - lr * curvature * (w + mu * v)
        w += v
        reference.optimizer_step(optimizer, ours, [curvature * ours[0]], state)
        assert ours[0].item() == pytest.approx(w + mu * v, rel=1e-12)
