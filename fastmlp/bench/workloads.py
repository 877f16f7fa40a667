"""What is timed: a network, data, and how it is trained or asked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from ..architecture import Architecture
from ..contract.splitting import layer_parts
from ..datasets import load_mnist
from ..optimizers import SGD, Adam, Optimizer

__all__ = ["WORKLOADS", "Workload", "with_precision"]


_SGD = SGD(0.1)


@dataclass(frozen=True)
class Workload:
    """One network on one data set.

    Attributes
    ----------
    name : str
    layer_sizes : tuple of int
    activation : str
    dtype : str
    batch_size : int or None
    data : {"mnist", "mnist-uint8", "random"}
        mnist comes as floats in the workload's dtype. From uint8, peers still get floats.
    samples : int
    epochs : int
        Epochs of one timing of ours, over which its preparations are shared out; calls of one
        timing of everyone where the network is only asked.
    peer_samples : int
        How many samples the slower peers see; times are per sample.
    optimizer : Optimizer
    predicts : bool
        Whether the network is asked for probabilities, all samples in one call, not trained.
    precision : str
        Of layers' products in training, for those who have the choice.
    """

    name: str
    layer_sizes: tuple[int, ...]
    activation: str
    dtype: str
    batch_size: int | None
    data: str
    samples: int
    epochs: int = 5
    peer_samples: int = 60_000
    optimizer: Optimizer = _SGD
    predicts: bool = False
    precision: str = "highest"

    @property
    def flops(self) -> int:
        """Floating-point operations per sample of a step or an answer, zeros included."""
        pairs = list(zip(self.layer_sizes[:-1], self.layer_sizes[1:], strict=True))
        forward = sum(n_in * n_out for n_in, n_out in pairs)
        if self.predicts:
            return 2 * forward
        backward = sum(n_in * n_out for n_in, n_out in pairs[1:])
        return 2 * (2 * forward + backward)

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return X as fastmlp gets it, X as peers get it, and labels."""
        if self.data == "random":
            rng = np.random.default_rng(0)
            X = rng.standard_normal((self.samples, self.layer_sizes[0]), np.float32)
            X = X.astype(self.dtype)
            return X, X, rng.integers(0, self.layer_sizes[-1], self.samples)
        pixels, labels = _mnist()
        pixels, labels = pixels[: self.samples], labels[: self.samples]
        floats = (pixels / 255.0).astype(self.dtype)
        return (pixels if self.data == "mnist-uint8" else floats), floats, labels


@cache
def _mnist() -> tuple[np.ndarray, np.ndarray]:
    data = load_mnist("uint8")
    return data.x_train, data.y_train


_ANN, _TUTORIAL = (784, 5, 10), (784, 200, 100, 50, 10)
_WIDE, _DNN = (784, 1024, 1024, 10), (784, 128, 64, 10)
_ADAM, _MOMENTUM = Adam(0.001), SGD(0.02, momentum=0.9)
WORKLOADS: dict[str, Workload] = {
    w.name: w
    for w in (
        Workload("mini-batch", _TUTORIAL, "sigmoid", "float32", 64, "mnist", 60_000),
        Workload(
            "one-sample", _DNN, "sigmoid", "float32", 1, "mnist", 60_000,
            peer_samples=2000,
        ),
        Workload("full-batch", _ANN, "sigmoid", "float64", None, "mnist", 60_000, epochs=100),
        Workload(
            "full-batch-uint8", _ANN, "sigmoid", "float64", None, "mnist-uint8", 60_000,
            epochs=100,
        ),
        Workload(
            "full-batch-deep", (784, 16, 16, 10), "sigmoid", "float64", None, "mnist",
            30_000, epochs=100,
        ),
        Workload("wide", _WIDE, "sigmoid", "float32", 256, "random", 12_800),
        Workload("wide-float64", _WIDE, "sigmoid", "float64", 256, "random", 12_800),
        Workload(
            "small", (4, 64, 64, 2), "tanh", "float32", 32, "random", 20_000,
            optimizer=_ADAM,
        ),
        Workload(
            "relu-adam", (784, 256, 128, 10), "relu", "float32", 128, "mnist", 60_000,
            optimizer=_ADAM,
        ),
        # moments that decay over many small steps: a first epoch says little of the later ones
        Workload(
            "adam-batch-32", (784, 256, 128, 10), "relu", "float32", 32, "mnist", 60_000,
            optimizer=_ADAM, peer_samples=20_000,
        ),
        Workload(
            "momentum-batch-20", (784, 150, 10), "relu", "float32", 20, "mnist", 60_000,
            optimizer=_MOMENTUM, peer_samples=20_000,
        ),
        Workload(
            "adam-float64", (784, 256, 128, 10), "relu", "float64", 128, "mnist", 60_000,
            optimizer=_ADAM, epochs=2, peer_samples=20_000,
        ),
        Workload(
            "2048-wide", (600, 2048, 1500, 20), "relu", "float32", 512, "random", 10_240,
            optimizer=_ADAM, epochs=2,
        ),
        Workload(
            "middle", (100, 300, 300, 10), "relu", "float32", 400, "random", 40_000,
            optimizer=_ADAM,
        ),
        Workload(
            "table", (20, 100, 50, 2), "relu", "float32", 200, "random", 30_000, optimizer=_ADAM,
        ),
        Workload(
            "deep-narrow", (32, *(48,) * 6, 5), "tanh", "float32", 64, "random", 20_000,
            optimizer=_ADAM,
        ),
        Workload(
            "predict-32", (20, 100, 2), "relu", "float32", None, "random", 32, epochs=1000,
            predicts=True,
        ),
        Workload(
            "predict-row", _DNN, "sigmoid", "float32", None, "mnist", 1, epochs=1000, predicts=True,
        ),
        Workload(
            "predict", _DNN, "sigmoid", "float32", None, "mnist", 10_000, epochs=5, predicts=True,
        ),
    )
}  # fmt: skip


def with_precision(precision: str) -> dict[str, Workload]:
    """Return the workloads whose layers are wide enough for a lower precision, with it.

    Examples
    --------
    >>> [(name, work.precision) for name, work in with_precision("medium").items()]
    [('wide', 'medium'), ('2048-wide', 'medium'), ('middle', 'medium')]
    """
    found = {}
    for name, work in WORKLOADS.items():
        if work.predicts or work.dtype != "float32" or work.data != "random":
            continue  # of MNIST the first layer, most of the work, is gone through by non-zeros
        shape = Architecture(work.layer_sizes, precision=precision)
        if any(layer_parts(shape, work.batch_size or work.samples, None)):
            found[name] = replace(work, precision=precision)
    return found
