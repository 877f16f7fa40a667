"""dnn-torch: the network of dnn-sgd as its PyTorch version trains it, one sample at a time."""

from __future__ import annotations

from ..initializers import Scaled
from ._base import Recipe
from ._sigmoid import SigmoidExperiment

__all__ = ["EXPERIMENT", "RECIPE"]


def variance(n_in: int, n_out: int) -> float:
    """Return the variance of torch.nn.Linear's draw: uniform within ``1 / sqrt(n_in)``."""
    return 1.0 / (3.0 * n_in)


EXPERIMENT = SigmoidExperiment(
    name="dnn-torch",
    init=Scaled(variance, normal=False, biases=True),
    learning_rate=0.001,
    batch_size=1,
    compared=10_000,  # 3 to 8 s in PyTorch
    frameworks=("pytorch",),
    # Four seeds ended at losses of 0.302 to 0.309 and accuracies of 33 to 49 %: the averaged loss
    # makes for a small rate, and ten epochs end where learning has just begun.
    loss_below=0.315,
    accuracy_above=0.20,
)

RECIPE = Recipe(
    EXPERIMENT.name,
    "784-128-64-10, sigmoid, binary cross-entropy; SGD(0.001), one sample at a time, 10 epochs",
    EXPERIMENT.run,
)
