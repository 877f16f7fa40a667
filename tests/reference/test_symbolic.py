"""The reference's formulas proved with SymPy: its own code runs, line by line, on symbols.

How NumPy's functions come to expressions is in ``helpers/symbols.py``.
"""

from __future__ import annotations

import importlib
import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import sympy as sp
from symbols import (
    AnyDelta,
    AnyF,
    AnyLoss,
    AnySlope,
    Number,
    SymbolNumPy,
    assert_equal,
    expressions,
    gradient,
    number,
    symbol,
    symbols,
)

from fastmlp.activations import ACTIVATIONS
from fastmlp.architecture import Architecture
from fastmlp.contract.operations import DataSet
from fastmlp.losses import OUTPUTS
from fastmlp.reference import activations, backprop, losses
from fastmlp.regularization import Regularization

dense = importlib.import_module("fastmlp.reference.dense")  # the function hides the module


pytestmark = pytest.mark.usefixtures("symbolic")


# the tool itself


def test_an_expression_takes_the_branch_of_its_sample():
    low, high = symbol("p", -2.0), symbol("q", 3.0)
    assert_equal(SymbolNumPy.maximum(np.array([low, high]), 0), [0, high.e])
    assert_equal(abs(np.array([low, high])), [-low.e, high.e])
    with pytest.raises(pytest.fail.Exception, match="is not"):
        assert_equal([low * low], [low])
    with pytest.raises(TypeError, match="prove nothing"):
        np.array([low]).astype(float)


# activations

Z = sp.Symbol("z", real=True)
s = 1 / (1 + sp.exp(-Z))
SCALE, CUBIC, SLOPE = (
    sp.Symbol(name, real=True, positive=True)
    for name in ("GELU_SCALE", "GELU_CUBIC", "LEAKY_SLOPE")
)
TEXTBOOK = {  # below 0, above 0
    "identity": (Z, Z),
    "sigmoid": (s, s),
    "tanh": ((sp.exp(Z) - sp.exp(-Z)) / (sp.exp(Z) + sp.exp(-Z)),) * 2,
    "relu": (sp.Integer(0), Z),
    "leaky_relu": (SLOPE * Z, Z),
    "elu": (sp.exp(Z) - 1, Z),
    "gelu": (Z / 2 * (1 + sp.tanh(SCALE * (Z + CUBIC * Z**3))),) * 2,
    "silu": (Z * s, Z * s),
    "softplus": (sp.log(1 + sp.exp(Z)),) * 2,
}


@pytest.mark.parametrize("sample", [-1.5, 1.5])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_derivative_of_an_activation_is_that_of_its_value(name, sample):
    z = np.array([symbol("z", sample)])
    a, derivative = activations.activation_function(name)(z)
    assert_equal(derivative, gradient(a[0], z))


@pytest.mark.parametrize("sample", [-1.5, 1.5])
@pytest.mark.parametrize("name", TEXTBOOK)
def test_an_activation_is_the_textbooks(name, sample):
    a, _ = activations.activation_function(name)(np.array([symbol("z", sample)]))
    assert_equal(a, [TEXTBOOK[name][sample > 0]])


# outputs and losses: (samples of z), (samples of y); between them every side of every kink

PAIRS = [(output, loss) for output, names in OUTPUTS.items() for loss in names]
LOGITS = np.array([[-2.0, 0.3, 4.0], [1.5, -0.7, 0.2]])
VALUES = np.array([[-1.6, 2.1, 2.4], [1.2, 0.9, 0.4]])
SHARES = np.array([[0.2, 0.5, 0.3], [0.6, 0.0, 0.4]])


def case(output: str, loss: str) -> tuple[np.ndarray, np.ndarray]:
    """Return logits and targets as symbols; rows of probabilities have the sum 1."""
    z = symbols("z", LOGITS)
    if loss == "cross_entropy":
        y = symbols("y", SHARES)
        y[:, 2] = 1 - y[:, 0] - y[:, 1]
        y[1, 1], y[1, 2] = number(0), 1 - y[1, 0]  # 0 log a counts as 0
        return z, y
    if loss == "poisson":
        return z, symbols("y", [[0.0, 2.0, 1.0], [3.0, 0.0, 5.0]])
    return z, symbols("y", VALUES if output == "identity" else SHARES)


