"""The range test of learning rates."""

from __future__ import annotations

import numpy as np
import pytest
from classifiers import LABELS, X, flat, make

from fastmlp import SGD
from fastmlp.callbacks import LearningRateFinder, LearningRates


def test_the_range_test_finds_a_rate_that_learns_and_changes_nothing(backend):
    net = make(backend, layers=(6, 16, 3), activation="relu")
    before, rng = flat(net), net._rng.bit_generator.state
    found = LearningRateFinder(low=1e-5, high=1e3, steps=120).run(
        net, X, LABELS, batch_size=16, optimizer=SGD(0.5)
    )
    np.testing.assert_array_equal(flat(net), before)
    assert net._rng.bit_generator.state == rng
    assert net._state.step == 0
    ratio = found.learning_rates[1:] / found.learning_rates[:-1]
    np.testing.assert_allclose(ratio, (1e3 / 1e-5) ** (1 / 119))
    assert len(found.losses) < 120  # it ends once the loss has blown up
    assert 1e-3 < found.suggestion < 10
    mean, weight = 0.0, 0.0
    for loss, smoothed in zip(found.losses, found.smoothed, strict=True):
        mean, weight = 0.98 * mean + 0.02 * loss, 0.98 * weight + 0.02
        assert smoothed == pytest.approx(mean / weight, rel=1e-9)
    history = net.fit(X, LABELS, epochs=30, batch_size=16, optimizer=SGD(found.suggestion))
    assert history.loss[-1] < 0.8 * history.loss[0]


def test_the_range_test_wants_a_network():
    with pytest.raises(TypeError, match="net: expected an MLP, got NoneType"):
        LearningRateFinder().run(None, X, LABELS)


def test_the_range_test_is_drawn():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    rates = np.geomspace(1e-3, 1, 4)
    found = LearningRates(rates, np.array([3.0, 2, 1, 9]), np.array([3.0, 2, 1, 2]))
    assert found.suggestion == pytest.approx(0.01)
    axes = found.plot()
    assert axes.get_xlabel() == "learning rate"
    assert [len(line.get_xdata()) for line in axes.lines[:2]] == [4, 4]
    assert found.plot(axes) is axes
    matplotlib.pyplot.close("all")
