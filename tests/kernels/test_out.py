"""Where the results of operations go: to `out`, whatever it is, or it is refused."""

from __future__ import annotations

import numpy as np
import pytest

from fastmlp import kernels, reference
from fastmlp.kernels.run import calls
from fastmlp.verification import TOLERANCE

DTYPES = tuple(TOLERANCE)
BACKENDS = {"kernels": kernels, "reference": reference}
RNG = np.random.default_rng(0)


def normal(dtype, *shape):
    return RNG.standard_normal(shape).astype(dtype)


def outs(shape, dtype):
    """Return arrays of a shape that a result can be written to."""
    if len(shape) == 1:
        return [np.zeros(shape, dtype), np.zeros(2 * shape[0], dtype)[::2]]
    return [
        np.zeros(shape, dtype), np.zeros(shape[::-1], dtype).T,
        np.zeros((shape[0], shape[1] + 3), dtype)[:, 1:-2],
        np.zeros((2 * shape[0], 2 * shape[1]), dtype)[::-2, ::2],
    ]  # fmt: skip


def operations(dtype):
    """Return calls that take `out`, and the shapes of what they write to it."""
    x, w, bias, z = normal(dtype, 9, 7), normal(dtype, 7, 5), normal(dtype, 5), normal(dtype, 9, 5)
    labels = RNG.integers(0, 5, 9)
    return {
        "dense": (lambda b, **o: b.dense(x, w, bias, activation="gelu", **o), [(9, 5)]),
        "dense_backward": (lambda b, **o: b.dense_backward(z, x, w, **o), [(7, 5), (5,), (9, 7)]),
        "activate": (lambda b, **o: b.activate(z, activation="elu", **o), [(9, 5), (9, 5)]),
        "softmax": (lambda b, **o: b.softmax(z, **o), [(9, 5)]),
        "softmax_cross_entropy":
            (lambda b, **o: b.softmax_cross_entropy(z, labels, **o), [(9, 5)]),
        "output_loss": (
            lambda b, **o: b.output_loss(z, z, output="identity", loss="huber", **o), [(9, 5)],
        ),
    }  # fmt: skip


def arrays_in(result):
    results = result if isinstance(result, tuple) else (result,)
    return [each for each in results if isinstance(each, np.ndarray)]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", operations("float32"))
def test_results_are_written_to_out(backend, dtype, name):
    call, shapes = operations(dtype)[name]
    wanted = arrays_in(call(BACKENDS[backend]))
    for number in range(4):
        given = tuple(outs(shape, dtype)[number % (2 * len(shape))] for shape in shapes)
        result = call(BACKENDS[backend], out=given if len(given) > 1 else given[0])
        for ours, out, array in zip(arrays_in(result), given, wanted, strict=True):
            assert ours is out
            np.testing.assert_array_equal(out, array)


@pytest.mark.parametrize("name", ["dense", "dense_backward", "softmax"])
def test_results_go_straight_between_the_columns_of_a_larger_array(monkeypatch, name):
    call, shapes = operations("float32")[name]
    outs = [
        np.zeros((shape[0], 20), "float32")[:, 3 : 3 + shape[1]] if len(shape) == 2
        else np.zeros(shape, "float32") for shape in shapes
    ]  # fmt: skip
    written, honest = [], calls.Call.run

    def run(self, places):
        written.extend(id(array) for _, array in places)
        honest(self, places)

    monkeypatch.setattr(calls.Call, "run", run)
    call(kernels, out=tuple(outs) if len(outs) > 1 else outs[0])
    assert {id(out) for out in outs} <= set(written)


@pytest.mark.parametrize("name", operations("float32"))
def test_an_out_that_does_not_fit_is_the_same_error_on_both_backends(name):
    call, shapes = operations("float64")[name]
    good = [np.zeros(shape) for shape in shapes]
    frozen = np.zeros(shapes[0])
    frozen.flags.writeable = False
    wrong = [
        (np.zeros(shapes[0], "float32"), TypeError), (np.zeros((99, 3)), ValueError),
        (frozen, ValueError), ([[0.0]], TypeError),
    ]  # fmt: skip
    for first, error in wrong:
        said = []
        for backend in BACKENDS.values():
            given = (first, *good[1:]) if len(good) > 1 else first
            with pytest.raises(error, match=r"^out.*: expected") as caught:
                call(backend, out=given)
            said.append(str(caught.value))
        assert said[0] == said[1]
    if len(good) > 1:
        for backend in BACKENDS.values():
            with pytest.raises(TypeError, match="out: expected a tuple"):
                call(backend, out=good)


@pytest.mark.parametrize("backend", BACKENDS)
def test_out_may_be_an_operand(backend):
    backend = BACKENDS[backend]
    z, w = normal("float64", 70, 70), normal("float64", 70, 70)
    for call in (
        lambda a, out: backend.dense(a, w, activation="relu", out=out),
        lambda a, out: backend.dense(w, a, out=out),
        lambda a, out: backend.softmax(a, out=out),
        lambda a, out: backend.softmax_cross_entropy(a, np.arange(70), out=out)[1],
        lambda a, out: backend.activate(a, activation="silu", out=(out, np.zeros((70, 70))))[0],
        lambda a, out: backend.dense_backward(a, w, w, out=(out, np.zeros(70), np.zeros((70, 70))))[
            0
        ],
    ):
        wanted, here = call(z, np.zeros((70, 70))), z.copy()
        np.testing.assert_array_equal(call(here, here), wanted)
