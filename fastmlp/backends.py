"""The two backends behind one thin protocol; the compiled one is imported on first use."""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Callable
from copy import copy
from dataclasses import replace
from functools import cache
from typing import Any, Protocol

import numpy as np

from . import reference
from .contract.operations import DataSet, EpochResult, Gradients, StepSettings, read_rows
from .contract.parameters import Parameters
from .reference.backprop import hidden_and_logits
from .reference.dropout import key_words
from .reference.epoch import count_correct, train_steps
from .reference.losses import sample_losses, smooth_targets
from .support.interrupts import CtrlC
from .support.validation import check_choice, sum_is_finite

__all__ = ["BACKENDS", "Backend", "get_backend"]

Evaluate = Callable[[], tuple[float, float]]
Train = Callable[[np.ndarray, np.ndarray, np.ndarray | None], EpochResult]


class Backend(Protocol):
    """What a network asks of a backend. Everything that arrives here is checked already."""

    def trainer(
        self, parameters: Parameters, data: DataSet, step: StepSettings, threads: int | None
    ) -> Train:
        """Return ``train(order, rates, key)``, which takes one step per batch of `order`.

        The key, (2,) of uint32, and the state's number of steps decide what dropout leaves out;
        without dropout it is None.
        """
        ...

    def loss_and_gradients(
        self,
        parameters: Parameters,
        X: Any,
        y: np.ndarray,
        l2: float,
        sample_weight: np.ndarray | None,
        threads: int | None,
    ) -> tuple[float, Gradients]:
        """Return the mean loss with its penalty, and the gradients."""
        ...

    def finite(self, X: np.ndarray, threads: int | None, most: float = math.inf) -> bool:
        """Tell whether all elements are finite, and at most so large.

        False may be wrong where they are about as large.
        """
        ...

    def activations(self, parameters: Parameters, X: Any, threads: int | None) -> list[np.ndarray]:
        """Return every layer's activations."""
        ...

    def answers(
        self, parameters: Parameters, X: Any, check: Callable[[Any], Any], threads: int | None
    ) -> np.ndarray:
        """Return the outputs for what a user hands over; `check` makes rows of it, or raises."""
        ...

    def outputs(self, parameters: Parameters, X: Any, threads: int | None) -> np.ndarray:
        """Return the outputs alone."""
        ...

    def evaluator(
        self,
        parameters: Parameters,
        X: Any,
        y: np.ndarray,
        sample_weight: np.ndarray | None,
        threads: int | None,
        *,
        repeated: bool,
    ) -> Evaluate:
        """Return a function that gives (weighted) mean loss and accuracy, as parameters then are.

        `repeated` says that it will be called so often that preparations are worth their time.
        """
        ...


def _means(
    losses: np.ndarray, correct: int, sample_weight: np.ndarray | None
) -> tuple[float, float]:
    total = len(losses) if sample_weight is None else sample_weight.sum()
    return float(losses.sum() / total), correct / len(losses)


class NumpyBackend:
    """The reference, piece by piece where data are large."""

    _ROWS = 1024  # samples taken forward at a time

    def trainer(
        self, parameters: Parameters, data: DataSet, step: StepSettings, threads: int | None
    ) -> Train:
        """See `Backend`."""

        def train(order: np.ndarray, rates: np.ndarray, key: np.ndarray | None) -> EpochResult:
            return train_steps(
                data, parameters.weights, parameters.biases, parameters.architecture, step,
                order, rates, key,
            )  # fmt: skip

        return train

    def loss_and_gradients(
        self,
        parameters: Parameters,
        X: Any,
        y: np.ndarray,
        l2: float,
        sample_weight: np.ndarray | None,
        threads: int | None,
    ) -> tuple[float, Gradients]:
        """See `Backend`."""
        return reference.loss_and_gradients(
            X, y, parameters.weights, parameters.biases, parameters.architecture,
            l2=l2, sample_weight=sample_weight,
        )  # fmt: skip

    def finite(self, X: np.ndarray, threads: int | None, most: float = math.inf) -> bool:
        """See `Backend`."""
        return sum_is_finite(X, most=most)

    def activations(self, parameters: Parameters, X: Any, threads: int | None) -> list[np.ndarray]:
        """See `Backend`."""
        return reference.forward(X, parameters.weights, parameters.biases, parameters.architecture)

    def answers(
        self, parameters: Parameters, X: Any, check: Callable[[Any], Any], threads: int | None
    ) -> np.ndarray:
        """See `Backend`."""
        return self.outputs(parameters, check(X), threads)

    def outputs(self, parameters: Parameters, X: Any, threads: int | None) -> np.ndarray:
        """See `Backend`."""
        parts = [self.activations(parameters, part, threads)[-1] for part in self._pieces(X)]
        return np.concatenate(parts)

    def evaluator(
        self,
        parameters: Parameters,
        X: Any,
        y: np.ndarray,
        sample_weight: np.ndarray | None,
        threads: int | None,
        *,
        repeated: bool,
    ) -> Evaluate:
        """See `Backend`."""
        a = parameters.architecture

        def evaluate() -> tuple[float, float]:
            losses, correct, start = [], 0, 0
            for part in self._pieces(X):
                targets = y[start : start + part.shape[0]]
                start += part.shape[0]
                x = read_rows(part, slice(None), a.input_scale, a.dtype)
                with np.errstate(invalid="ignore", over="ignore"):
                    logits = hidden_and_logits(x, parameters.weights, parameters.biases, a)[-1]
                    losses.append(sample_losses(logits, targets, a.output, a.loss)[0])
                if a.output != "identity":
                    correct += count_correct(logits, targets, a.output)
            total = np.concatenate(losses)
            if sample_weight is not None:
                total = total * sample_weight
            return _means(total, correct, sample_weight)

        return evaluate

    def _pieces(self, X: Any) -> list[Any]:
        return [X[i : i + self._ROWS] for i in range(0, max(1, X.shape[0]), self._ROWS)]


