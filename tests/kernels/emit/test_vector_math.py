"""The vector functions, element by element against 80-bit arithmetic, and at the edges."""

from __future__ import annotations

from functools import partial

import numba
import numpy as np
import pytest
from numba import types
from numba.extending import intrinsic

from fastmlp import kernels, reference
from fastmlp.activations import ACTIVATIONS
from fastmlp.kernels.emit.records import emit_kernel, record
from fastmlp.kernels.emit.target import current_target
from fastmlp.kernels.emit.vector_math import Vec

wide = np.longdouble
pytestmark = pytest.mark.skipif(
    np.finfo(wide).nmant < 60, reason="no wider floating-point type to compare with"
)
GRID = {"float32": 95.0, "float64": 720.0}


def points(dtype: str) -> np.ndarray:
    limit = GRID[dtype]
    rng = np.random.default_rng(0)
    spread = [
        np.linspace(-limit, limit, 200_001),
        rng.standard_normal(50_000),
        rng.standard_normal(20_000) * 1e-4,
        np.geomspace(1e-30, 1e-3, 1000),
        -np.geomspace(1e-30, 1e-3, 1000),
    ]
    return np.concatenate(spread).astype(dtype)


def ulps(ours: np.ndarray, exact: np.ndarray) -> float:
    """Return the largest error in units of the last place, where the exact value is normal."""
    info = np.finfo(ours.dtype)
    normal = (np.abs(exact) >= info.tiny) & (np.abs(exact) <= info.max)
    unit = np.spacing(np.abs(exact[normal].astype(ours.dtype)))
    return float((np.abs(ours[normal].astype(wide) - exact[normal]) / unit).max())


def exact_values(name: str, z: np.ndarray) -> np.ndarray:
    z = z.astype(wide)
    with np.errstate(over="ignore", under="ignore"):
        s = 1 / (1 + np.exp(-z))
        return {
            "sigmoid": lambda: s,
            "tanh": lambda: np.tanh(z),
            "elu": lambda: np.where(z > 0, z, np.expm1(np.minimum(z, 0))),
            "silu": lambda: z * s,
            "softplus": lambda: np.logaddexp(0, z),
            "relu": lambda: np.maximum(z, 0),
            "identity": lambda: z,
        }[name]()


@pytest.mark.parametrize("dtype", GRID)
@pytest.mark.parametrize("name", ["sigmoid", "tanh", "elu", "silu", "softplus", "relu", "identity"])
def test_within_four_units_in_the_last_place(name, dtype):
    z = points(dtype)
    if name == "silu":  # z times a sigmoid that is no longer normal counts as 0
        z = z[z > np.log(np.finfo(dtype).tiny)]
    value, _ = kernels.activate(z, activation=name)
    assert ulps(value, exact_values(name, z)) <= 4


@pytest.mark.parametrize("dtype", GRID)
def test_exp_within_two_units(dtype):
    # the derivative of elu below 0 is exp itself
    z = -np.abs(points(dtype))
    _, slope = kernels.activate(z, activation="elu")
    with np.errstate(under="ignore"):
        assert ulps(slope, np.exp(z.astype(wide))) <= 2


def logarithm(dtype: str):
    """Compile log alone: no operation of the contract gives it over its whole range."""

    @record("y x vectors")
    def emit(v, q):
        with v.each(q.vectors, v.bytes) as offset:
            v.store(v.log(v.load(q.x, offset)), q.y, offset)

    @intrinsic
    def kernel(typingctx, address):
        def codegen(context, builder, sig, args):
            new = partial(Vec, dtype=dtype, target=current_target())
            builder.call(emit_kernel(builder.module, "log", emit, new), args)
            return context.get_dummy_value()

        return types.void(types.int64), codegen

    @numba.njit
    def run(address):
        kernel(address)

    def log(x: np.ndarray) -> np.ndarray:
        padded = np.ones(-(-x.size // 16) * 16, dtype)
        padded[: x.size] = x
        y = np.empty_like(padded)
        vectors = padded.nbytes // current_target().vector_bytes
        values = np.array([y.ctypes.data, padded.ctypes.data, vectors], np.int64)
        run(values.ctypes.data)
        return y[: x.size]

    return log


@pytest.mark.parametrize("dtype", GRID)
def test_log_within_two_units(dtype):
    info, log = np.finfo(dtype), logarithm(dtype)
    small, large = float(np.log10(info.smallest_subnormal)), float(np.log10(info.max))
    rng = np.random.default_rng(0)
    x = np.concatenate([
        10 ** rng.uniform(small, large, 100_000),
        rng.uniform(0.5, 2.0, 100_000),
        1 + rng.uniform(-1e-3, 1e-3, 50_000),
    ]).astype(dtype)  # fmt: skip
    x = x[(x > 0) & np.isfinite(x)]
    assert ulps(log(x), np.log(x.astype(wide))) <= 2
    special = log(np.array([0.0, -0.0, -1.0, np.inf, np.nan, 1.0], dtype))
    np.testing.assert_array_equal(special, [-np.inf, -np.inf, np.nan, np.inf, np.nan, 0.0])


@pytest.mark.parametrize("dtype", GRID)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_no_nan_for_any_finite_input(name, dtype):
    value, slope = kernels.activate(points(dtype), activation=name)
    assert np.isfinite(value).all()
    assert np.isfinite(slope).all()


@pytest.mark.parametrize("dtype", GRID)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_infinities_and_nan(name, dtype):
    z = np.array([np.inf, -np.inf, np.nan, 0.0, -0.0], dtype)
    ours, _ = kernels.activate(z, activation=name)
    theirs, _ = reference.activate(z, activation=name)
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs))
    finite = ~np.isnan(theirs)
    np.testing.assert_allclose(ours[finite], theirs[finite], rtol=1e-6)
    assert np.isnan(ours[2])


def test_an_error_of_eight_units_would_be_seen():
    z = points("float64")
    value, _ = kernels.activate(z, activation="sigmoid")
    worse = value * (1 + 8 * np.finfo(np.float64).eps)
    assert ulps(worse, exact_values("sigmoid", z)) > 4
