"""Every operation on both backends, side by side: one table for tests and benchmarks.

A `Case` names an operation and a variant of it, and makes its arguments for given sizes. The
arguments are plain data, so that a case can be called on `fastmlp.reference`, on
`fastmlp.kernels` or on anything else with the same names.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from ..activations import ACTIVATIONS
from ..architecture import Architecture
from ..contract.operations import EpochResult, Gradients
from ..losses import OUTPUTS
from ..optimizers import (
    OPTIMIZERS,
    SGD,
    AdaGrad,
    Adam,
    AdamW,
    Optimizer,
    OptimizerState,
    RMSProp,
    make_optimizer,
)

__all__ = ["EDGES", "TOLERANCE", "Case", "Sizes", "all_cases", "difference", "outcome", "shapes"]

# Largest difference, relative to the largest element of the array. NaN fails.
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}

# Sizes on both sides of every edge of a tile or vector.
EDGES = (0, 1, 7, 8, 9, 15, 16, 17, 31, 33, 63, 65)


@dataclass(frozen=True)
class Sizes:
    """Samples, inputs and outputs of a case."""

    n: int
    n_in: int
    n_out: int


Arguments = tuple[list[Any], dict[str, Any]]
Make = Callable[[np.random.Generator, str, Sizes], Arguments]


@dataclass(frozen=True)
class Case:
    """One operation with one set of options.

    Attributes
    ----------
    operation : str
        Its name in both backends.
    variant : str
        What is particular about it.
    make : callable
        ``(rng, dtype, sizes) -> (positional, keyword)`` arguments.
    least : Sizes
        The smallest sizes that the operation takes.
    """

    operation: str
    variant: str
    make: Make
    least: Sizes = Sizes(0, 0, 0)

    def __str__(self) -> str:
        return f"{self.operation}[{self.variant}]" if self.variant else self.operation


def _normal(rng: np.random.Generator, dtype: str, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(dtype)


def _targets(
    rng: np.random.Generator, dtype: str, sizes: Sizes, output: str, loss: str
) -> np.ndarray:
    shape = (sizes.n, sizes.n_out)
    if output == "softmax":
        return rng.integers(0, sizes.n_out, sizes.n)
    if loss == "binary_cross_entropy":
        return rng.integers(0, 2, shape).astype(dtype)
    if loss == "poisson":
        return rng.poisson(2.0, shape).astype(dtype)
    return _normal(rng, dtype, *shape)


def _activate(name: str) -> Make:
    def make(rng: np.random.Generator, dtype: str, sizes: Sizes) -> Arguments:
        z = 4 * _normal(rng, dtype, sizes.n, sizes.n_out)
        # f' has zeros: one element that is far from them gives the scale
        z[:1, :1] = 4
        return [z], {"activation": name}

    return make


def _dense(name: str, bias: bool = True) -> Make:
    def make(rng: np.random.Generator, dtype: str, sizes: Sizes) -> Arguments:
        x = _normal(rng, dtype, sizes.n, sizes.n_in)
        weights = _normal(rng, dtype, sizes.n_in, sizes.n_out)
        b = _normal(rng, dtype, sizes.n_out) if bias else None
        return [x, weights, b], {"activation": name}

    return make


def _dense_backward(rng: np.random.Generator, dtype: str, sizes: Sizes) -> Arguments:
    delta = _normal(rng, dtype, sizes.n, sizes.n_out)
    x = _normal(rng, dtype, sizes.n, sizes.n_in)
    return [delta, x, _normal(rng, dtype, sizes.n_in, sizes.n_out)], {}


def _softmax(rng: np.random.Generator, dtype: str, sizes: Sizes) -> Arguments:
    return [5 * _normal(rng, dtype, sizes.n, sizes.n_out)], {}


def _cross_entropy(rng: np.random.Generator, dtype: str, sizes: Sizes) -> Arguments:
    logits = 5 * _normal(rng, dtype, sizes.n, sizes.n_out)
    return [logits, rng.integers(0, sizes.n_out, sizes.n)], {}


def _probabilities(rng: np.random.Generator, dtype: str, sizes: Sizes) -> Arguments:
    logits = 5 * _normal(rng, dtype, sizes.n, sizes.n_out)
    rows = rng.dirichlet(np.ones(sizes.n_out), sizes.n).astype(dtype)
    return [logits, rows], {"sample_weight": rng.random(sizes.n) + 0.1}


def _output_loss(output: str, loss: str, weighted: bool) -> Make:
    def make(rng: np.random.Generator, dtype: str, sizes: Sizes) -> Arguments:
        logits = 2 * _normal(rng, dtype, sizes.n, sizes.n_out)
        y = _targets(rng, dtype, sizes, output, loss)
        keywords: dict[str, Any] = {"output": output, "loss": loss}
        if weighted:
            keywords["sample_weight"] = rng.random(sizes.n) + 0.1
        return [logits, y], keywords

    return make


def _network(
    rng: np.random.Generator, sizes: Sizes, dtype: str, **options: Any
) -> tuple[Architecture, list[np.ndarray], list[np.ndarray]]:
    layers = (sizes.n_in, 13, 18, sizes.n_out)
    architecture = Architecture(layers, dtype=dtype, **options)
    weights = [_normal(rng, dtype, *shape) / np.sqrt(shape[0]) for shape in architecture.layers]
    biases = [_normal(rng, dtype, n_out) for _, n_out in architecture.layers]
    return architecture, [w.astype(dtype) for w in weights], biases * architecture.bias


def _forward(**options: Any) -> Make:
    def make(rng: np.random.Generator, dtype: str, sizes: Sizes) -> Arguments:
        architecture, weights, biases = _network(rng, sizes, dtype, **options)
        return [_normal(rng, dtype, sizes.n, sizes.n_in), weights, biases, architecture], {}

    return make


def _gradients(l2: float = 0.0, weighted: bool = False, **options: Any) -> Make:
    def make(rng: np.random.Generator, dtype: str, sizes: Sizes) -> Arguments:
        architecture, weights, biases = _network(rng, sizes, dtype, **options)
        X = _normal(rng, dtype, sizes.n, sizes.n_in)
        y = _targets(rng, dtype, sizes, architecture.output, architecture.loss)
        weight = rng.random(sizes.n) + 0.1 if weighted else None
        return [X, y, weights, biases, architecture], {"l2": l2, "sample_weight": weight}

    return make


def _state(
    rng: np.random.Generator, optimizer: Optimizer, parameters: list[np.ndarray]
) -> OptimizerState:
    """Return a state as it is in the middle of training: squares are not negative."""
    state = optimizer.start(parameters)
    for slot in state.slots:
        for array in slot:
            array[...] = np.abs(rng.standard_normal(array.shape)) * 0.1
    state.step = 5
    return state


def _step(optimizer: Optimizer) -> Make:
    def make(rng: np.random.Generator, dtype: str, sizes: Sizes) -> Arguments:
        shapes = [(sizes.n_in, sizes.n_out), (sizes.n_out,)]
        parameters = [_normal(rng, dtype, *shape) for shape in shapes]
        gradients = [_normal(rng, dtype, *shape) for shape in shapes]
        return [optimizer, parameters, gradients, _state(rng, optimizer, parameters)], {}

    return make


def _epoch(optimizer: Optimizer, batch_size: int | None, l2: float = 0.0, **options: Any) -> Make:
    def make(rng: np.random.Generator, dtype: str, sizes: Sizes) -> Arguments:
        architecture, weights, biases = _network(rng, sizes, dtype, **options)
        X = _normal(rng, dtype, sizes.n, sizes.n_in)
        y = _targets(rng, dtype, sizes, architecture.output, architecture.loss)
        state = _state(rng, optimizer, [*weights, *biases])
        keywords = {"order": rng.permutation(sizes.n), "batch_size": batch_size, "l2": l2}
        return [X, y, weights, biases, architecture, optimizer, state], keywords

    return make


_OPTIMIZERS = {
    **{name: make_optimizer({"name": name}) for name in OPTIMIZERS},
    "sgd": SGD(0.1),
    "momentum": SGD(0.1, momentum=0.9),
    "nesterov": SGD(0.1, momentum=0.9, nesterov=True),
    "adagrad": AdaGrad(0.01),
    "rmsprop": RMSProp(0.001),
    "adam": Adam(0.01),
    "adamw": AdamW(0.01, weight_decay=0.1),
}
_SAMPLES = Sizes(1, 1, 1)


def all_cases() -> Iterator[Case]:
    """Yield every operation in every variant."""
    for name in ACTIVATIONS:
        yield Case("activate", name, _activate(name))
        yield Case("dense", name, _dense(name))
        yield Case("forward", name, _forward(activation=name), Sizes(0, 1, 1))
        yield Case("loss_and_gradients", name, _gradients(activation=name), _SAMPLES)
    yield Case("dense", "no bias", _dense("identity", bias=False))
    yield Case("dense_backward", "", _dense_backward)
    yield Case("softmax", "", _softmax, Sizes(0, 0, 1))
    yield Case("softmax_cross_entropy", "labels", _cross_entropy, Sizes(1, 0, 1))
    yield Case("softmax_cross_entropy", "probabilities", _probabilities, Sizes(1, 0, 1))
    for output, losses in OUTPUTS.items():
        yield Case("forward", output, _forward(output=output), Sizes(0, 1, 1))
        for loss in losses:
            pair = f"{output} {loss}"
            for weighted in (False, True):
                name = f"{pair} weighted" if weighted else pair
                yield Case("output_loss", name, _output_loss(output, loss, weighted), _SAMPLES)
            options: dict[str, Any] = {"output": output, "loss": loss}
            yield Case("loss_and_gradients", pair, _gradients(**options), _SAMPLES)
            yield Case("train_epoch", pair, _epoch(SGD(0.05), 16, **options), _SAMPLES)
    mixed: dict[str, Any] = {"activation": ("relu", "silu"), "bias": False, "input_scale": 3.0}
    yield Case("forward", "mixed", _forward(**mixed), Sizes(0, 1, 1))
    yield Case("loss_and_gradients", "mixed", _gradients(l2=0.1, weighted=True, **mixed), _SAMPLES)
    for name, optimizer in _OPTIMIZERS.items():
        yield Case("optimizer_step", name, _step(optimizer))
        yield Case("train_epoch", name, _epoch(optimizer, 16, l2=0.01), _SAMPLES)
    for batch in (1, 8, None):
        yield Case("train_epoch", f"batch {batch}", _epoch(SGD(0.05), batch), _SAMPLES)
    yield Case("train_epoch", "mixed", _epoch(SGD(0.05), 1, **mixed), _SAMPLES)


def shapes(case: Case) -> Iterator[Sizes]:
    """Yield all sizes on which a case is compared.

    Rows and columns run through the edges against each other, so that all pairs of neighbours
    occur; of the dense layer and its way back, all triples.
    """
    found = [Sizes(37, 21, 11), Sizes(1, 1, 1), Sizes(65, 33, 17), Sizes(16, 16, 16)]
    if str(case) in ("dense[tanh]", "dense_backward"):
        found += [Sizes(*triple) for triple in itertools.product(EDGES, repeat=3)]
    elif case.operation != "dense":
        count = len(EDGES)
        for shift in (0, 1, 5):
            for i, n in enumerate(EDGES):
                n_in, n_out = EDGES[(i + shift) % count], EDGES[(i + 2 * shift + 1) % count]
                found.append(Sizes(n, n_in, n_out))
    least = case.least
    for s in dict.fromkeys(found):
        yield Sizes(max(s.n, least.n), max(s.n_in, least.n_in), max(s.n_out, least.n_out))


def _flat(value: Any) -> list[np.ndarray]:
    """Return all numbers in a result or argument as a list of arrays."""
    if isinstance(value, np.ndarray):
        return [value]
    if isinstance(value, int | float | np.generic):
        return [np.asarray(value)]
    if isinstance(value, list | tuple):
        return [array for item in value for array in _flat(item)]
    if isinstance(value, EpochResult):
        return [value.losses, value.weights, value.correct]
    if isinstance(value, Gradients):
        # one vector: a sum that cancels is held against the whole gradient, not against itself
        return [np.concatenate([a.ravel() for a in (*value.weights, *value.biases)])]
    if isinstance(value, OptimizerState):
        return [np.asarray(value.step), *_flat(value.slots)]
    return []


def outcome(
    backend: ModuleType | SimpleNamespace, case: Case, arguments: Arguments
) -> list[np.ndarray]:
    """Call a case on a backend; return its result and its arguments as they are afterwards.

    The arguments are copied first, so that they serve again.
    """
    positional, keywords = copy.deepcopy(arguments)
    result = getattr(backend, case.operation)(*positional, **keywords)
    return [*_flat(result), *_flat(positional), *_flat(list(keywords.values()))]


def difference(ours: list[np.ndarray], theirs: list[np.ndarray]) -> float:
    """Return the largest difference, each array relative to its largest element.

    Infinite where shapes or dtypes differ, or where one side has a NaN that the other has not.
    """
    if [(a.shape, a.dtype) for a in ours] != [(b.shape, b.dtype) for b in theirs]:
        return float("inf")
    worst = 0.0
    for a, b in zip(ours, theirs, strict=True):
        if a.size == 0 or np.array_equal(a, b, equal_nan=a.dtype.kind == "f"):
            continue
        scale = max(float(np.abs(b).max()), float(np.finfo(np.float32).tiny))
        gap = float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max()) / scale
        worst = max(worst, gap if np.isfinite(gap) else float("inf"))
    return worst