def _inference(parameters: Parameters) -> Any:
    """Return the compiled forward pass, which is kept with the parameters."""
    if parameters.prepared is None:
        from .kernels.run.inference import Inference

        # a twin over the same arrays: the two would else hold each other until garbage is collected
        parameters.prepared = Inference(copy(parameters))
    return parameters.prepared


@cache  # an import in a function takes half a microsecond at each call
def _finite() -> Any:
    from .kernels.run import finite

    return finite


class NumbaBackend:
    """The compiled kernels."""

    def trainer(
        self, parameters: Parameters, data: DataSet, step: StepSettings, threads: int | None
    ) -> Train:
        """See `Backend`."""
        from .kernels.run.training import Training

        smoothing, a = step.regularization.label_smoothing, parameters.architecture
        if smoothing:
            y = smooth_targets(data.y, smoothing, a.n_out, a.output, np.dtype(a.dtype))
            data = replace(data, y=y)
        run = Training(parameters, data, step, threads=threads)

        def train(order: np.ndarray, rates: np.ndarray, key: np.ndarray | None) -> EpochResult:
            if key is None:
                return run.train(order, rates)
            words = key_words(key, run.state.step, len(rates), a.n_layers - 1)
            return run.train(order, rates, words)

        return train

    def loss_and_gradients(
        self,
        parameters: Parameters,
        X: Any,
        y: np.ndarray,
        l2: float,
        sample_weight: np.ndarray | None,
        threads: int | None,
    ) -> tuple[float, Gradients]:
        """See `Backend`."""
        from .kernels.run.gradients import gradients

        return gradients(parameters, X, y, l2, sample_weight, threads)

    def finite(self, X: np.ndarray, threads: int | None, most: float = math.inf) -> bool:
        """See `Backend`."""
        found: bool = _finite().all_finite(X, threads, most)
        return found

    def activations(self, parameters: Parameters, X: Any, threads: int | None) -> list[np.ndarray]:
        """See `Backend`."""
        activations: list[np.ndarray] = _inference(parameters).activations(X, threads)
        return activations

    def answers(
        self, parameters: Parameters, X: Any, check: Callable[[Any], Any], threads: int | None
    ) -> np.ndarray:
        """See `Backend`; programs look themselves whether plain rows are finite."""
        outputs: np.ndarray | None = _inference(parameters).rows.outputs(X, threads)
        return self.outputs(parameters, check(X), threads) if outputs is None else outputs

    def outputs(self, parameters: Parameters, X: Any, threads: int | None) -> np.ndarray:
        """See `Backend`."""
        inference = _inference(parameters)
        outputs: np.ndarray | None = inference.rows.outputs(X, threads)
        return inference.outputs(X, threads) if outputs is None else outputs

    def evaluator(
        self,
        parameters: Parameters,
        X: Any,
        y: np.ndarray,
        sample_weight: np.ndarray | None,
        threads: int | None,
        *,
        repeated: bool,
    ) -> Evaluate:
        """See `Backend`."""
        from .kernels.run.inference import Inference

        inference = Inference(parameters, X) if repeated else _inference(parameters)

        def evaluate() -> tuple[float, float]:
            losses, correct = inference.losses(X, y, sample_weight, threads)
            return _means(losses, int(correct.sum()), sample_weight)

        return evaluate


BACKENDS: dict[str, Backend] = {"numba": NumbaBackend(), "numpy": NumpyBackend()}


def get_backend(name: str) -> Backend:
    """Return the backend of that name; nothing compiled is loaded before it is used."""
    if name == "numba" and f"{__package__}.kernels" not in sys.modules:
        with CtrlC():  # its modules import each other: broken off, they could not begin again
            importlib.import_module(f"{__package__}.kernels")
    try:
        return BACKENDS[name]
    except (KeyError, TypeError):
        return BACKENDS[check_choice("backend", name, tuple(BACKENDS))]
