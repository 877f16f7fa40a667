"""The look for NaN and infinities: in any layout, on any number of threads, without BLAS."""

from __future__ import annotations

import ast
import itertools
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import fastmlp
from fastmlp import MLP
from fastmlp.kernels.run import calls, choose, finite
from fastmlp.kernels.run.finite import all_finite
from fastmlp.support import validation
from fastmlp.support.finite import check_finite

RNG = np.random.default_rng(0)
KINDS = {"array": (203, 37), "row": (1, 3001), "column": (3001, 1), "line": (4001,)}
BAD = (np.nan, np.inf, -np.inf)


def layouts(x: np.ndarray):
    every_other = np.zeros([3 * n for n in x.shape], x.dtype)[(slice(None, None, 3),) * x.ndim]
    every_other[...] = x
    backwards = x[(slice(None, None, -1),) * x.ndim]
    return [x, np.asfortranarray(x), every_other, every_other.T, backwards]


@pytest.mark.parametrize("threads", [None, 1, 2, 5])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "longdouble", ">f8"])
@pytest.mark.parametrize("shape", KINDS.values(), ids=KINDS)
def test_one_bad_element_is_found_anywhere(monkeypatch, shape, dtype, threads):
    monkeypatch.setattr(finite, "_SMALL", 0)
    x = RNG.standard_normal(shape).astype(dtype)
    assert all(all_finite(each, threads) for each in layouts(x))
    for bad, place in itertools.product(BAD, (0, 1, 18, x.size // 2, x.size - 2, x.size - 1)):
        broken = x.copy()
        broken.flat[place] = bad
        assert not any(all_finite(each, threads) for each in layouts(broken)), (bad, place)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_lies_between_rows_is_not_looked_at(dtype):
    wide = np.full((400, 20), np.nan, dtype)
    inner = wide[1:-1, 3:13]
    inner[...] = np.finfo(dtype).max
    inner[::2] *= -1
    assert all_finite(inner, 1)
    assert all_finite(inner.T, 2)


def test_small_odd_and_empty_arrays():
    assert all_finite(np.zeros((0, 3)), None)
    assert all_finite(np.ones((3, 4), int), None)
    assert all_finite(np.ones((2, 3, 4))[:, ::2], None)
    assert not all_finite(np.full((2, 3, 4), np.nan)[:, ::2], None)
    assert not all_finite(np.array([[1.0, np.nan]]), None)
    large = np.ones((2, 9000, 3))[:, ::2]
    assert all_finite(large, None, most=1e9)
    assert not all_finite(1e9 * large, None, most=1e9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_array_need_not_begin_at_a_multiple_of_its_elements_size(dtype):
    x = RNG.standard_normal((300, 40)).astype(dtype)
    odd = np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(dtype).reshape(x.shape)
    assert odd.ctypes.data % odd.itemsize
    assert all_finite(odd, None)
    assert all_finite(odd[:, ::2], 2)


def test_a_call_of_any_size_in_a_class_of_sizes_is_made_once(monkeypatch):
    calls._kind.cache_clear()
    monkeypatch.setattr(finite, "_SMALL", 0)
    made = []
    whole = calls.Call.__init__
    monkeypatch.setattr(
        calls.Call, "__init__", lambda self, *a, **o: (made.append(1), whole(self, *a, **o))[1]
    )
    for n in range(2100, 4000, 100):
        assert all_finite(np.ones((n, 1)), 1)
        assert all_finite(np.ones((n // 2, 3))[:, :2], 1)
    assert len(made) == 1


@pytest.mark.parametrize("small", [0, 10**6])
@pytest.mark.parametrize("scale", [None, 3.0, 1e-300, 1e300])
def test_numbers_are_judged_at_the_edge_as_they_are_converted(monkeypatch, small, scale):
    """Those that round to float32's largest are finite, the next one is not; what is flushed to 0
    is nothing to complain about. Wherever it is, and whatever its neighbours are.
    """
    monkeypatch.setattr(finite, "_SMALL", small)
    half_an_ulp = 2.0**103
    beyond = np.float64(np.finfo("float32").max) + half_an_ulp  # rounds to even: to infinity
    with np.errstate(over="ignore"):
        near = beyond * (scale or 1.0) * (1 + 2.0**-52 * np.arange(-6, 7))
        converts = np.isfinite((near / (scale or 1.0)).astype("float32"))
    if scale != 1e300:
        assert 0 < converts.sum() < len(converts)
    tiny = [-0.0, 5e-324, 1e-310, *np.array([1e-46, 1e-45, 1e-38]) * (scale or 1.0)]
    cases = [*zip([*near, *-near], [*converts, *converts], strict=True)]
    cases += [(number, True) for number in tiny] + [(number, False) for number in BAD]
    looks = {"dtype": "float32", "scale": scale}, {"dtype": "float32", "scale": scale}
    looks[0]["all_finite"] = partial(all_finite, threads=2)
    for (number, fine), others in itertools.product(cases, (0.0, -0.9, 1e-320)):
        for place in (0, 1, 18, 7510):
            X = np.full((203, 37), others * (scale or 1.0))
            X.flat[place] = number
            for rows, look in itertools.product(layouts(X), looks):
                if fine:
                    check_finite("X", rows, **look)
                    continue
                with pytest.raises(ValueError, match=r"X: expected (finite|numbers that float32)"):
                    check_finite("X", rows, **look)


@pytest.mark.parametrize("shape", KINDS.values(), ids=KINDS)
def test_no_sum_of_others_hides_what_is_too_large(monkeypatch, shape):
    monkeypatch.setattr(finite, "_SMALL", 0)
    for dtype, most in (("float32", 100.0), ("float64", 100.0), ("float64", 3e37)):
        x = np.full(shape, most * -1e-6, dtype)
        assert all(all_finite(each, 2, most) for each in layouts(x))
        for place in (0, 1, 18, x.size // 2, x.size - 2, x.size - 1):
            broken = x.copy()
            broken.flat[place] = np.nextafter(np.array(most, dtype), np.inf, dtype=dtype)
            assert not any(all_finite(each, 2, most) for each in layouts(broken)), (dtype, place)


def test_networks_look_on_the_threads_that_they_have(monkeypatch):
    asked = []
    honest = finite.all_finite
    monkeypatch.setattr(
        finite, "all_finite", lambda x, threads, most: asked.append(threads) or honest(x, threads)
    )
    X = RNG.standard_normal((700, 8)).astype("float32")
    for threads in (None, 1, 2):
        net = MLP((8, 5, 3), rng=0, threads=threads)
        net.fit(X, np.arange(700) % 3, epochs=1)
        net.predict(X)
        assert set(asked) == {threads}
        asked.clear()
    X[600, 7] = np.inf
    with pytest.raises(
        ValueError, match="X: expected finite numbers, got inf in row 600, column 7"
    ):
        net.predict(X)
    with pytest.raises(
        ValueError, match="X: expected finite numbers, got inf in row 600, column 7"
    ):
        MLP((8, 5, 3), rng=0, backend="numpy").predict(X)


PACKAGE = Path(fastmlp.__file__).parent
WITH_PRODUCTS = (
    "reference",
    "examples",
    "recipes",
    "bench",
    "verification",
)  # whose work is NumPy's own


def test_nothing_but_the_reference_writes_a_product():
    found = [
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.MatMult)
    ]
    assert [name for name in found if not name.startswith(WITH_PRODUCTS)] == []
    assert found


def test_fit_and_predict_call_no_blas(monkeypatch):
    """Of NumPy: it is asked for no product by name."""

    def refused(*_, **__):
        raise AssertionError("BLAS")

    for name in ("dot", "vdot", "inner", "matmul", "tensordot"):
        monkeypatch.setattr(np, name, refused)
    X = RNG.standard_normal((90, 6))
    y = np.arange(90) % 3
    net = MLP((6, 7, 3), dtype="float64", rng=0)
    net.fit(X, y, epochs=2, optimizer="adam", l2=0.1, class_weight="balanced",
            validation_split=0.1)  # fmt: skip
    net.predict(X)
    net.evaluate(X, y)
    assert validation.sum_is_finite(X)


def test_there_may_be_more_processors_than_64(monkeypatch):
    """Every share has a word of its own to write to, and each is looked at."""
    monkeypatch.setattr("os.cpu_count", lambda: 128)
    monkeypatch.setattr(finite, "_SMALL", 0)
    monkeypatch.setattr(choose, "choose_threads", lambda threads, flops: 128)
    monkeypatch.setattr(choose, "LEARNT_FLOPS", 0)
    honest, seen = finite.call, []
    monkeypatch.setattr(finite, "call", lambda *a, **k: seen.append(a[5]) or honest(*a, **k))
    calls._kind.cache_clear()
    x = np.zeros((128, 7))
    assert all_finite(x, None)
    x[-1, -1] = np.nan
    assert not all_finite(x, None)
    calls._kind.cache_clear()
    assert all(found.size >= 128 for _, found in seen)
