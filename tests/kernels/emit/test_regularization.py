"""Kernels of penalties."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastmlp.kernels.jit.registry import launch


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_penalties_are_added_up_in_their_order(dtype):
    """What is small is lost beside 1e17, and is not where that has gone."""

    def total(totals: Any) -> float:
        penalty, given = np.full(3, 7.0), np.array(totals)
        launch(
            "reduce_penalties", dtype, penalty=penalty[1:].ctypes.data, totals=given.ctypes.data,
            count=given.size,
        )  # fmt: skip
        assert (penalty[[0, 2]] == 7).all()
        return penalty[1]

    assert total(np.outer([1, 1e17, -1e17, 1], [1, 2, 4, 8]).ravel()) == 15
    assert total([1e17, 1, -1e17, 1]) == 0
    assert total([1e17, -1e17, 1, 1]) == 2
    assert total([]) == 0
