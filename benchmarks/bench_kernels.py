"""Compiled kernels alone, without the copies that the public operations make around them."""

from __future__ import annotations

from functools import partial

import numpy as np

from fastmlp import MLP
from fastmlp.bench import fma_peak
from fastmlp.kernels.emit.activations import ACTIVATIONS
from fastmlp.kernels.emit.optimizers import OPTIMIZERS, STORE
from fastmlp.kernels.emit.target import current_target
from fastmlp.kernels.jit.registry import launch
from fastmlp.kernels.program.operation import At, Slot
from fastmlp.kernels.run.workspace import Workspace

ROWS, SIZES = 64, (784, 256, 256)
DTYPES = ("float32", "float64")


class Dense:
    """One hidden layer of 256 x 256 over 64 samples."""

    params = (("forward", "backward", "update", "transpose"), DTYPES)
    param_names = ("kernel", "dtype")

    def setup(self, kernel: str, dtype: str) -> None:
        parameters = MLP(SIZES, activation="relu", dtype=dtype, rng=0)._parameters
        workspace, target = Workspace(parameters, ROWS), current_target()
        self.hyper, self.gradient = np.zeros(32, dtype), np.zeros_like(parameters.flat)
        bases = {
            Slot.PARAMETERS: parameters.flat.ctypes.data, Slot.WORKSPACE: workspace.address,
            Slot.GRADIENT: self.gradient.ctypes.data,
        }  # fmt: skip
        before, q = workspace.layers[:2]
        tiles, item = -(-ROWS // target.tile_rows), parameters.dtype.itemsize
        records: dict[str, dict[str, int | At]] = {
            "forward": {
                "out": q.h, "ldo": q.ld_h, "a": q.a, "lda": q.ld_a, "b": q.w, "ldb": q.ld_w,
                "k": q.n_in, "begin": q.bias, "code": q.code, "kept": q.slope, "tiles": tiles,
                "vectors": q.vectors_out,
            },
            "backward": {
                "out": before.d, "ldo": before.ld_h, "a": q.d, "lda": q.ld_h, "b": q.wt,
                "ldb": q.ld_wt, "k": q.n_out, "kept": before.slope, "code": before.slope_code,
                "tiles": tiles, "vectors": q.vectors_in,
            },
            "update": {
                "w": At(Slot.GRADIENT, q.w.offset), "ldw": q.ld_w, "a": q.a, "lda": q.ld_a,
                "d": q.d, "ldd": q.ld_h, "k": ROWS, "code": STORE, "state": 0,
                "hyper": self.hyper.ctypes.data, "tiles": -(-q.n_in // target.tile_rows),
                "vectors": q.vectors_out,
            },
            "transpose": {
                "dst": q.wt, "ldd": q.ld_wt, "src": q.w, "lds": q.ld_w,
                "row_blocks": q.n_in * item // target.vector_bytes, "vectors": q.vectors_out,
            },
        }  # fmt: skip
        values = {
            name: bases[value.slot] + value.offset if isinstance(value, At) else value
            for name, value in records[kernel].items()
        }
        self.keep = parameters, workspace
        self.call = partial(launch, kernel, dtype, **values)
        self.call()

    def time_kernel(self, kernel: str, dtype: str) -> None:
        self.call()


class Elementwise:
    """What goes over 1,024 rows of 256: activations with slopes, softmax, optimizers, input.

    A call from Python costs about 15 us of each.
    """

    kernels = (
        *(f"activation {name}" for name in ACTIVATIONS),
        "softmax and loss",
        *(f"optimizer {name}" for name in OPTIMIZERS),
        "gather uint8",
        "penalties",
    )
    params = (kernels,)
    param_names = ("kernel",)

    def setup(self, kernel: str) -> None:
        rng = np.random.default_rng(0)
        n, width, dtype = 1024, 256, "float32"
        self.x = rng.normal(size=(n, width)).astype(dtype)
        self.out = np.zeros((4, n, width), dtype)  # parameters, gradient, two slots
        self.pixels = rng.integers(0, 256, (n, width)).astype(np.uint8)
        self.order, self.labels = np.arange(n), rng.integers(0, width, n)
        self.losses, self.correct = np.zeros(n), np.zeros(n, np.int64)
        self.totals = np.zeros(n // 16 * width)
        self.hyper, self.scale = np.full(32, 0.5, dtype), np.array([255.0])
        x, out, stride = self.x.ctypes.data, self.out.ctypes.data, self.x.strides[0]
        order, vectors = self.order.ctypes.data, self.x.strides[0] // current_target().vector_bytes
        losses, correct = self.losses.ctypes.data, self.correct.ctypes.data
        kind, _, name = kernel.partition(" ")
        records: dict[str, tuple[str, dict[str, int]]] = {
            "activation": ("activate_rows", {
                "y": out, "ldy": stride, "slope": out + self.x.nbytes, "lds": stride, "x": x,
                "ldx": stride, "rows": n, "columns": width, "code": ACTIVATIONS.get(name, 0),
            }),
            "softmax": ("softmax_labels", {
                "d": out, "loss": losses, "correct": correct, "z": x, "ldz": stride,
                "y": self.labels.ctypes.data, "order": order, "weight": 0, "n": width, "rows": n,
            }),
            "optimizer": ("optimizer", {
                "w": out, "g": x, "vectors": n * vectors, "code": OPTIMIZERS.get(name, 0),
                "state": self.x.nbytes, "hyper": self.hyper.ctypes.data,
            }),
            "gather": ("gather_u8", {
                "dst": out, "ldd": stride, "x": self.pixels.ctypes.data,
                "ldx": self.pixels.strides[0], "order": order, "n": width, "rows": n,
                "scale": self.scale.ctypes.data,
            }),
            "penalties": ("penalties", {
                "totals": self.totals.ctypes.data, "step": n // 16 * 8, "w": x, "ldw": stride,
                "vectors": vectors, "blocks": n // 16, "coefficients": losses,
            }),
        }  # fmt: skip
        name, values = records[kind]
        self.call = partial(launch, name, "float32", **values)
        self.call()

    def time_kernel(self, kernel: str) -> None:
        self.call()


class Peak:
    """The tile on operands that stay in the first-level cache."""

    params = (DTYPES,)
    param_names = ("dtype",)

    def track_flops(self, dtype: str) -> float:
        return fma_peak(dtype)

    track_flops.unit = "flop/s"  # type: ignore[attr-defined]
