"""The two backends agree on every operation; and the comparison can tell when they do not."""

from __future__ import annotations

import inspect
from types import SimpleNamespace

import numpy as np
import pytest

from fastmlp import Adam, kernels, reference
from fastmlp.contract import signatures
from fastmlp.verification import TOLERANCE, Case, Sizes, all_cases, difference, outcome, shapes

CASES = list(all_cases())
DTYPES = tuple(TOLERANCE)


def arguments(case: Case, dtype: str, sizes: Sizes, seed: int = 0):
    least = case.least
    sizes = Sizes(max(sizes.n, least.n), max(sizes.n_in, least.n_in), max(sizes.n_out, least.n_out))
    return case.make(np.random.default_rng(seed), dtype, sizes)


def assert_equal(case: Case, dtype: str, sizes: Sizes) -> None:
    made = arguments(case, dtype, sizes)
    gap = difference(outcome(kernels, case, made), outcome(reference, case, made))
    assert gap <= TOLERANCE[dtype], f"{case} {dtype} {sizes}: {gap:.1e}"


def test_both_backends_export_the_contract():
    assert sorted(reference.__all__) == sorted(kernels.__all__) == signatures.__all__


@pytest.mark.parametrize("name", signatures.__all__)
def test_both_backends_are_described_by_one_contract(name):
    contract = getattr(signatures, name)
    described = inspect.getdoc(contract)
    first, _, sections = described.partition("\n\n")
    for backend in (reference, kernels):
        function = getattr(backend, name)
        assert inspect.signature(function) == inspect.signature(contract)
        doc = inspect.getdoc(function)
        assert doc.startswith(f"{first}\n\n")
        assert doc.endswith(sections.replace("reference", backend.__name__.split(".")[1]))
        own = doc.removeprefix(first).partition("Parameters\n----------\n")[0].strip()
        assert own.endswith(".")
        assert f"{backend.__name__.split('.')[1]}.{name}(" in doc
    assert all(f"\n{title}\n---" in described for title in ("Parameters", "Raises", "Examples"))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_variant_on_every_shape(case, dtype, count):
    compared = [assert_equal(case, dtype, sizes) for sizes in shapes(case)]
    assert len(compared) >= (4 if case.operation == "dense" else 40)
    count("operations compared with the reference", len(compared))


def layouts(x: np.ndarray):
    wide = np.zeros((x.shape[0] * 2, x.shape[1] * 3), x.dtype)
    strided = wide[::2, ::3]
    strided[...] = x
    yield "strided", strided
    yield "fortran", np.asfortranarray(x)
    backwards = x[::-1, ::-1].copy()[::-1, ::-1]
    yield "negative strides", backwards
    frozen = x.copy()
    frozen.flags.writeable = False
    yield "read-only", frozen


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "name", ["dense[sigmoid]", "dense_backward", "softmax", "activate[gelu]", "forward[mixed]"]
)
def test_any_layout_gives_the_same_bits(name, dtype):
    case = next(c for c in CASES if str(c) == name)
    made = arguments(case, dtype, Sizes(33, 17, 9))
    plain = outcome(kernels, case, made)
    for label, first in layouts(made[0][0]):
        again = outcome(kernels, case, ([first, *made[0][1:]], made[1]))
        assert difference(again, plain) == 0, label


@pytest.mark.parametrize("backend", [kernels, reference], ids=["kernels", "reference"])
def test_inputs_are_left_alone(backend):
    for case in CASES:
        if case.operation in ("optimizer_step", "train_epoch"):
            continue
        positional, keywords = arguments(case, "float64", Sizes(9, 7, 5))
        before = [np.copy(a) if isinstance(a, np.ndarray) else a for a in positional]
        getattr(backend, case.operation)(*positional, **keywords)
        for old, new in zip(before, positional, strict=True):
            if isinstance(old, np.ndarray):
                np.testing.assert_array_equal(old, new, err_msg=str(case))


# A comparison that cannot fail proves nothing: each of these defects has to be caught.


