"""dnn-keras: the network of dnn-sgd as its Keras version trains it, in batches of 32."""

from __future__ import annotations

from ._base import Recipe
from ._sigmoid import SigmoidExperiment

__all__ = ["EXPERIMENT", "RECIPE"]

EXPERIMENT = SigmoidExperiment(
    name="dnn-keras",
    init="glorot_uniform",  # what keras.layers.Dense draws, with biases of 0
    learning_rate=0.01,
    batch_size=32,
    compared=60_000,
    frameworks=("keras", "pytorch"),
    # Four seeds ended at losses of 0.296 to 0.297 and accuracies of 49 to 57 %.
    loss_below=0.305,
    accuracy_above=0.35,
)

RECIPE = Recipe(
    EXPERIMENT.name,
    "784-128-64-10, sigmoid, binary cross-entropy; SGD(0.01), batches of 32, 10 epochs",
    EXPERIMENT.run,
)
