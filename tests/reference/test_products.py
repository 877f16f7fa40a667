"""Products of bfloat16 parts: rounding, parts, sums."""

from __future__ import annotations

import numpy as np

from fastmlp.reference import products


def test_bfloat16_is_rounded_to_the_nearest_and_ties_to_the_even():
    upper = np.array([0x0001, 0x3F80, 0x3F81, 0x7F7F, 0xBF80, 0xC0FF, 0x0000, 0x8000], np.uint32)
    lower = np.array([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF], np.uint32)
    bits = (upper[:, None] << 16) | lower
    even = upper + (upper & 1)
    expected = np.stack([upper, upper, upper, even, upper + 1, upper + 1], 1) << 16
    found = products.round_to_bfloat16(bits.view(np.float32))
    assert np.array_equal(found.view(np.uint32), expected)
    for value in (np.inf, -np.inf, np.nan):
        assert np.array_equal(
            products.round_to_bfloat16(np.float32([value])), [value], equal_nan=True
        )
    signalling = np.array([0x7F800001, 0xFF80FFFF], np.uint32).view(np.float32)
    assert np.isnan(products.round_to_bfloat16(signalling)).all()


def test_parts_are_the_number_but_for_its_last_bits():
    x = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    one, two = products.split(x, 2)
    assert np.array_equal(one, products.round_to_bfloat16(x))
    assert (np.abs(x - one) <= 2**-8 * np.abs(x)).all()
    assert (np.abs(x - one - two) <= 2**-16 * np.abs(x)).all()
    assert (two != 0).any()
    assert [part.tolist() for part in products.split(np.float32([np.inf]), 2)] == [[np.inf], [0.0]]


def test_products_are_sums_over_parts():
    rng = np.random.default_rng(1)
    a, b = (rng.standard_normal(s).astype(np.float32) for s in ((3, 5), (5, 4)))
    (a1, a2), (b1, b2) = products.split(a, 2), products.split(b, 2)
    assert np.array_equal(products.product(a, b), a @ b)
    assert np.array_equal(products.product(a, b, 1), a1 @ b1)
    whole = (a1.astype(float) + a2) @ (b1.astype(float) + b2) - a2.astype(float) @ b2
    np.testing.assert_allclose(products.product(a, b, 2), whole, rtol=0, atol=1e-6)
    assert np.abs(products.product(a, b, 2) - a1 @ b1).max() > 1e-4
