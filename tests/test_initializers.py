"""Random draws: weights of every kind, from every kind of generator."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import pytest
from fits import BACKENDS, parameters, same

from fastmlp import MLP
from fastmlp.initializers import INITIALIZERS, Normal, Scaled, Uniform, Zeros


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


@pytest.mark.parametrize(
    "kind", [Normal, Uniform, Zeros, lambda **k: Scaled(lambda *n: 1, True, **k)]
)
def test_an_initializer_draws_biases_or_not(kind):
    with pytest.raises(TypeError, match=r"^biases: expected True or False, got 'no'"):
        kind(biases="no")


def test_the_spread_of_an_initializer_is_a_function():
    with pytest.raises(TypeError, match=r"^variance: expected a function, got 0\.1"):
        Scaled(0.1, True)
    with pytest.raises(TypeError, match=r"^normal: expected True or False, got 1"):
        Scaled(lambda *n: 0.1, 1)


@dataclass(frozen=True)
class Drawn:
    values: object
    biases: bool = False

    def draw(self, rng, shape, n_in, n_out):
        return self.values


@pytest.mark.parametrize(
    ("init", "said"),
    [
        (Drawn(0.5), r"draw an array of shape \(3, 2\), got \(\)"),
        (Drawn(np.ones(2)), r"draw an array of shape \(3, 2\), got \(2,\)"),
        (Drawn(np.ones((3, 2)), True), r"draw an array of shape \(2,\), got \(3, 2\)"),
        (Drawn(np.full((3, 2), np.nan)), "draw numbers that float32 can hold"),
        (Normal(1e300), "draw numbers that float32 can hold"),
    ],
)
def test_what_an_initializer_draws_is_checked(init, said):
    with pytest.raises(ValueError, match=f"(?s)^init: expected .* to {said}"):
        MLP((3, 2), init=init, rng=0)


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