def textbook_loss(output: str, loss: str, z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the losses of samples from outputs, as a book has them."""
    e, t = expressions(z), expressions(y)
    exp, log = (np.frompyfunc(f, 1, 1) for f in (sp.exp, sp.log))
    if output == "softmax":
        a = exp(e) / exp(e).sum(axis=1, keepdims=True)
    else:
        a = 1 / (1 + exp(-e)) if output == "sigmoid" else e
    r = a - t
    if loss == "cross_entropy":
        terms = -t * log(a)
    elif loss == "binary_cross_entropy":
        terms = -(t * log(a) + (1 - t) * log(1 - a))
    elif loss == "squared_error":
        terms = r * r / 2
    elif loss == "poisson":
        terms = exp(e) - t * e
    else:
        gap = numeric(r, z, y)
        terms = np.where(gap > 0, r, -r)
        if loss == "huber":
            terms = np.where(abs(gap) <= 1, r * r / 2, terms - sp.Rational(1, 2))
    return terms.sum(axis=1)


def numeric(array: np.ndarray, *symbol_arrays: np.ndarray) -> np.ndarray:
    """Return what expressions are at the samples."""
    samples = {}
    for x in itertools.chain(*(a.ravel() for a in symbol_arrays)):
        if x.e.is_Symbol:
            samples[x.e] = x.at
    return np.frompyfunc(lambda e: float(sp.sympify(e).subs(samples)), 1, 1)(array)


@pytest.mark.parametrize(("output", "loss"), PAIRS)
def test_a_loss_is_the_textbooks_and_its_delta_the_derivative(output, loss):
    z, y = case(output, loss)
    value, delta = losses.sample_losses(z, y, output, loss)
    assert_equal(value, textbook_loss(output, loss, z, y))
    for i in range(len(z)):
        assert_equal(delta[i], gradient(value[i], z[i]))


def test_the_samples_stand_on_both_sides_of_every_kink():
    for output, bound in (("identity", 1.0), ("sigmoid", 0.0)):
        z, y = case(output, "huber")
        r = numeric(expressions(losses.output_function(z, output) - y), z, y)
        assert (r > bound).any()
        assert (r < -bound).any()
        assert (abs(r) < 1).any()


def test_huber_on_a_sigmoid_with_targets_far_from_it():
    # |a - y| <= 1 for targets from 0 to 1: these are on the outer sides
    z, y = symbols("z", [[0.1, -0.2]]), symbols("y", [[2.5, -1.5]])
    value, delta = losses.sample_losses(z, y, "sigmoid", "huber")
    assert_equal(delta[0], gradient(value[0], z[0]))


@pytest.mark.parametrize("output", ["softmax", "sigmoid", "identity"])
def test_under_its_own_loss_the_delta_is_a_minus_y(output):
    z, y = case(output, OUTPUTS[output][0])
    _, delta = losses.sample_losses(z, y, output, OUTPUTS[output][0])
    assert_equal(delta, losses.output_function(z, output) - y)


def test_labels_are_rows_with_a_one():
    z = symbols("z", LOGITS)
    ours = losses.sample_losses(z, np.array([2, 0]), "softmax", "cross_entropy")
    theirs = losses.sample_losses(z, np.eye(3, dtype=int)[[2, 0]], "softmax", "cross_entropy")
    for a, b in zip(ours, theirs, strict=True):
        assert_equal(a, b)
    value, delta = ours
    for i, label in enumerate((2, 0)):
        a = sp.exp(z[i, label].e) / sum(sp.exp(x.e) for x in z[i])
        assert_equal([(-value[i]).exp()], [a])
        assert_equal(delta[i], gradient(value[i], z[i]))


@pytest.mark.parametrize("output", ["softmax", "sigmoid"])
def test_smoothed_targets(output):
    z, e = symbols("z", LOGITS), symbol("e", 0.1)
    kind, classes = np.dtype(object), 3 if output == "softmax" else 2
    y = np.array([2, 0]) if output == "softmax" else symbols("y", SHARES)
    hard = np.eye(3, dtype=int)[y] if output == "softmax" else y
    smooth = losses.smooth_targets(y, e, 3, output, kind)
    assert_equal(smooth, hard * (1 - e) + e / classes)
    loss = OUTPUTS[output][0]
    value, delta = losses.sample_losses(z, smooth, output, loss)
    for i in range(2):
        assert_equal(delta[i], gradient(value[i], z[i]))
    if output == "softmax":  # L = (1 - e) (-log a_y) + e / k sum_j (-log a_j)
        plain, _ = losses.sample_losses(z, y, output, loss)
        each = [losses.sample_losses(z, np.array([j, j]), output, loss)[0] for j in range(3)]
        assert_equal(value, (1 - e) * plain + e / 3 * sum(each))
        assert_equal(delta, losses.softmax(z) - (1 - e) * hard - e / 3)


def test_weighted_samples():
    z, y = case("identity", "squared_error")
    w = symbols("w", [0.5, 2.0])
    value, delta = losses.output_loss(
        z, y, output="identity", loss="squared_error", sample_weight=w
    )
    each, _ = losses.sample_losses(z, y, "identity", "squared_error")
    assert_equal([value], [(w * each).sum() / w.sum()])
    for i in range(2):
        assert_equal(delta[i] / w.sum(), gradient(value, z[i]))
    plain, _ = losses.output_loss(z, y, output="identity", loss="squared_error")
    assert_equal([plain], [each.sum() / 2])


# layers, for any activation and any loss: of these functions only the derivatives' names are known


def any_activation(z: np.ndarray):
    """Return f(z) and f'(z) of an unknown f; the samples are those of the identity."""
    return tuple(
        np.frompyfunc(lambda x, g=g: Number(g(x.e), x.at), 1, 1)(z) for g in (AnyF, AnySlope)
    )


def any_loss(z: np.ndarray, *_):
    """Return an unknown L(z_1, z_2, ...) of every row, and its derivatives."""
    rows = [[x.e for x in row] for row in z]
    delta = [[Number(AnyDelta(j + 1, *row), 1.0) for j in range(len(row))] for row in rows]
    value = np.empty(len(rows), object)
    value[:] = [Number(AnyLoss(*row), 1.0) for row in rows]
    return value, np.array(delta, object)


def test_dense_backward():
    x, w = symbols("x", np.ones((2, 3))), symbols("w", np.ones((3, 2)))
    b = symbols("b", np.ones(2))
    value, delta = any_loss(x @ w + b)
    found = dense.dense_backward(delta, x, w)
    for ours, by in zip(found, (w, b, x), strict=True):
        assert_equal(ours, gradient(value.sum(), by))


RULES = {
    "plain": {},
    "l1 and l2": {"l1": True, "l2": True},
    "weights": {"weights": True},
    "dropout": {"dropout": True},
    "no bias": {"bias": False},
    "everything": {"l1": True, "l2": True, "weights": True, "dropout": True},
}


@pytest.mark.parametrize("name", RULES)
def test_back_propagation_for_any_activation_and_any_loss(name, monkeypatch):
    """Two samples, 2-3-2-2: every gradient is SymPy's derivative of the loss that is returned."""
    rules, sizes = RULES[name], (2, 3, 2, 2)
    rng = np.random.default_rng(0)
    monkeypatch.setattr(backprop, "activation_function", lambda _: any_activation)
    monkeypatch.setattr(backprop, "sample_losses", any_loss)
    masks = {n: symbols(f"m{n}", np.ones((2, n))) for n in sizes[1:3]}
    monkeypatch.setattr(backprop, "dropout_factors", lambda _, n, n_units, *__: masks[n_units])
    weights = [symbols(f"W{i}", rng.normal(size=shape))
               for i, shape in enumerate(itertools.pairwise(sizes))]  # fmt: skip
    biases = [symbols(f"b{i}", rng.normal(size=n)) for i, n in enumerate(sizes[1:])]
    biases = biases if rules.get("bias", True) else []
    settings = SimpleNamespace(
        l1=symbol("l1", 0.1) if rules.get("l1") else 0.0,
        l2=symbol("l2", 0.2) if rules.get("l2") else 0.0,
        dropout=(0.5, 0.5) if rules.get("dropout") else (),
        label_smoothing=0.0,
    )
    assert {*vars(settings)} <= {*Regularization.__dataclass_fields__}
    w = symbols("w", [0.5, 2.0]) if rules.get("weights") else None
    net = Architecture(sizes, dtype="float64", bias=bool(biases))
    loss, gradients, _ = backprop.batch_gradients(
        DataSet(symbols("x", np.ones((2, 2))), np.zeros(2), w), weights, biases, net, settings,
        words=np.zeros((2, 2)),
    )  # fmt: skip
    for ours, by in zip(gradients.weights, weights, strict=True):
        assert_equal(ours, gradient(loss, by))
    for ours, by in zip(gradients.biases, biases, strict=True):
        assert_equal(ours, gradient(loss, by))
    free = loss.e.free_symbols
    assert {x.e for array in [*weights, *biases] for x in array.ravel()} <= free
    assert ({x.e for x in w} if w is not None else set()) <= free
    for mask in masks.values():
        assert {x.e in free for x in mask.ravel()} == {bool(rules.get("dropout"))}
