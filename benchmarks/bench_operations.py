"""Every operation of the contract on both backends, over the cases of the parity tests."""

from __future__ import annotations

from functools import partial

import numpy as np

from fastmlp import MLP, kernels, reference
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
    """Public operations over plain arrays."""

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


class Layers:
    """A layer forward and backward, from calls that are little but their own cost to whole ones."""

    rows = (1, 8, 64, 1000, 10_000)
    layers = ((8, 8), (64, 64), (784, 128), (1024, 1024))
    operations = ("dense", "dense_backward", "activate", "softmax_cross_entropy")
    params = (operations, rows, layers, ("numba", "numpy"), ("float32", "float64"))
    param_names = ("operation", "rows", "layer", "backend", "dtype")

    def setup(
        self, operation: str, rows: int, layer: tuple[int, int], backend: str, dtype: str
    ) -> None:
        n_in, n_out = layer
        if rows * n_in * n_out > 2_000_000_000:
            raise NotImplementedError  # asv leaves it out
        rng = np.random.default_rng(0)
        x, w = (rng.standard_normal(shape).astype(dtype) for shape in ((rows, n_in), layer))
        z, labels = rng.standard_normal((rows, n_out)).astype(dtype), rng.integers(0, n_out, rows)
        call = getattr(BACKENDS[backend], operation)
        self.call = {
            "dense": partial(call, x, w, activation="sigmoid"),
            "dense_backward": partial(call, z, x, w),
            "activate": partial(call, z, activation="gelu"),
            "softmax_cross_entropy": partial(call, z, labels),
        }[operation]
        self.call()

    def time_call(self, *_: object) -> None:
        self.call()


class Inference:
    """Outputs of a few to some thousand rows."""

    params = ((1, 2, 8, 32, 100, 1000, 10_000), ((20, 100, 2), (784, 128, 64, 10)), (None, 1))
    param_names = ("rows", "layers", "threads")

    def setup(self, rows: int, layers: tuple[int, ...], threads: int | None) -> None:
        self.net = MLP(layers, rng=0, threads=threads)
        self.X = np.random.default_rng(0).standard_normal((rows, layers[0]), np.float32)
        for _ in range(10):  # compiles, and learns whether threads pay
            self.net.predict_proba(self.X)

    def time_predict_proba(self, *_: object) -> None:
        self.net.predict_proba(self.X)

    def time_look_for_nan(self, *_: object) -> None:
        self.net._rows(self.X)
