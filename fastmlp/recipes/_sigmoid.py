"""What dnn-torch and dnn-keras share: sigmoid outputs, and a framework to compare with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..datasets import MNIST, load_mnist, one_hot
from ..initializers import Initializer
from ..network import MLP
from ..optimizers import SGD
from . import _frameworks
from ._base import Result, Settings, judge, timed_fit

__all__ = ["SigmoidExperiment"]

LAYERS = (784, 128, 64, 10)
OUTPUTS = LAYERS[-1]
EPOCHS = 10
# Parameters after the compared steps, relative to how far training has moved them, and the loss.
# Measured in float32: 2e-7 with PyTorch, on 10,000 single samples and on 1,875 batches of 32.
AGREEMENT = 1e-5


@dataclass(frozen=True)
class SigmoidExperiment:
    """784-128-64-10 with biases, sigmoid throughout, binary cross-entropy, plain SGD.

    The frameworks average the loss over the ten outputs as well as over samples; ours is summed
    over outputs. So their learning rate is ten of ours, and losses are given as theirs.

    Attributes
    ----------
    name : str
    init : Initializer or str
        The framework's own default.
    learning_rate : float
        As the framework takes it.
    batch_size : int
    compared : int
        How many training samples the framework gets, in their own order.
    frameworks : tuple of str
        Of `_frameworks.FRAMEWORKS`: the first that is installed is compared with.
    loss_below, accuracy_above : float
        What the last training loss and the test accuracy have to reach.
    """

    name: str
    init: Initializer | str
    learning_rate: float
    batch_size: int
    compared: int
    frameworks: tuple[str, ...]
    loss_below: float
    accuracy_above: float

    @property
    def rule(self) -> str:
        """How the experiment is judged."""
        return (
            f"loss per output below {self.loss_below} (a constant answer has 0.3251), test "
            f"accuracy above {self.accuracy_above:.0%} (chance: 11.35 %), parameters and loss "
            f"within {AGREEMENT:g} of the framework's where one is installed"
        )

    def network(self, settings: Settings) -> MLP:
        """Return the network at its beginning."""
        return MLP(
            LAYERS, output="sigmoid", init=self.init, input_scale=255.0, rng=settings.seed,
            backend=settings.backend,
        )  # fmt: skip

    def run(self, settings: Settings) -> Result:
        """Train as published, then compare with a framework."""
        data = load_mnist("uint8")
        n = settings.n_samples(len(data.x_train))
        net = self.network(settings)
        history, seconds = timed_fit(
            net, data.x_train[:n], data.y_train[:n], epochs=settings.n_epochs(EPOCHS),
            batch_size=self.batch_size, optimizer=SGD(self.learning_rate / OUTPUTS),
            progress=settings.progress,
        )  # fmt: skip
        predicted = net.predict_proba(data.x_test).argmax(axis=1)
        losses = [loss / OUTPUTS for loss in history.loss]
        measured: dict[str, Any] = {
            "test_accuracy": float((predicted == data.y_test).mean()),
            "losses": losses,
        }
        agree, found = self.compare(settings, data, n)
        measured |= found
        passed = (
            agree
            and losses[-1] < self.loss_below
            and measured["test_accuracy"] > self.accuracy_above
        )
        return judge(settings, self.name, {}, measured, seconds, passed=passed, rule=self.rule)

    def compare(self, settings: Settings, data: MNIST, n: int) -> tuple[bool, dict[str, Any]]:
        """Return whether a framework agrees (or none is there), and its figures by its name."""
        n = min(n, self.compared)
        net = self.network(settings)
        start = [np.array(array) for array in (*net.weights, *net.biases)]
        layers = len(net.weights)
        task = _frameworks.Task(
            start[:layers], start[layers:], data.x_train[:n] / np.float32(255),
            one_hot(data.y_train[:n], OUTPUTS, dtype="float32"), self.batch_size,
            self.learning_rate,
        )  # fmt: skip
        report: dict[str, Any] = {}
        for name in self.frameworks:
            theirs = _frameworks.FRAMEWORKS[name](task)
            if theirs is None:
                report[name] = "not installed"
                continue
            history, seconds = timed_fit(
                net, data.x_train[:n], data.y_train[:n], epochs=1, batch_size=self.batch_size,
                shuffle=False, optimizer=SGD(self.learning_rate / OUTPUTS), progress=False,
            )  # fmt: skip
            ours = history.loss[0] / OUTPUTS
            differences = {
                "parameter_difference": moved_apart([*net.weights, *net.biases],
                                                    theirs.parameters, start),
                "loss_difference": abs(ours / theirs.loss - 1),
            }  # fmt: skip
            report[name] = {
                "version": theirs.version, "samples": n, **differences, "loss": theirs.loss,
                "our_loss": ours, "seconds": theirs.seconds, "our_seconds": seconds,
            }  # fmt: skip
            return all(value <= AGREEMENT for value in differences.values()), report
        return True, report


def moved_apart(ours: list[np.ndarray], theirs: list[np.ndarray], start: list[np.ndarray]) -> float:
    """Return the distance of two sets of parameters, relative to how far training moved them."""
    a, b, s = (np.concatenate([x.ravel() for x in arrays]).astype(np.float64)
               for arrays in (ours, theirs, start))  # fmt: skip
    moved = np.linalg.norm(b - s)
    return float(np.linalg.norm(a - b) / moved) if moved > 0 else float("inf")
