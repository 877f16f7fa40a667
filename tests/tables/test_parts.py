"""Rows are drawn for training, validation and test."""

from __future__ import annotations

import numpy as np

from fastmlp.tables.parts import divide


def test_parts_are_drawn_class_by_class():
    y = np.repeat(["a", "b", "c"], [100, 40, 20])
    for seed in range(3):
        parts = divide(y, classes=True, test_size=0.25, seed=seed)
        assert [np.sum(y[parts.test] == name) for name in "abc"] == [25, 10, 5]
        together = np.sort(np.concatenate([parts.training, parts.validation, parts.test]))
        assert together.tolist() == list(range(160))
    rare = divide(np.append(y, "d"), classes=True)
    assert 160 in rare.training
    a, b = (divide(y, classes=True, seed=seed).test for seed in (0, 1))
    assert a.tolist() != b.tolist()
