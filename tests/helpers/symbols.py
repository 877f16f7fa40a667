"""Numbers that carry expressions: the reference's own code runs on them.

`Number` is a number of the reference's arrays that carries an expression, and a sample value that
decides its comparisons. So a branch is taken as it is at the sample, and what is proved holds for
all values that take the same branches; the samples stand on every side of every kink. NumPy hands
functions of object arrays to the elements' methods (`np.exp` calls `exp`); a few of its names that
cannot are replaced in the reference's modules (`SymbolNumPy`), and floats with names, such as the
slope of leaky relu, are symbols too. Derivatives are SymPy's, of the reference's own values.
"""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp


class Number:
    """An expression, and its value at the sample."""

    def __init__(self, expression, sample: float) -> None:
        self.e, self.at = sp.sympify(expression), float(sample)

    def _with(self, other, operation):
        if isinstance(other, np.ndarray):
            return NotImplemented  # NumPy takes the elements one by one
        other = number(other)
        return Number(operation(self.e, other.e), operation(self.at, other.at))

    def __add__(self, other):
        return self._with(other, lambda x, y: x + y)

    def __mul__(self, other):
        return self._with(other, lambda x, y: x * y)

    def __sub__(self, other):
        return self._with(other, lambda x, y: x - y)

    def __rsub__(self, other):
        return self._with(other, lambda x, y: y - x)

    def __truediv__(self, other):
        return self._with(other, lambda x, y: x / y)

    def __rtruediv__(self, other):
        return self._with(other, lambda x, y: y / x)

    def __pow__(self, other):
        return self._with(other, lambda x, y: x**y)

    __radd__, __rmul__ = __add__, __mul__

    def __neg__(self):
        return Number(-self.e, -self.at)

    def __abs__(self):
        return -self if self.at < 0 else self

    def __lt__(self, other):
        return self.at < number(other).at

    def __le__(self, other):
        return self.at <= number(other).at

    def __gt__(self, other):
        return self.at > number(other).at

    def __ge__(self, other):
        return self.at >= number(other).at

    def __eq__(self, other):
        return self.at == number(other).at

    def __float__(self):
        raise TypeError("a float of a symbol: what follows would prove nothing")

    __hash__ = None  # type: ignore[assignment]

    def exp(self):
        return Number(sp.exp(self.e), np.exp(self.at))

    def expm1(self):
        return self.exp() - 1

    def log(self):
        return Number(sp.log(self.e), np.log(self.at))

    def log1p(self):
        return (1 + self).log()

    def tanh(self):
        return Number(sp.tanh(self.e), np.tanh(self.at))

    def sqrt(self):
        return Number(sp.sqrt(self.e), np.sqrt(self.at))


def number(value) -> Number:
    """Return a number as it is, exactly; of a float, its binary fraction."""
    if isinstance(value, Number):
        return value
    if isinstance(value, int | np.integer | np.bool_):
        return Number(int(value), value)
    return Number(sp.Rational(float(value)), value)


def symbol(name: str, sample: float, **assumptions) -> Number:
    return Number(sp.Symbol(name, real=True, **assumptions), sample)


def symbols(name: str, samples) -> np.ndarray:
    """Return an array of symbols with these samples."""
    samples = np.asarray(samples, float)
    array = np.empty(samples.shape, object)
    for i in np.ndindex(samples.shape):
        array[i] = symbol(name + "".join(map(str, i)), samples[i])
    return array


numbers = np.frompyfunc(number, 1, 1)
expressions = np.frompyfunc(lambda x: x if isinstance(x, sp.Expr) else number(x).e, 1, 1)


class SymbolNumPy:
    """NumPy for arrays of `Number`."""

    float64 = object  # sums are asked for in it

    def __getattr__(self, name: str):
        return getattr(np, name)

    @staticmethod
    def minimum(x, y):
        return numbers(np.minimum(x, y))

    @staticmethod
    def maximum(x, y):
        return numbers(np.maximum(x, y))

    @staticmethod
    def where(condition, x, y):
        return numbers(np.where(condition, x, y))

    @staticmethod
    def logaddexp(x, y):
        return np.log(np.exp(numbers(x)) + np.exp(y))


class AnyF(sp.Function):
    def fdiff(self, argindex=1):
        return AnySlope(*self.args)


class AnySlope(sp.Function):
    nargs = 1


class AnyLoss(sp.Function):
    def fdiff(self, argindex=1):
        return AnyDelta(argindex, *self.args)


class AnyDelta(sp.Function):
    pass


def assert_equal(ours, theirs) -> None:
    """Prove that two arrays of expressions are equal: expanded, or, of functions that
    SymPy knows, simplified.
    """
    ours, theirs = np.broadcast_arrays(expressions(ours), expressions(theirs))
    for i in np.ndindex(ours.shape):
        gap = sp.expand(ours[i] - theirs[i])
        if gap != 0 and not gap.has(AnyF, AnyLoss, AnyDelta):
            gap = sp.simplify((ours[i] - theirs[i]).rewrite(sp.exp))
        if gap != 0:
            pytest.fail(f"{i}: {str(ours[i])[:200]} is not {str(theirs[i])[:200]}", pytrace=False)


def gradient(value, by: np.ndarray) -> np.ndarray:
    """Return the derivatives of an expression by each symbol of an array."""
    return np.frompyfunc(lambda x: sp.diff(value.e, x.e), 1, 1)(by)
