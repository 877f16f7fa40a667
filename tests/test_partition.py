"""Work is shared out whole, evenly, and to the same bits; what is idle is left alone."""

from __future__ import annotations

import numpy as np
import pytest
from fastmlp.kernels.shares import _STEP as STEP
from fastmlp.kernels.shares import _block_costs, _filled_up, first_rows
from fastmlp.kernels.tables import (
    BLOCK,
    BLOCKS,
    MR,
    N_IN,
    S_COUNTS,
    S_LD_COUNTS,
    S_LISTS,
    S_PORTION,
    S_ROWS,
    SETTINGS,
    VECTORS_OUT,
)
from fastmlp.kernels.workspace import Layer, layout

from fastmlp import MLP, SGD, Adam
from fastmlp.architecture import Architecture
from fastmlp.kernels import lists, training
from fastmlp.kernels.run.csr_index import make_index
from fastmlp.kernels.run.packed_weights import panel_count
from fastmlp.parameters import Parameters

SIZES = [
    (784, 200, 100, 50, 10),
    (784, 100, 10),
    (50, 100, 1),
    (300, 5),
    (17, 16, 16, 16, 2),
    (3, 1),
]


def layers_of(sizes, dtype="float32"):
    parameters = Parameters(Architecture(sizes, dtype=dtype))
    return layout(parameters), parameters


def mostly_zeros(n: int, d: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d), np.float32)
    return np.where(rng.random((n, d)) < np.linspace(0, 0.5, d), X, np.float32(0))


@pytest.mark.parametrize("threads", [1, 2, 3, 8, 40])
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("lists", [False, True])
def test_every_row_is_one_threads_own(sizes, threads, lists):
    layers, _held = layers_of(sizes)
    index, panels = None, 0
    if lists:
        panels = panel_count(int(layers[0, VECTORS_OUT]), threads)
        index = make_index(mostly_zeros(200, sizes[0]), 256, np.dtype("float32"), None)
    bounds = first_rows(layers, threads, 64, index, panels).reshape(len(layers) + 1, -1)
    assert bounds.shape[1] == threads + 1
    assert (bounds[:, 0] == 0).all()
    assert (np.diff(bounds) >= 0).all()
    assert not (bounds[1:] % BLOCK).any()
    assert bounds[0, -1] == (len(index.per_block) if lists else 0)
    first = 1 if panels >= threads else 0  # panels that nobody shares are not cut
    assert (bounds[1 + first :, -1] == layers[first:, BLOCKS] * BLOCK).all()


@pytest.mark.parametrize("sizes", [s for s in SIZES if len(s) > 2])
@pytest.mark.parametrize("threads", [2, 3])
def test_threads_have_equally_much_to_do(sizes, threads):
    layers, _held = layers_of(sizes)
    bounds = first_rows(layers, threads, 64).reshape(len(layers) + 1, -1)
    vectors, rows = layers[:, VECTORS_OUT], np.diff(np.minimum(bounds[1:], layers[:, [N_IN]]))
    work = (rows * vectors[:, None]).sum(axis=0)
    assert work.max() - work.mean() <= BLOCK * vectors.max()