def _wrong_transpose(delta, x, weights):
    dw, db, dx = kernels.dense_backward(delta, x, weights)
    return np.ascontiguousarray(dw.T).reshape(dw.shape), db, dx


def _dropped_tail_column(x, weights, bias=None, *, activation="identity"):
    a = kernels.dense(x, weights, bias, activation=activation)
    a[:, -1] = 0
    return a


def _missing_bias(x, weights, bias=None, *, activation="identity"):
    return kernels.dense(x, weights, None, activation=activation)


class _StaleBuffer:
    """Adds to what the last call left instead of overwriting it."""

    def __init__(self):
        self.kept = None

    def __call__(self, delta, x, weights):
        dw, db, dx = kernels.dense_backward(delta, x, weights)
        self.kept = dw if self.kept is None else self.kept + dw
        return self.kept, db, dx


def _no_maximum_taken_off(logits):
    with np.errstate(over="ignore", invalid="ignore"):
        e = np.exp(logits)
        return e / e.sum(axis=1, keepdims=True)


def _not_a_number(x, weights, bias=None, *, activation="identity"):
    a = kernels.dense(x, weights, bias, activation=activation)
    a[0, 0] = np.nan
    return a


@pytest.mark.parametrize(
    ("operation", "broken"),
    [
        ("dense_backward", _wrong_transpose),
        ("dense", _dropped_tail_column),
        ("dense", _missing_bias),
        ("dense", _not_a_number),
    ],
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_broken_kernels_are_caught(operation, broken, dtype):
    case = next(c for c in CASES if c.operation == operation)
    made = arguments(case, dtype, Sizes(33, 17, 9))
    mutant = SimpleNamespace(**{operation: broken})
    gap = difference(outcome(mutant, case, made), outcome(reference, case, made))
    assert gap > 100 * TOLERANCE[dtype]


def test_a_stale_buffer_is_caught():
    case = next(c for c in CASES if c.operation == "dense_backward")
    made = arguments(case, "float64", Sizes(33, 17, 9))
    mutant = SimpleNamespace(dense_backward=_StaleBuffer())
    wanted = outcome(reference, case, made)
    assert difference(outcome(mutant, case, made), wanted) <= TOLERANCE["float64"]
    assert difference(outcome(mutant, case, made), wanted) > 1e-3


def test_an_unstable_softmax_is_caught():
    logits = np.array([[1000.0, 0.0], [0.0, 0.0]])
    good = reference.softmax(logits)
    assert difference([kernels.softmax(logits)], [good]) <= TOLERANCE["float64"]
    assert difference([_no_maximum_taken_off(logits)], [good]) == float("inf")


def test_a_reordered_sum_is_caught_by_the_bits():
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((9, 300)), rng.standard_normal((300, 5))
    here, again = kernels.dense(x, w), kernels.dense(x, w)
    back = kernels.dense(x[:, ::-1].copy(), w[::-1].copy())
    assert difference([here], [again]) == 0
    assert 0 < difference([here], [back]) <= TOLERANCE["float64"]


def test_a_loose_float32_result_is_caught_in_float64():
    case = next(c for c in CASES if str(c) == "dense[tanh]")
    made = arguments(case, "float64", Sizes(33, 17, 9))
    coarse = SimpleNamespace(
        dense=lambda x, w, b, *, activation: kernels.dense(
            x.astype(np.float32), w.astype(np.float32), b.astype(np.float32), activation=activation
        ).astype(np.float64)
    )
    gap = difference(outcome(coarse, case, made), outcome(reference, case, made))
    assert gap > TOLERANCE["float64"]


# what does not fit


def _wrong(name: str, **changes):
    """Return arguments of the first case of that name, by name, some of them wrong."""
    case = next(c for c in CASES if c.operation == name)
    positional, keywords = arguments(case, "float64", Sizes(4, 3, 2))
    bound = inspect.signature(getattr(reference, name)).bind(*positional, **keywords)
    return bound.arguments | changes


A = np.ones((4, 3))
WRONG = {
    "activate: activation": ("activate", {"activation": "step"}, ValueError),
    "activate: z": ("activate", {"z": [1.0]}, TypeError),
    "activate: z of integers": ("activate", {"z": A.astype(int)}, TypeError),
    "dense: activation": ("dense", {"activation": "step"}, ValueError),
    "dense: x": ("dense", {"x": A.tolist()}, TypeError),
    "dense: x of words": ("dense", {"x": A.astype(str)}, TypeError),
    "dense: x of one dimension": ("dense", {"x": A[0]}, ValueError),
    "dense: x of too many columns": ("dense", {"x": np.ones((4, 9))}, ValueError),
    "dense: weights": ("dense", {"weights": A.astype("float16")}, TypeError),
    "dense: bias": ("dense", {"bias": np.ones(9)}, ValueError),
    "dense_backward: delta": ("dense_backward", {"delta": np.ones((4, 9))}, ValueError),
    "softmax: logits": ("softmax", {"logits": np.ones((4, 0))}, ValueError),
    "softmax: logits of integers": ("softmax", {"logits": A.astype(int)}, TypeError),
    "softmax_cross_entropy: y": ("softmax_cross_entropy", {"y": [0, 1, 0, 9]}, ValueError),
    "softmax_cross_entropy: rows": ("softmax_cross_entropy", {"logits": A[:0]}, ValueError),
    "output_loss: output": ("output_loss", {"output": "step"}, ValueError),
    "output_loss: loss": ("output_loss", {"loss": "squared_error"}, ValueError),
    "output_loss: sample_weight": ("output_loss", {"sample_weight": -np.ones(4)}, ValueError),
    "forward: X": ("forward", {"X": np.ones((4, 9))}, ValueError),
    "forward: architecture": ("forward", {"architecture": (3, 2)}, TypeError),
    "forward: weights": ("forward", {"weights": [A]}, ValueError),
    "forward: biases": ("forward", {"biases": [np.ones(3)]}, ValueError),
    "loss_and_gradients: l2": ("loss_and_gradients", {"l2": -1.0}, ValueError),
    "loss_and_gradients: y": ("loss_and_gradients", {"y": [0, 1]}, ValueError),
    "optimizer_step: optimizer": ("optimizer_step", {"optimizer": "adam"}, TypeError),
    "optimizer_step: state": ("optimizer_step", {"state": None}, TypeError),
    "optimizer_step: gradients": ("optimizer_step", {"gradients": [A, A]}, ValueError),
    "optimizer_step: slots": ("optimizer_step", {"optimizer": Adam()}, ValueError),
    "optimizer_step: rate": ("optimizer_step", {"learning_rate": -1.0}, ValueError),
    "train_epoch: X": ("train_epoch", {"X": A[:0]}, ValueError),
    "train_epoch: order": ("train_epoch", {"order": [0, 4]}, ValueError),
    "train_epoch: empty order": ("train_epoch", {"order": []}, ValueError),
    "train_epoch: batch_size": ("train_epoch", {"batch_size": 0}, ValueError),
    "train_epoch: rates": ("train_epoch", {"learning_rate": [0.1] * 9}, ValueError),
    "train_epoch: a rate": ("train_epoch", {"learning_rate": np.inf}, ValueError),
    "train_epoch: slots": ("train_epoch", {"optimizer": Adam()}, ValueError),
}  # fmt: skip


@pytest.mark.parametrize(("name", "changes", "error"), WRONG.values(), ids=WRONG)
def test_what_does_not_fit_is_the_same_error_on_both_backends(name, changes, error):
    said = []
    for backend in (kernels, reference):
        given = _wrong(name, **changes)
        with pytest.raises(error) as caught:
            getattr(backend, name)(**given)
        assert type(caught.value) is error
        said.append(str(caught.value))
    assert said[0] == said[1]
    assert ": expected" in said[0]


def test_parameters_of_another_dtype_are_refused():
    given = _wrong("forward")
    given["weights"] = [w.astype("float32") for w in given["weights"]]
    for backend in (kernels, reference):
        with pytest.raises(TypeError, match="weights: expected arrays of float64"):
            backend.forward(**given)
