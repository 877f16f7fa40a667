"""Lists of non-zeros: what the kernels list, and that going by lists changes no bit."""

import numpy as np
import pytest

from fastmlp import MLP
from fastmlp.contract import splitting
from fastmlp.contract.parameters import row_length
from fastmlp.kernels.jit.registry import launch
from fastmlp.kernels.run import csr_index as index
from fastmlp.kernels.run import inference


def _sparse_rows(rng, n, d, dtype):
    X = (rng.random((n, d)) < 0.2) * rng.integers(1, 200, (n, d))
    if n > 2:
        X[1], X[2] = 0, 7  # nothing, and everything
    return np.ascontiguousarray(X.astype(dtype))


def _expected(X, block):
    """Columns, values and cuts, by NumPy."""
    rows, columns = np.nonzero(X)
    edges = [*range(0, X.shape[1], block), X.shape[1]]
    cuts = np.stack([(X[:, :edge] != 0).sum(axis=1) for edge in edges], axis=1)
    return columns, X[rows, columns], cuts


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
@pytest.mark.parametrize("d", [16, 17, 31, 33, 100, 784])
@pytest.mark.parametrize("n", [1, 5, 40])
def test_an_index_lists_what_numpy_finds(dtype, d, n):
    X = _sparse_rows(np.random.default_rng(d + n), n, d, dtype)
    lists = index.make_index(X, 1024, np.dtype("float64"), None)
    columns, values, cuts = _expected(X, lists.block)
    np.testing.assert_array_equal(lists.columns, columns)
    listed = lists.table[lists.values] if lists.table.size else lists.values
    np.testing.assert_array_equal(listed, values.astype(float))
    np.testing.assert_array_equal(lists.cuts, cuts)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_listed_as_they_go_by_stay_in_their_room(dtype):
    X = _sparse_rows(np.random.default_rng(0), 6, 50, dtype)
    X[5] = 3.0  # the last row fills its room to the end
    X[3, 49] = np.nan
    room = index.room_for_lists(6, 50, 64, X.dtype)
    guarded = np.full(room.columns.size + 64, 9, np.uint16)
    stage, order = (
        np.zeros((16, row_length(50, X.itemsize)), dtype),
        np.array([4, 1, 3, 0, 2, 5], np.int64),
    )
    launch(
        f"list_rows_{ {'float32': 'f32', 'float64': 'f64'}[dtype] }", dtype,
        columns=guarded.ctypes.data, values=room.values.ctypes.data, cuts=room.cuts.ctypes.data,
        starts=room.starts.ctypes.data, stage=stage.ctypes.data, ld_stage=stage.strides[0],
        block=room.block, n_cuts=room.cuts.shape[1], x=X.ctypes.data, ldx=X.strides[0],
        order=order.ctypes.data, n=50, rows=6, scale=0,
    )  # fmt: skip
    for r, x in enumerate(X[order]):
        columns = np.flatnonzero(x)
        here = slice(50 * r, 50 * r + len(columns))
        assert room.cuts[r, -1] == len(columns)
        np.testing.assert_array_equal(guarded[here], columns)
        np.testing.assert_array_equal(room.values[here], x[columns])
    assert (guarded[300:] == 9).all()


@pytest.mark.parametrize("n_in", [37, 100])
@pytest.mark.parametrize(
    ("given", "dtype", "scale"),
    [
        ("uint8", "float32", 255), ("float32", "float32", None), ("float64", "float32", 3),
        ("float64", "float64", None), ("float32", "float64", 255),
    ],
)  # fmt: skip
def test_outputs_over_lists_are_those_of_the_dense_tile(given, dtype, scale, n_in, monkeypatch):
    rng = np.random.default_rng(n_in)
    X = _sparse_rows(rng, 333, n_in, given)
    net = MLP((n_in, 150, 20, 4), dtype=dtype, input_scale=scale, rng=0)
    used = []
    room = inference.room_for_lists
    monkeypatch.setattr(inference, "room_for_lists", lambda *a: used.append(a) or room(*a))
    by_lists = [net.predict_proba(X) for net.threads in (1, 2)]
    assert used
    loss = net.evaluate(X, np.arange(333) % 4)
    monkeypatch.setattr(splitting, "_DENSITY", -1.0)
    dense = net.predict_proba(X)
    for outputs in by_lists:
        np.testing.assert_array_equal(outputs, dense)
    np.testing.assert_equal(net.evaluate(X, np.arange(333) % 4), loss)


def test_a_zero_times_an_infinite_weight_is_nan_over_lists_too():
    X = _sparse_rows(np.random.default_rng(1), 100, 64, "float32")
    net = MLP((64, 60, 3), rng=0)
    net.weights[0][5, 7] = np.inf
    finite = np.isfinite(net.predict_proba(X)).all(axis=1)
    assert not finite[X[:, 5] == 0].any()


@pytest.mark.parametrize("batch_size", [1, 13, None])
@pytest.mark.parametrize("dtype", ["bool", "int16", "uint8", "int64", "float32"])
def test_a_sparse_matrix_may_hold_numbers_of_any_kind(dtype, batch_size):
    sparse = pytest.importorskip("scipy.sparse")
    X, y = _sparse_rows(np.random.default_rng(2), 40, 33, dtype), np.arange(40) % 3
    nets = [MLP((33, 20, 3), rng=0) for _ in range(2)]
    for net, kind in zip(nets, (dtype, "float64"), strict=True):
        given = sparse.csr_array(X.astype(kind))
        net.fit(given, y, epochs=2, batch_size=batch_size, optimizer="sgd")
        net.evaluate(given, y), net.loss_and_gradients(given, y)
    for ours, theirs in zip(nets[0].weights, nets[1].weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("fields", [("dst", "src"), ("dst", "src", "vectors", "pieces", "far")])
def test_a_kernel_is_called_with_all_its_fields(fields):
    with pytest.raises(TypeError, match=r"add: expected the fields \('dst', 'src', .*got \('dst'"):
        launch("add", "float32", **dict.fromkeys(fields, 0))
