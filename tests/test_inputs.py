"""Inputs of every type and layout that hold the same small integers: the same answers."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from fits import parameters, same

from fastmlp import MLP, Adam
from fastmlp.verification import TOLERANCE, difference

FLOATS = ("float16", "float32", "float64")
INTEGERS = tuple(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))


def variants(tmp_path):
    """Yield (name, X, values) where X holds `values` in one way or another."""
    rng = np.random.default_rng(0)
    values = rng.integers(0, 100, (23, 9)) * (rng.random((23, 9)) < 0.5)
    for dtype in (*FLOATS, *INTEGERS, ">f4", ">i2", "longdouble"):
        yield dtype, values.astype(dtype), values
    yield "bool", values > 50, values > 50
    signed = np.where(values % 2, -values, values)
    yield "negative int8", signed.astype("int8"), signed
    X = values.astype("float64")
    yield "fortran", np.asfortranarray(X), values
    wide = np.zeros((46, 27))
    wide[::2, ::3] = X
    yield "strided", wide[::2, ::3], values
    yield "rows apart", np.repeat(values.astype("uint8"), 3, axis=0)[::3], values
    yield "backwards", X[::-1, ::-1].copy()[::-1, ::-1], values
    yield "columns of a wider one", np.hstack([X, X])[:, 9:].astype("uint8"), values
    frozen = X.astype("float32")
    frozen.flags.writeable = False
    yield "read-only", frozen, values
    mapped = np.memmap(tmp_path / "X", "uint8", "w+", shape=X.shape)
    mapped[:] = values
    mapped.flush()
    yield "memory-mapped", np.memmap(tmp_path / "X", "uint8", "r", shape=X.shape), values
    yield "lists", values.tolist(), values
    yield "matrix", X.view(np.matrix), values
    raw = np.zeros(X.nbytes + 1, "uint8")[1:].view("float64").reshape(X.shape)
    raw[:] = X
    yield "unaligned", raw, values
    columns = [f"c{i}" for i in range(9)]
    for name in ("pandas", "polars"):
        try:
            library = pytest.importorskip(name)
        except pytest.skip.Exception:
            continue
        data = {c: X[:, i].astype("float32" if i % 2 else "int16") for i, c in enumerate(columns)}
        yield name, library.DataFrame(data), values
    sparse = pytest.importorskip("scipy.sparse")
    for kind in (sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array, sparse.csc_array):
        yield kind.__name__, kind(X.astype("float32")), values


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_any_type_and_layout_is_read_alike_and_left_alone(backend, dtype, tmp_path):
    y = np.arange(23) % 3
    for name, X, values in variants(tmp_path):
        nets = [MLP((9, 5, 3), rng=1, backend=backend, dtype=dtype) for _ in range(2)]
        before = pickle.dumps(X)
        results = []
        for net, data in zip(nets, (X, values.astype("float64")), strict=True):
            loss, g = net.loss_and_gradients(data, y)
            scores, answer = net.evaluate(data, y), net.predict_proba(data)
            history = net.fit(
                data, y, epochs=2, batch_size=10, validation_split=0.2, optimizer=Adam(0.01)
            )
            results.append(
                [np.array([loss, *scores.values(), *history.loss, *history.val_loss]), answer,
                 *g.weights, *parameters(net)]
            )  # fmt: skip
        assert difference(*results) <= 5 * TOLERANCE[dtype], name
        assert pickle.dumps(X) == before, name


@pytest.mark.parametrize("scale", [255.0, 3.0, 0.1, 7.3, 1e-3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_input_scale_gives_the_values_of_x_over_it(backend, dtype, scale):
    rng = np.random.default_rng(0)
    kinds = {"uint8": np.arange(256).reshape(32, 8), "bool": rng.random((32, 8)) > 0.5}
    kinds |= {name: rng.integers(0, 120, (32, 8)) for name in INTEGERS[:-1]}
    kinds |= {name: rng.normal(size=(32, 8)) for name in FLOATS}
    for name, values in kinds.items():
        X = values.astype(name)
        net = MLP((8, 8), output="identity", dtype=dtype, backend=backend, input_scale=scale)
        net.weights[0] = np.eye(8)
        with np.errstate(over="ignore"):
            wanted = (X / scale).astype(dtype)
        np.testing.assert_array_equal(net.predict(X), wanted, err_msg=name)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batch_size", [1, 16, None])
@pytest.mark.parametrize("density", [0.1, 1.0])
def test_training_sees_the_same_scaled_values(backend, dtype, batch_size, density):
    rng = np.random.default_rng(0)
    X = (rng.integers(0, 256, (600, 40)) * (rng.random((600, 40)) < density)).astype("uint8")
    y, made = rng.integers(0, 3, 600), []
    for data, scale in ((X, 255.0), (X / 255.0, None)):
        net = MLP((40, 6, 3), rng=1, dtype=dtype, backend=backend, input_scale=scale)
        net.fit(data, y, epochs=1, batch_size=batch_size)
        made.append(parameters(net))
    assert same(*made)


REJECTED = [
    (np.array([[1.0, np.nan, 0.0]]), ValueError, "row 0, column 1"),
    (np.array([[1.0, 2.0, 0.0], [0.0, 0.0, -np.inf]], "float16"), ValueError, "row 1, column 2"),
    (np.zeros((2, 4)), ValueError, "3 features, got 4"),
    (np.zeros(3), ValueError, "n_samples, n_features"),
    (np.zeros((1, 3, 1)), ValueError, "n_samples, n_features"),
    (5, ValueError, "n_samples, n_features"),
    ([[1, 2, 3], [1, 2]], ValueError, "rectangular"),
    ([["a", "b", "c"]], TypeError, "real numbers"),
    (np.zeros((1, 3), complex), TypeError, "real numbers"),
    (np.zeros((1, 3), "M8[s]"), TypeError, "real numbers"),
    (np.array([[1, None, 2]]), ValueError, "finite"),
    (np.array([[1, {}, 2]]), TypeError, "real numbers"),
    (np.ma.masked_greater([[1.0, 5.0, 3.0]], 4.0), ValueError, "no masked elements, got 1"),
]


def assert_refused(net, X, y, error, message):
    """Assert that nothing can be done with X."""
    for ask in (net.forward, net.predict, net.predict_proba):
        with pytest.raises(error, match=message):
            ask(X)
    for ask in (net.evaluate, net.loss_and_gradients, net.fit):
        with pytest.raises(error, match=message):
            ask(X, y)


@pytest.mark.parametrize(("X", "error", "message"), REJECTED)
def test_what_is_no_table_of_finite_numbers_is_rejected(backend, X, error, message):
    net = MLP((3, 4, 2), rng=0, backend=backend)
    y = np.zeros(len(X) if hasattr(X, "__len__") else 1, int)
    assert_refused(net, X, y, error, f"X: .*{message}")


@pytest.mark.parametrize("dtype", ["float64", "longdouble"])
@pytest.mark.parametrize("rows", [1, 3, 5000])
def test_a_number_beyond_the_network_s_dtype_is_rejected(backend, dtype, rows):
    net = MLP((3, 4, 2), rng=0, backend=backend)
    X, y = np.ones((rows, 3), dtype), np.zeros(rows, int)
    X[-1, 1] = -1e39
    message = rf"X: expected numbers that float32 can hold, got -1e\+39 in row {rows - 1}, column 1"
    for layout in (X, np.asfortranarray(X), X.repeat(2, 1)[:, ::2]):
        assert_refused(net, layout, y, ValueError, f"^{message}$")
    with pytest.raises(ValueError, match=f"^validation_data: {message}$"):
        net.fit(np.ones((4, 3)), np.zeros(4, int), validation_data=(X, y))
    scaled = MLP((3, 4, 2), rng=0, backend=backend, input_scale=2.0)
    with pytest.raises(ValueError, match=r"got -1e\+39, divided by 2, in row"):
        scaled.predict(X)
    X[-1, 0] = np.nan
    with pytest.raises(ValueError, match=f"got nan in row {rows - 1}, column 0"):
        net.predict(X)


def test_the_largest_numbers_of_the_network_s_dtype_are_read(backend):
    largest = float(np.finfo("float32").max)
    X = np.full((40, 3), -largest)
    X[::2] = largest * (1 + 2.0**-26)  # rounds to it
    for scale in (None, 1e100):
        net = MLP((3, 3), output="identity", backend=backend, input_scale=scale)
        net.weights[0] = np.eye(3)
        np.testing.assert_array_equal(net.predict(X * (scale or 1)), X.astype("float32"))
    wide = MLP((3, 3), output="identity", backend=backend, dtype="float64")
    assert np.isfinite(wide.predict(X * 1e200)).all()


def test_targets_beyond_the_network_s_dtype_are_rejected(backend):
    net = MLP((3, 2), output="identity", rng=0, backend=backend)
    message = r"^y: expected numbers that float32 can hold, got 1e\+300 in row 1, column 0$"
    for ask in (net.fit, net.evaluate):
        with pytest.raises(ValueError, match=message):
            ask(np.eye(3), np.array([[0, 0], [1e300, 0], [0, 0]]))


class Tensor:
    """One of a library that does not hand out its numbers."""

    def __init__(self, length):
        self._length = length

    def __len__(self):
        return self._length

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("use tensor.detach().numpy() instead")


def test_whatever_is_no_plain_array_is_read_or_named(backend):
    net = MLP((3, 4, 2), rng=0, backend=backend)
    X, y = np.eye(3), np.array([0, 1, 1])
    for wrong in ({"X": Tensor(3), "y": y}, {"X": X, "y": Tensor(3)}):
        name = "X" if wrong["y"] is y else "y"
        with pytest.raises(TypeError, match=rf"^{name}: .* \(use tensor\.detach"):
            net.evaluate(**wrong)
    hidden = np.ma.masked_equal(y, 0)
    for wrong in ({"y": hidden}, {"y": y, "sample_weight": hidden}):
        name = [*wrong][-1]
        with pytest.raises(ValueError, match=f"^{name}: expected no masked elements, got 1"):
            net.fit(X, **wrong)
    masked = np.ma.masked_array(X)  # which hides nothing
    assert net.evaluate(masked, np.ma.masked_array(y)) == net.evaluate(X, y)
    arrow = pytest.importorskip("pyarrow")
    assert net.evaluate(X, arrow.array(y)) == net.evaluate(X, y)
    with pytest.raises(ValueError, match="y: expected class labels, got NaN in row 1"):
        net.evaluate(X, arrow.array([0, None, 1]))


@pytest.mark.parametrize("batch_size", [1, 4, None])
@pytest.mark.parametrize("weight", [1e-31, 1e-39, 1e-60])
def test_a_weight_that_float32_would_lose_counts_as_none(backend, batch_size, weight):
    rng = np.random.default_rng(0)
    X, y, nets = rng.normal(size=(40, 3)), rng.integers(0, 2, 40), []
    for small in (weight, 0.0):
        weights = np.ones(40)
        weights[8:20] = small
        net = MLP((3, 4, 2), rng=0, backend=backend)
        net.fit(X, y, epochs=2, batch_size=batch_size, shuffle=False, sample_weight=weights)
        assert weights[8] == small
        nets.append(net)
    assert same(*(parameters(net) for net in nets))
    assert nets[0].history.loss == nets[1].history.loss
    for wrong, said in ((1e-60, "at least one weight above 0; less"), (1e31, r"at most 1e\+30")):
        with pytest.raises(ValueError, match=f"^sample_weight: expected {said}"):
            net.fit(X, y, sample_weight=np.full(40, wrong))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["1", "2", "3"], "real numbers, got dtype <U1"),
        (np.full(3, np.datetime64("2024-01-01")), "real numbers, got dtype datetime64"),
        (np.full(3, np.timedelta64(1, "s")), "real numbers, got dtype timedelta64"),
        ([1.0, None, 2.0], r"finite numbers of at least 0, got nan in row 1 \(a missing value\)"),
        ([1.0, 2.0, -3.0], r"finite numbers of at least 0, got -3.0 in row 2$"),
        (2.0, r"shape \(3,\), got \(\)"),
    ],
)
def test_a_refused_sample_weight_is_shown(wrong, said):
    net = MLP((2, 2), rng=0, backend="numpy")
    with pytest.raises((TypeError, ValueError), match=f"^sample_weight: expected {said}"):
        net.fit(np.eye(3, 2), [0, 1, 1], sample_weight=wrong)


def test_weights_that_leave_float32_together_are_refused():
    net = MLP((2, 2), rng=0, backend="numpy")
    X, y = np.eye(2), [0, 1]
    with pytest.raises(ValueError, match=r"^class_weight\[0\]: expected a number at most 1e\+30"):
        net.fit(X, y, class_weight={0: 1e31})
    with pytest.raises(ValueError, match=r"^class_weight: expected at most 1e\+30 times sample_we"):
        net.fit(X, y, class_weight={0: 1e20}, sample_weight=[1e20, 1.0])
    with pytest.raises(ValueError, match=r"^class_weight: expected a dict, 'balanced' or None"):
        net.fit(X, y, class_weight="auto")


def test_probabilities_may_be_of_float16():
    net = MLP((2, 3), rng=0, backend="numpy")
    rows = np.full((2, 3), 1 / 3, np.float16)
    whole = net.evaluate(
        np.eye(2), rows.astype(np.float64) / rows.sum(1, dtype=np.float64)[:, None]
    )
    assert net.evaluate(np.eye(2), rows)["loss"] == pytest.approx(whole["loss"], rel=1e-3)
    with pytest.raises(ValueError, match=r"^y: .*, got a sum of 0\.999\d+ in row 0"):
        net.evaluate(np.eye(2), rows.astype(np.float32))


def test_classes_that_have_names_get_a_hint():
    net = MLP((2, 2), rng=0, backend="numpy")
    for y in (["a", "b"], np.array(["a", "b"], object)):
        with pytest.raises(TypeError, match=r"^y: expected real numbers, .*; np\.unique\(y, "):
            net.fit(np.eye(2), y)
    with pytest.raises(TypeError, match=r"^y: expected real numbers, got dtype complex128$"):
        net.fit(np.eye(2), [1j, 0])


def test_sparse_matrices_are_checked_too(backend):
    sparse = pytest.importorskip("scipy.sparse")
    net = MLP((3, 4, 2), rng=0, backend=backend)
    bad = sparse.csr_matrix(np.array([[0.0, np.inf, 0.0]]))
    with pytest.raises(ValueError, match="X: expected finite numbers, got inf"):
        net.predict(bad)
    wrong = np.zeros((4, 3))
    wrong[0, 0], wrong[2, 1] = 1.0, 1e300
    for layout in (sparse.csr_matrix, sparse.csc_matrix):
        said = r"X: expected numbers that float32 .* got 1e\+300 in row 2, column 1$"
        with pytest.raises(ValueError, match=said):
            net.predict(layout(wrong))
    for name in ("coo", "lil", "dok", "bsr", "dia"):
        with pytest.raises(TypeError, match=f"X: expected CSR or CSC.* got {name}"):
            net.predict(sparse.eye(3).asformat(name))
    with pytest.raises(TypeError, match="X: expected real numbers"):
        net.predict(sparse.csr_matrix(np.eye(3) * 1j))
