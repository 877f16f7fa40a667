"""Data and jobs for tests of steps, and what programs call."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from fastmlp.kernels.program.operation import At, Phase

scipy_sparse = pytest.importorskip("scipy.sparse")

RNG = np.random.default_rng(0)
N = 100
LABELS = RNG.integers(0, 3, N)
FILLED = RNG.random((N, 40)) < np.linspace(0.02, 0.5, 40)
DENSE = RNG.standard_normal((N, 40))
FEW = RNG.integers(1, 5, (N, 40)) * FILLED
DATA = {
    "dense": DENSE.astype("float32"),
    "codes": FEW.astype("uint8"),
    "values": DENSE * FILLED,
    "sparse": scipy_sparse.csr_array(DENSE * FILLED),
    "converted": FEW.astype("int16"),
}
LAYERS = ((40, 70, 9, 3), (40, 9, 17, 3), (40, 3))


def records(phase: Phase, kernel: str) -> list[list[dict[str, Any]]]:
    """Return the records with which each share calls a kernel, turn by turn, as addresses go."""

    def of(share: Any) -> Iterator[dict[str, Any]]:
        for loop in share.loops:
            for turn in range(loop.turns):
                for operation in loop.operations:
                    if operation.kernel == kernel:
                        yield {
                            name: At(value.slot, value.offset + turn * value.turn, value.step)
                            if isinstance(value, At) else value
                            for name, value in operation.named().items()
                        }  # fmt: skip

    return [list(of(share)) for share in phase.shares]
