"""dnn-sgd: two hidden layers without biases, one sample at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..datasets import load_mnist, train_test_split
from ..initializers import Scaled
from ..network import MLP
from ..optimizers import SGD
from ._base import Recipe, Result, Settings, judge, timed_fit

__all__ = ["RECIPE"]

NAME = "dnn-sgd"
LAYERS = (784, 128, 64, 10)
LEARNING_RATE, EPOCHS = 0.001, 10
TEST_SIZE = 0.1
PUBLISHED: dict[str, Any] = {"test_accuracy": 0.95}  # "up to"
# Four seeds ended at 93.0 to 93.7 %, rising by 0.3 points an epoch; "up to 95 %" is the best of
# unseeded runs. 7,000 test images give a standard error of 0.3 points.
ABOVE = 0.92
RULE = f"test accuracy above {ABOVE:.0%}: within 3 points of the published 'up to 95 %'"


def variance(n_in: int, n_out: int) -> float:
    """Return the variance of ``randn * sqrt(1 / n_out)``."""
    return 1.0 / n_out


def run(settings: Settings) -> Result:
    """Run the experiment on all 70,000 images, divided by the seed."""
    data = load_mnist("uint8")
    images = np.concatenate([data.x_train, data.x_test])
    labels = np.concatenate([data.y_train, data.y_test])
    x_train, x_test, y_train, y_test = train_test_split(
        images, labels, test_size=TEST_SIZE, rng=settings.seed
    )
    n = settings.n_samples(len(x_train))
    net = MLP(
        LAYERS, bias=False, init=Scaled(variance, normal=True), input_scale=255.0,
        rng=settings.seed, backend=settings.backend,
    )  # fmt: skip
    history, seconds = timed_fit(
        net, x_train[:n], y_train[:n], epochs=settings.n_epochs(EPOCHS), batch_size=1,
        optimizer=SGD(LEARNING_RATE), validation_data=(x_test, y_test),
        progress=settings.progress,
    )  # fmt: skip
    measured: dict[str, Any] = {
        "test_accuracy": history.val_accuracy[-1],
        "train_accuracy": history.accuracy[-1],
        "test_accuracies": history.val_accuracy,
    }
    passed = measured["test_accuracy"] > ABOVE
    return judge(settings, NAME, PUBLISHED, measured, seconds, passed=passed, rule=RULE)


RECIPE = Recipe(
    NAME,
    "784-128-64-10 without biases, sigmoid, softmax; SGD(0.001), one sample at a time, 10 epochs",
    run,
    PUBLISHED,
)
