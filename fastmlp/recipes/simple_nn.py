"""simple-nn: three hidden layers by mini-batches, with a penalty and an annealed rate."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..datasets import load_mnist
from ..initializers import Scaled
from ..network import MLP
from ..optimizers import SGD
from ..schedules import AnnealOnRise
from ._base import Recipe, Result, Settings, judge, timed_fit

__all__ = ["RECIPE"]

NAME = "simple-nn"
LAYERS = (784, 200, 100, 50, 10)
LEARNING_RATE, FACTOR = 0.1, 0.9
BATCH_SIZE, EPOCHS = 64, 50
# The update has lr * lambda / m * W with lambda 0.01 and m the samples of the batch. The last
# batch of an epoch has 32, which gets half the penalty here, once in 938 steps.
L2 = 0.01 / BATCH_SIZE
PUBLISHED: dict[str, Any] = {"train_accuracy": 0.9841, "test_accuracy": 0.9671, "seconds": 345.0}
# At this rate the accuracy jumps from epoch to epoch: over five seeds the last one ended at test
# 96.6 to 97.3 % (train 98.1 to 98.6 %), the median of the last ten at 96.7 to 97.0 %.
LAST, TEST_REACHED, TEST_MEDIAN, TRAIN_WITHIN = 10, 0.967, 0.965, 0.01
RULE = (
    f"test accuracy reaches {TEST_REACHED:.1%} within the last {LAST} epochs and their median is "
    f"at least {TEST_MEDIAN:.1%}; train accuracy within {TRAIN_WITHIN:.0%} point of the published"
)


def variance(n_in: int, n_out: int) -> float:
    """Return the variance of ``(rand - 0.5) * sqrt(6 / (n_in + n_out))``."""
    return 6.0 / (n_in + n_out) / 12.0


def run(settings: Settings) -> Result:
    """Run the experiment, the test images as validation data."""
    data = load_mnist("uint8")
    n = settings.n_samples(len(data.x_train))
    x_train, y_train = data.x_train[:n], data.y_train[:n]
    net = MLP(
        LAYERS, init=Scaled(variance, normal=False), input_scale=255.0, rng=settings.seed,
        backend=settings.backend,
    )  # fmt: skip
    history, seconds = timed_fit(
        net, x_train, y_train, epochs=settings.n_epochs(EPOCHS), batch_size=BATCH_SIZE,
        optimizer=SGD(LEARNING_RATE), schedule=AnnealOnRise(FACTOR), l2=L2,
        validation_data=(data.x_test, data.y_test), progress=settings.progress,
    )  # fmt: skip
    last = history.val_accuracy[-LAST:]
    measured: dict[str, Any] = {
        "train_accuracy": net.evaluate(x_train, y_train)["accuracy"],
        "test_accuracy": history.val_accuracy[-1],
        "seconds": seconds,
        "test_accuracy_last_epochs": last,
        "test_accuracy_median": float(np.median(last)),
    }
    passed = (
        max(last) >= TEST_REACHED
        and measured["test_accuracy_median"] >= TEST_MEDIAN
        and abs(measured["train_accuracy"] - PUBLISHED["train_accuracy"]) <= TRAIN_WITHIN
    )
    return judge(settings, NAME, PUBLISHED, measured, seconds, passed=passed, rule=RULE)


RECIPE = Recipe(
    NAME,
    "784-200-100-50-10, sigmoid, softmax; SGD(0.1) annealed, L2, batches of 64, 50 epochs",
    run,
    PUBLISHED,
)
