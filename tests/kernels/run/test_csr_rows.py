"""Rows of a sparse matrix read as they lie: any number of columns, indices of any width."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse

from fastmlp import MLP, SGD, Adam, kernels, reference
from fastmlp.architecture import Architecture
from fastmlp.contract.operations import DataSet, StepSettings
from fastmlp.contract.parameters import Parameters
from fastmlp.kernels.emit.optimizers import HYPER_ROW, hyperparameters
from fastmlp.kernels.run import choose
from fastmlp.kernels.run.csr_index import canonical, csr_lists
from fastmlp.kernels.run.training import Training
from fastmlp.optimizers import Optimizer, OptimizerState
from fastmlp.verification import TOLERANCE, difference

WIDE = 70_000  # more than 16 bits number
SCATTERED = 3_000


def matrix(n_in: int, rows: int = 300, each: int = 5, dtype: str = "float32"):
    """Return CSR with about `each` non-zeros a row, some rows empty, the last column used."""
    rng = np.random.default_rng(n_in)
    X = scipy.sparse.random(rows, n_in, each / n_in, "lil", dtype=np.float64, random_state=1)
    X[[0, rows // 2], n_in - 1] = 0.5
    X[3] = 0
    X = X.tocsr().astype(dtype)
    X.data[:] = rng.standard_normal(X.nnz)
    return X


def sums_over(X, y, threads: int) -> Training:
    """Return a training that has summed the gradient of all rows."""
    parameters = Parameters(Architecture((X.shape[1], 100, 3), dtype="float64"))
    for w in parameters.weights:
        w[...] = np.random.default_rng(0).normal(size=w.shape)
    settings = StepSettings(None, OptimizerState(), len(y))
    training = Training(parameters, DataSet(X, y, None), settings, threads=threads)
    rows = np.empty((1, 2, HYPER_ROW), parameters.dtype)
    hyper = hyperparameters(Optimizer(0.0), np.zeros(1), np.ones(1), 0.0, 0, rows)
    training.steps(np.arange(len(y)), hyper)
    return training


def test_which_matrices_are_read_as_they_lie():
    assert choose.rows_pay(10, WIDE, 10 * WIDE)
    assert choose.rows_pay(10, 65_536, 0)
    assert choose.rows_pay(10, SCATTERED, 20)
    assert not choose.rows_pay(10, SCATTERED, 40)


@pytest.mark.parametrize(
    ("each", "as_rows", "groups"), [(2, True, 1), (14, True, 2), (100, False, 5)]
)
def test_sums_over_sparse_rows_take_blocks_and_groups_where_they_pay(each, as_rows, groups):
    X, y = matrix(200, each=each), np.zeros(300, np.int64)
    training = sums_over(X, y, threads=1)
    assert (training._index.described().kind == "csr") == as_rows
    assert training._groups == groups
    for threads in (2, 3):
        other = sums_over(X, y, threads=threads)
        np.testing.assert_array_equal(other.gradient, training.gradient)


@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_indices_of_32_bits_are_kept(index):
    X = canonical(matrix(SCATTERED))
    X.indices, X.indptr = X.indices.astype(index), X.indptr.astype(index)
    lists = csr_lists(X, np.dtype("float32"), None)
    assert (lists.columns is X.indices) == (index is np.int32)
    assert lists.columns.dtype == np.int32
    assert lists.starts.dtype == np.int64
    assert lists.values is X.data


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("hidden", [3, 40, 150])
@pytest.mark.parametrize("n_in", [SCATTERED, pytest.param(WIDE, marks=pytest.mark.slow)])
def test_outputs_are_those_of_dense_rows(n_in, hidden, dtype):
    X = matrix(n_in, dtype=dtype)
    net = MLP((n_in, hidden, 3), rng=0, dtype=dtype)
    dense = net.predict_proba(X[:60].toarray())
    for rows in (1, 4, 60):
        assert difference([net.predict_proba(X[:rows])], [dense[:rows]]) < TOLERANCE[dtype]
    wide = X.copy()
    wide.indices, wide.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    assert (net.predict_proba(wide) == net.predict_proba(X)).all()
    flipped = X[:, ::-1][:, ::-1]  # columns of a row out of order
    assert (net.predict_proba(flipped.tocsc()) == net.predict_proba(X)).all()
    integers = X.astype(np.int16)
    expected = net.predict_proba(integers[:60].toarray().astype(dtype))
    assert difference([net.predict_proba(integers[:60])], [expected]) < TOLERANCE[dtype]


MODES = {
    "mini-batch": {"batch_size": 32, "optimizer": Adam()},
    "chunks": {"batch_size": 290, "optimizer": Adam(), "l2": 1e-3},
    "full batch": {"batch_size": None, "optimizer": SGD(0.1)},
    "one sample": {"batch_size": 1, "optimizer": SGD(0.05)},
    "one sample, penalty": {"batch_size": 1, "optimizer": SGD(0.05), "l2": 1e-3},
}


def trained(X, n_in: int, hidden: int, options, **settings) -> list[np.ndarray]:
    y = np.random.default_rng(0).integers(0, 3, X.shape[0])
    net = MLP((n_in, hidden, 3), activation="tanh", rng=0, **settings)
    net.fit(X, y, epochs=2, progress=False, **options)
    return [*net.weights, *net.biases]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("hidden", [3, 40])
def test_training_is_the_references(hidden, mode):
    X = matrix(SCATTERED, dtype="float64")
    ours = trained(X, SCATTERED, hidden, MODES[mode], dtype="float64")
    expected = trained(X, SCATTERED, hidden, MODES[mode], dtype="float64", backend="numpy")
    assert difference(ours, expected) < 1e-10


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("hidden", [3, pytest.param(40, marks=pytest.mark.slow)])
def test_threads_leave_the_same_bits(hidden, mode, monkeypatch):
    monkeypatch.setattr("fastmlp.kernels.jit.threading_layer.thread_limit", lambda: 2)
    X = matrix(WIDE)
    first, *others = (trained(X, WIDE, hidden, MODES[mode], threads=t) for t in (1, 2, 3))
    for other in others:
        assert all((a == b).all() for a, b in zip(first, other, strict=True))
    smaller = trained(X, WIDE, hidden, {"batch_size": 7})
    assert any((a != b).any() for a, b in zip(first, smaller, strict=True))


@pytest.mark.parametrize(("n_in", "each"), [(SCATTERED, 5), (200, 14)], ids=["one", "two groups"])
def test_a_loss_and_its_gradient_are_the_references(n_in, each):
    X, y = matrix(n_in, each=each, dtype="float64"), np.arange(300) % 3
    ours, expected = (
        MLP((n_in, 20, 3), rng=0, dtype="float64", backend=backend).loss_and_gradients(X, y)
        for backend in ("numba", "numpy")
    )
    assert abs(ours[0] - expected[0]) < 1e-12
    assert difference(ours[1].weights, expected[1].weights) < 1e-12


@pytest.mark.slow
def test_room_is_for_the_samples_that_share_a_feature():
    """200,000 columns, a batch of 200: lists by feature would take 333 MB, if all had room."""
    import tracemalloc

    X = matrix(200_000)
    tracemalloc.start()
    trained(X, 200_000, 10, {"batch_size": 200, "optimizer": Adam()})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 400 << 20


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_sample_may_come_again_in_a_batch(dtype):
    X, architecture = matrix(WIDE), Architecture((WIDE, 40, 3), dtype=dtype)
    y, order = np.arange(300) % 3, np.arange(200) % 3
    found = []
    for backend in (kernels, reference):
        net, optimizer = MLP((WIDE, 40, 3), dtype=dtype, rng=0), SGD(0.5)
        weights, biases = list(net.weights), list(net.biases)
        state = optimizer.start([*weights, *biases])
        backend.train_epoch(
            X, y, weights, biases, architecture, optimizer, state, order=order, batch_size=100
        )
        found.append([*weights, *biases])
    assert difference(*found) <= TOLERANCE[dtype]


@pytest.mark.parametrize(("dtype", "width"), [("float32", 64), ("float64", 32)])
def test_threads_have_room_for_whole_tiles_of_few_samples(dtype, width):
    """Rows of that width fill pages: behind the room for activations the next array begins."""
    net = MLP((20, width, width, width, 3), activation="tanh", dtype=dtype, rng=0)
    for n in (2, 3, 5, 9, 19, 25, 33):
        X, y = scipy.sparse.random(n, 20, 0.3, "csr", random_state=1), np.arange(n) % 3
        net.threads = 1
        loss, gradients = net.loss_and_gradients(X, y)
        for net.threads in (2, 3, 5, 7):
            again, found = net.loss_and_gradients(X, y)
            assert again == loss
            for ours, wanted in zip(found.weights, gradients.weights, strict=True):
                np.testing.assert_array_equal(ours, wanted)
