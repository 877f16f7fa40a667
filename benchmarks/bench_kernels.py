"""Compiled kernels alone, without the copies that the public operations make around them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from fastmlp.kernels.workspace import Layer, Workspace

from fastmlp import MLP
from fastmlp.bench import fma_peak
from fastmlp.kernels import drivers
from fastmlp.kernels.emit.activations import ACTIVATIONS
from fastmlp.kernels.emit.optimizers import OPTIMIZERS, STORE
from fastmlp.kernels.jit.registry import kernel_addresses, launch

ROWS, SIZES = 64, (784, 256, 256)
DTYPES = ("float32", "float64")


class Dense:
    """The tiles of one hidden layer of 256 x 256 over 64 samples."""

    params = (("forward", "backward", "update", "transpose"), DTYPES)
    param_names = ("kernel", "dtype")

    def setup(self, kernel: str, dtype: str) -> None:
        self.net = MLP(SIZES, activation="relu", dtype=dtype, rng=0)
        self.workspace = Workspace(self.net._parameters, ROWS)
        addresses = kernel_addresses(dtype, "common", "forward", "update")
        layers = self.workspace.layers
        row, item = layers[1], np.dtype(dtype).itemsize
        n_in, self.hyper = SIZES[1], np.zeros(32, dtype)
        self.gradient = np.zeros_like(self.net._parameters.flat)
        shift = self.gradient.ctypes.data - self.net._parameters.flat.ctypes.data
        hyper = self.hyper.ctypes.data
        work: dict[str, Callable[[], None]] = {
            "forward": lambda: drivers.dense_forward(addresses, row, 0, ROWS),
            "backward": lambda: drivers.backward_rows(addresses, layers, 0, ROWS),
            "update": lambda: drivers.update_rows(
                addresses, item, row, 0, n_in, 0, ROWS, STORE, 0, shift, hyper
            ),
            "transpose": lambda: drivers.transpose_rows(addresses, item, row, 0, n_in),
        }
        self.call = work[kernel]
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
        self.hyper, self.scale = np.full(32, 0.5, dtype), np.array([255.0])
        x, out, stride = self.x.ctypes.data, self.out.ctypes.data, self.x.strides[0]
        row = Workspace(MLP((width, 1), dtype=dtype)._parameters, 16).layers[0]
        order, vectors = self.order.ctypes.data, n * int(row[Layer.VECTORS_IN])
        kind, _, name = kernel.partition(" ")
        arguments = {
            "activation": ("map_activation", out, out + self.x.nbytes, x, vectors,
                           ACTIVATIONS.get(name, 0), 1),
            "softmax": ("softmax_labels", out, self.losses.ctypes.data, self.correct.ctypes.data,
                        x, stride, self.labels.ctypes.data, order, 0, width, n),
            "optimizer": ("optimizer", out, x, vectors, OPTIMIZERS.get(name, 0), self.x.nbytes,
                          self.hyper.ctypes.data),
            "gather": ("gather_u8", out, stride, self.pixels.ctypes.data, self.pixels.strides[0],
                       order, width, n, self.scale.ctypes.data),
            "penalties": ("penalties", self.correct.ctypes.data, n // 16 * 8, x, stride,
                          vectors // n, n // 16, self.losses.ctypes.data),
        }  # fmt: skip
        self.name, *self.arguments = arguments[kind]
        self.time_kernel(kernel)

    def time_kernel(self, kernel: str) -> None:
        launch(self.name, "float32", *self.arguments)


class Peak:
    """The tile on operands that stay in the first-level cache."""

    params = (DTYPES,)
    param_names = ("dtype",)

    def track_flops(self, dtype: str) -> float:
        return fma_peak(dtype)

    track_flops.unit = "flop/s"  # type: ignore[attr-defined]
