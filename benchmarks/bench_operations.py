"""Every operation of the contract on both backends, over the cases of the parity tests."""

from __future__ import annotations

import numpy as np

from fastmlp import kernels, reference
from fastmlp.verification import TOLERANCE, Sizes, all_cases, difference, outcome

BACKENDS = {"numba": kernels, "numpy": reference}
CASES = {str(case): case for case in all_cases()}
TIMED = (
    "activate[sigmoid]",
    "activate[gelu]",
    "dense[sigmoid]",
    "dense_backward",
    "softmax",
    "softmax_cross_entropy[labels]",
    "forward[sigmoid]",
    "loss_and_gradients[sigmoid]",
    "optimizer_step[adam]",
    "train_epoch[sgd]",
    "train_epoch[batch 1]",
    "train_epoch[batch None]",
)


class Operations:
    """Public operations over plain arrays, the copies into padded memory included."""

    params = (TIMED, ("numba", "numpy"), ("float32", "float64"))
    param_names = ("case", "backend", "dtype")

    def setup(self, name: str, backend: str, dtype: str) -> None:
        self.case = CASES[name]
        made = self.case.make(np.random.default_rng(0), dtype, Sizes(512, 256, 128))
        self.positional, self.keywords = made
        self.call = getattr(BACKENDS[backend], self.case.operation)
        gap = difference(outcome(BACKENDS[backend], self.case, made),
                         outcome(reference, self.case, made))  # fmt: skip
        # sums of up to 512 terms: ten times what the parity tests allow their smaller sizes
        if not gap <= 10 * TOLERANCE[dtype]:
            raise AssertionError(f"{name} differs from the reference by {gap:.1e}")

    def time_call(self, name: str, backend: str, dtype: str) -> None:
        self.call(*self.positional, **self.keywords)
