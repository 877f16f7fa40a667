"""The reference's numbers against SymPy's, to thirty digits; and what has no symbols in it."""

from __future__ import annotations

import itertools

import mpmath
import numpy as np
import pytest
import sympy as sp

from fastmlp import kernels, reference
from fastmlp.activations import ACTIVATIONS, ZERO_AT
from fastmlp.architecture import Architecture
from fastmlp.reference import activations

SIZES = (2, 3, 2, 2)
SHAPES = [*itertools.pairwise(SIZES), *((n,) for n in SIZES[1:])]  # W1, W2, W3, b1, b2, b3
X = [[sp.Rational(3, 4), sp.Rational(-5, 8)], [sp.Rational(1, 2), sp.Rational(9, 8)]]
Y = [[1, 0], [0, 1]]
L2 = sp.Rational(1, 8)


def test_constants_are_those_of_the_formulas():
    assert float(sp.sqrt(2 / sp.pi).evalf(30)) == activations.GELU_SCALE
    assert activations.GELU_CUBIC == 0.044715
    assert activations.LEAKY_SLOPE == 0.01


@pytest.mark.parametrize("backend", [reference, kernels], ids=["reference", "kernels"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_padding_stands_where_an_activation_is_zero(name, backend):
    z = np.array([ZERO_AT.get(name, 0.0)])
    a, derivative = backend.activate(z, activation=name)
    assert a[0] == 0
    assert derivative[0] == 0 or name not in ZERO_AT


def logistic(z):
    return 1 / (1 + sp.exp(-z))


FUNCTIONS = {"tanh": sp.tanh, "sigmoid": logistic, "softplus": lambda z: sp.log(1 + sp.exp(z))}


def outputs_loss(output: str, z: list, target: list):
    if output == "softmax":
        return -sum(t * sp.log(sp.exp(v) / sum(map(sp.exp, z)))
                    for v, t in zip(z, target, strict=True))  # fmt: skip
    if output == "sigmoid":
        return -sum(t * sp.log(logistic(v)) + (1 - t) * sp.log(1 - logistic(v))
                    for v, t in zip(z, target, strict=True))  # fmt: skip
    return sum(sp.exp(v) - t * v for v, t in zip(z, target, strict=True))


def mean_loss(arrays: list[np.ndarray], f, output: str):
    """Return the loss as a book has it, of arrays of symbols."""
    weights, biases = arrays[:3], arrays[3:]
    total = sum(L2 / 2 * w**2 for array in weights for w in array.ravel())
    for row, target in zip(X, Y, strict=True):
        a = np.array(row, object)
        for w, b in zip(weights, biases, strict=True):
            z = a @ w + b
            a = np.array([f(value) for value in z], object)
        total += outputs_loss(output, list(z), target) / len(X)
    return total


@pytest.mark.parametrize(
    ("activation", "output", "loss"),
    [
        pytest.param("tanh", "softmax", "cross_entropy", marks=pytest.mark.slow),
        pytest.param("sigmoid", "sigmoid", "binary_cross_entropy", marks=pytest.mark.slow),
        ("softplus", "identity", "poisson"),
    ],
)
def test_a_whole_network_to_thirty_digits(activation, output, loss):
    """The public function in float64, against SymPy's chain rule at rational points."""
    arrays = [
        np.array(sp.symbols(f"p{i}_:{int(np.prod(shape))}"), object).reshape(shape)
        for i, shape in enumerate(SHAPES)
    ]
    variables = [x for array in arrays for x in array.ravel()]
    total = mean_loss(arrays, FUNCTIONS[activation], output)
    exact = sp.lambdify(
        variables, [total, *(sp.diff(total, x) for x in variables)], "mpmath", cse=True
    )
    point = np.random.default_rng(1).integers(-90, 90, len(variables)) / 64  # exact in float64
    with mpmath.workdps(30):
        wanted = [float(value) for value in exact(*map(mpmath.mpf, point.tolist()))]
    given = np.split(point, np.cumsum([np.prod(shape) for shape in SHAPES])[:-1])
    given = [array.reshape(shape) for array, shape in zip(given, SHAPES, strict=True)]
    net = Architecture(SIZES, activation=activation, output=output, loss=loss, dtype="float64")
    value, g = reference.loss_and_gradients(
        np.array(X, float), np.array(Y, float), given[:3], given[3:], net, l2=float(L2)
    )
    ours = [value, *np.concatenate([a.ravel() for a in (*g.weights, *g.biases)])]
    np.testing.assert_allclose(ours, wanted, rtol=1e-14, atol=1e-14)
