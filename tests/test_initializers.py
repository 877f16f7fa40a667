"""Random draws: weights of every kind, from every kind of generator."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from fits import BACKENDS, parameters, same

from fastmlp import MLP
from fastmlp.initializers import INITIALIZERS, Normal, Uniform, Zeros


@pytest.mark.parametrize("kind", [lambda: 7, lambda: np.int64(7), lambda: np.random.default_rng(7)])
def test_a_seed_draws_the_same_on_both_backends(kind):
    wanted = np.random.default_rng(7)
    first, second = (MLP((6, 5, 4), rng=kind(), backend=b, dtype="float64") for b in BACKENDS)
    for net in (first, second):
        rng = copy.deepcopy(wanted)
        for w in net.weights:
            limit = np.sqrt(6 / sum(w.shape))
            np.testing.assert_array_equal(w, rng.uniform(-limit, limit, w.shape))
    assert not same(parameters(first), parameters(MLP((6, 5, 4), rng=8, dtype="float64")))
    assert not same(parameters(MLP((6, 5, 4))), parameters(MLP((6, 5, 4))))


def test_a_legacy_stream_is_drawn_from_layer_by_layer():
    stream = np.random.RandomState(42)
    net = MLP((6, 5, 4), rng=np.random.RandomState(42), init=Normal(0.01, True), dtype="float64")
    for w, b in zip(net.weights, net.biases, strict=True):
        np.testing.assert_array_equal(w, stream.randn(*w.shape) * 0.01)
        np.testing.assert_array_equal(b, stream.randn(*b.shape) * 0.01)


def test_a_generator_is_used_itself_and_the_global_stream_is_not():
    rng, before = np.random.default_rng(1), np.random.get_state()[1].copy()
    first, second = MLP((6, 5), rng=rng), MLP((6, 5), rng=rng)
    assert not same(parameters(first), parameters(second))
    np.testing.assert_array_equal(np.random.get_state()[1], before)


@pytest.mark.parametrize("name", INITIALIZERS)
def test_initializers_have_their_spread(name):
    n_in, n_out = 300, 200
    net = MLP((n_in, n_out), init=name, rng=5, dtype="float64")
    w = net.weights[0]
    assert not net.biases[0].any()
    if name == "zeros":
        assert not w.any()
        return
    family, distribution = name.split("_")
    variance = {"glorot": 2 / (n_in + n_out), "he": 2 / n_in, "lecun": 1 / n_in}[family]
    assert w.var() == pytest.approx(variance, rel=0.02)
    assert abs(w.mean()) < 4 * np.sqrt(variance / w.size)
    limit = np.sqrt(3 * variance)
    largest = np.abs(w).max()
    assert (0.999 * limit < largest <= limit) if distribution == "uniform" else largest > limit


def test_initializers_with_parameters():
    net = MLP((300, 200), init=Uniform(-0.25, 0.75, biases=True), rng=5)
    for values in (net.weights[0], net.biases[0]):
        assert -0.25 <= values.min() < -0.23
        assert 0.73 < values.max() <= 0.75
    assert MLP((300, 200), init=Normal(3), rng=5).weights[0].std() == pytest.approx(3, rel=0.02)
    assert not MLP((3, 2), init=Zeros(), rng=0).weights[0].any()
    for wrong in (lambda: Normal(-1), lambda: Normal(np.nan), lambda: Uniform(1, 0)):
        with pytest.raises(ValueError):
            wrong()
    with pytest.raises(TypeError, match="scale"):
        Normal("wide")
