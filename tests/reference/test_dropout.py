"""Dropout: what its draws are a function of."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fastmlp.reference.dropout import draws, dropout_factors, key_words, mix
from fastmlp.regularization import threshold

KEY = np.array([0x01234567, 0x89ABCDEF], np.uint32)


def plain_mix(x: int) -> int:
    x ^= x >> 16
    x = x * 0x7FEB352D % 2**32
    x ^= x >> 15
    x = x * 0x846CA68B % 2**32
    return x ^ x >> 16


def plain_draw(key, step: int, layer: int, place: int, unit: int) -> int:
    """Return a draw in Python's own integers, from the written definition."""
    a, b = (
        plain_mix((plain_mix((plain_mix((k + step) % 2**32) + layer) % 2**32) + place) % 2**32)
        for k in map(int, key)
    )
    x = (a + unit) % 2**32
    x = (x ^ x >> 16) * 0x7FEB352D % 2**32 ^ b
    x = (x ^ x >> 15) * 0x846CA68B % 2**32
    return x ^ x >> 16


def test_draws_are_what_their_definition_says():
    for step in (0, 7, 2**32 - 1, 2**33 + 5):
        words = key_words(KEY, step, 2, 3)
        assert words.shape == (2, 3, 2)
        assert words.dtype == np.uint32
        for t in range(2):
            for layer in range(3):
                found = draws(words[t, layer], 5, 4)
                wanted = [
                    [plain_draw(KEY, (step + t) % 2**32, layer, i, j) for j in range(4)]
                    for i in range(5)
                ]
                assert found.tolist() == wanted


def test_the_hash_is_known_and_loses_nothing():
    assert mix(np.array([0, 1, 2], np.uint32)).tolist() == [0, 1753845952, 3507691905]
    some = np.arange(2**16, dtype=np.uint32) * np.uint32(65537)
    assert len(np.unique(mix(some))) == 2**16


def correlation(a, b) -> float:
    """Return the correlation of two arrays in units of its standard deviation if independent."""
    a, b = a.ravel() - a.mean(), b.ravel() - b.mean()
    return float((a * b).mean() / (a.std() * b.std())) * math.sqrt(a.size)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_draws_pass_for_random(rate):
    """Means and correlations stay within 4.5 standard deviations; all is seeded."""
    n, units = 512, 300
    words = key_words(KEY, 0, 4, 3)
    kept = np.array(
        [[draws(w, n, units) >= threshold(rate) for w in step] for step in words], np.float64
    )
    sigma = math.sqrt(rate * (1 - rate))
    bound = 4.5
    assert abs(kept.mean() - (1 - rate)) < bound * sigma / math.sqrt(kept.size)
    for axis, size in (((0, 1, 2), 12 * n), ((0, 1, 3), 12 * units), ((2, 3), n * units)):
        means = kept.mean(axis=axis)  # per unit, per place, per step and layer
        assert np.abs(means - (1 - rate)).max() < bound * sigma / math.sqrt(size)
    for lag in (1, 2, 8, 16, 64):
        assert abs(correlation(kept[..., lag:], kept[..., :-lag])) < bound
        assert abs(correlation(kept[:, :, lag:], kept[:, :, :-lag])) < bound
        diagonal = correlation(kept[:, :, lag:, lag:], kept[:, :, :-lag, :-lag])
        assert abs(diagonal) < bound
        assert abs(correlation(kept[:, :, lag:, :-lag], kept[:, :, :-lag, lag:])) < bound
    assert abs(correlation(kept[1:], kept[:-1])) < bound
    assert abs(correlation(kept[:, 1:], kept[:, :-1])) < bound
    for other in ((KEY[0] ^ 1, KEY[1]), (KEY[0], KEY[1] ^ 1), KEY[::-1]):
        words = key_words(np.array(other, np.uint32), 0, 1, 1)
        another = draws(words[0, 0], n, units) >= threshold(rate)
        assert abs(correlation(another, kept[0, 0])) < bound


def test_every_bit_of_a_draw_is_even():
    bits = np.unpackbits(draws(key_words(KEY, 3, 1, 1)[0, 0], 2000, 64).view(np.uint8))
    shares = bits.reshape(-1, 32).mean(axis=0)
    assert np.abs(shares - 0.5).max() < 4.5 * 0.5 / math.sqrt(2000 * 64)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_factors_keep_the_mean(dtype):
    words = key_words(KEY, 0, 1, 1)[0, 0]
    factors = dropout_factors(words, 1000, 100, 0.25, np.dtype(dtype))
    assert factors.dtype == dtype
    assert set(np.unique(factors).tolist()) == {0.0, float(np.dtype(dtype).type(1 / 0.75))}
    assert factors.mean() == pytest.approx(1, abs=4.5 * math.sqrt(1 / 3) / math.sqrt(1e5))
    assert int(threshold(0.25)) == 2**30
    assert int(threshold(1 - 1e-12)) == 2**32 - 1