@pytest.mark.parametrize("sizes", [(784, 200, 100, 50, 10), (784, 400, 300, 10), (50, 200, 90, 1)])
@pytest.mark.parametrize(("threads", "panels"), [(2, 2), (2, 4), (3, 3), (3, 6)])
def test_panels_over_lists_count_as_work(sizes, threads, panels):
    """By their vectors and the non-zeros; the other layers make up for what is uneven."""
    layers, _held = layers_of(sizes)
    X, samples = mostly_zeros(500, sizes[0]), 64
    index = make_index(X, 448, np.dtype("float32"), None)
    vectors = layers[:, VECTORS_OUT]
    bounds = first_rows(layers, threads, samples, index, panels).reshape(len(layers) + 1, -1)
    assert not bounds[1].any()  # of which nobody has a row of his own
    ends = vectors[0] * (panels * np.arange(threads + 1) // threads) // panels
    density = np.count_nonzero(X) / X.size
    work = np.diff(ends) * whole_tiles(sizes[0]) * (samples * density + STEP)
    for layer, n_in in enumerate(sizes[1:-1], 1):
        rows = np.diff(np.minimum(bounds[1 + layer], whole_tiles(n_in)))
        work = work + rows * vectors[layer] * (samples + STEP)
    assert work.max() - work.mean() <= BLOCK * vectors[1:].max() * (samples + STEP)


def whole_tiles(rows: int) -> int:
    return -(-rows // MR) * MR


@pytest.mark.parametrize("n_in", [1, 15, 16, 17, 50, 784])
def test_a_block_costs_its_rows_in_whole_tiles(n_in):
    layers, _held = layers_of((n_in, 100, 10))
    costs = _block_costs(layers[0], 20)
    rows = np.minimum(whole_tiles(n_in) - BLOCK * np.arange(-(-n_in // BLOCK)), BLOCK)
    assert np.array_equal(costs, rows * layers[0, VECTORS_OUT] * (20.0 + STEP))


def test_who_has_most_gets_nothing_more():
    assert np.array_equal(_filled_up(np.array([1.0, 9.0, 3.0]), 4.0), [3.0, 0.0, 1.0])
    assert np.array_equal(_filled_up(np.zeros(4), 2.0), np.full(4, 0.5))


def test_who_has_the_smaller_panel_has_more_of_the_rest():
    layers, _held = layers_of((784, 200, 100, 10))
    index = make_index(mostly_zeros(500, 784), 448, np.dtype("float32"), None)
    assert layers[0, VECTORS_OUT] % 2 == 1
    bounds = first_rows(layers, 2, 64, index, 2).reshape(len(layers) + 1, -1)
    first, second = np.diff(bounds[2])
    assert first > second


@pytest.mark.parametrize("optimizer", [SGD(0.1), SGD(0.05, momentum=0.9), Adam(0.01)], ids=repr)
@pytest.mark.parametrize("settings", [{}, {"l2": 1e-3}, {"clip_norm": 0.5}], ids=repr)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_portions_of_a_batch_leave_no_trace(optimizer, settings, dtype, monkeypatch):
    """Threads, and with them the width of panels, decide how many a batch of 400 is taken in."""
    X = mostly_zeros(900, 96)
    y = np.random.default_rng(1).integers(0, 3, 900)
    seen = set()

    class Watched(training.Training):
        def _run(self, *arguments):
            seen.add(-(-self.chunk // self._panels.portion))
            super()._run(*arguments)

    def fitted(backend, threads):
        net = MLP((96, 320, 3), dtype=dtype, rng=0, backend=backend, threads=threads)
        net.fit(X, y, epochs=2, batch_size=400, optimizer=optimizer, **settings)
        return net._parameters.flat.copy()

    expected = fitted("numpy", None)
    monkeypatch.setattr(training, "Training", Watched)
    found = [fitted("numba", threads) for threads in (1, 2, 3, 8, 12)]
    assert len(seen) > 1
    assert max(seen) > 2
    for flat in found:
        assert np.array_equal(flat, found[0])
    if dtype == "float64":  # in float32 Adam makes steps of what rounding leaves of a gradient
        assert np.allclose(found[0], expected, rtol=1e-9, atol=1e-12)


def test_features_that_no_sample_has_keep_their_weights():
    """With plain steps to the last bit, the sign of a zero too; not under a penalty."""
    X = mostly_zeros(256, 64)
    X[:, 10:20] = 0
    y = np.random.default_rng(1).integers(0, 3, 256)
    for l2 in (0.0, 0.1):
        net = MLP((64, 48, 3), rng=0)
        W = net.weights[0].copy()
        W[10] = -0.0
        net.weights = [W, *net.weights[1:]]
        net.fit(X, y, epochs=2, batch_size=32, optimizer=SGD(0.1), l2=l2)
        after = net.weights[0]
        assert not np.array_equal(after[:10], W[:10])
        assert (after[11:20].tobytes() == W[11:20].tobytes()) == (l2 == 0)
        assert np.signbit(after[10]).all()


def test_rows_over_lists_are_cut_evenly():
    widths = [lists.sparse_panel.py_func(vectors) for vectors in range(1, 26)]
    assert widths == [*range(1, 9), 5, 5, 6, 6, 7, 7, 8, 8, 6, 6, 7, 7, 7, 8, 8, 8, 7]


@pytest.mark.parametrize(
    ("position", "n", "following"), [(0, 16, 8), (0, 15, 0), (8, 24, 16), (8, 20, 8), (16, 24, 16)]
)
def test_portions_are_listed_behind_each_other(monkeypatch, position, n, following):
    """And the lists of the next batch are asked for, if it has as many samples."""
    S, q, calls = np.zeros(SETTINGS, np.int64), np.zeros(Layer.COLUMNS, np.int64), []
    S[S_LISTS], S[S_ROWS], S[S_PORTION] = 1, 10_000, 3
    S[S_COUNTS], S[S_LD_COUNTS] = 500, 40
    monkeypatch.setattr(lists, "own_panels", lambda *_: (0, 0, 0, 1))
    monkeypatch.setattr(lists, "share", lambda n, t, threads: n * t // threads)
    monkeypatch.setattr(lists, "call", lambda kernel, arguments: calls.append(arguments))
    lists.forward_panels.py_func(np.zeros(999), S, q, [0, 2], position, 8, n, 0, 1)
    found = [(a[0], a[1], a[5], a[6], a[15], a[18]) for a in calls]
    assert found == [
        (500 + 40 * (r // 3 + 1), 500 + 40 * (r // 3), r, 10_000 + 8 * (position + r),
         min(3, 8 - r), 10_000 + 8 * (following + r))
        for r in (0, 3, 6)
    ]  # fmt: skip
