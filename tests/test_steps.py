"""Every driver, over dense data and over lists, in pieces, on a team: the reference's numbers."""

from __future__ import annotations

import itertools
import sys

import numpy as np
import pytest
from fastmlp.kernels.decayed import DecayedTraining
from fastmlp.kernels.finish import reduce_penalties
from fastmlp.kernels.forward import Inference, SmallInference
from fastmlp.kernels.inference import infer_region
from fastmlp.kernels.tables import MR, S_LISTS, SETTINGS
from fastmlp.kernels.workspace import Layer

from fastmlp import MLP, SGD, Adam
from fastmlp.kernels import decayed, drivers, single, training
from fastmlp.kernels.run import csr_index as index
from fastmlp.optimizers import OptimizerState
from fastmlp.regularization import Regularization
from fastmlp.verification import difference

scipy_sparse = pytest.importorskip("scipy.sparse")

RNG = np.random.default_rng(0)
N = 100
LABELS = RNG.integers(0, 3, N)
FILLED = RNG.random((N, 40)) < np.linspace(0.02, 0.5, 40)
DENSE = RNG.standard_normal((N, 40))
FEW = RNG.integers(1, 5, (N, 40)) * FILLED
DATA = {
    "dense": DENSE.astype("float32"),
    "codes": FEW.astype("uint8"),
    "values": DENSE * FILLED,
    "sparse": scipy_sparse.csr_array(DENSE * FILLED),
    "converted": FEW.astype("int16"),
}
OPTIONS = {
    "plain": {},
    "weighted": {"sample_weight": RNG.random(N), "l2": 0.02},
    "l1": {"l1": 0.01},
    "clipped": {"clip_norm": 0.3, "l2": 0.05},
    "bounded": {"max_norm": 0.8},
    "everything": {"l1": 0.01, "l2": 0.02, "clip_norm": 0.2, "max_norm": 0.9, "dropout": 0.3},
}
BATCHES = dict.fromkeys(("plain", "everything"), (1, 13, 32, 33, None))
CASES = [(name, size) for name in OPTIONS for size in BATCHES.get(name, (13, 33, None))]
LAYERS = ((40, 70, 9, 3), (40, 9, 17, 3), (40, 3))


@pytest.fixture
def in_pieces(monkeypatch):
    """Large batches that are small: chunks of 32 samples, groups of blocks of 16, lists of 16."""
    monkeypatch.setattr(training, "_CHUNK", 32)
    monkeypatch.setattr(training, "_BLOCK", 16)
    monkeypatch.setattr(training, "_GROUPS", 5)
    monkeypatch.setattr(index, "_BLOCK_BYTES", 1)


def trained(X, layers, backend, threads, **options) -> list[np.ndarray]:
    """Return all that two epochs leave, and what the network then says."""
    net = MLP(
        layers, rng=1, activation="tanh", backend=backend, threads=threads, dtype="float64",
        input_scale=4.0,
    )  # fmt: skip
    if len(layers) == 2:
        options.pop("dropout", None)
    history = net.fit(X, LABELS, epochs=2, **options)
    parameters = [*net.weights, *net.biases]
    assert np.count_nonzero(net._parameters.flat) == sum(map(np.count_nonzero, parameters))
    scores = [*net.evaluate(X, LABELS).values(), *history.accuracy]
    loss, gradients = net.loss_and_gradients(X, LABELS, l2=0.1)
    numbers = [np.array([*scores, loss]), np.array(history.loss), *net.forward(X)]
    return [*parameters, *numbers, *gradients.weights, *gradients.biases]


@pytest.mark.parametrize("kind", DATA)
@pytest.mark.parametrize(("name", "batch_size"), CASES)
def test_every_driver_is_the_reference(in_pieces, monkeypatch, name, batch_size, kind):
    optimizer = SGD(0.05, momentum=0.0 if batch_size == 1 else 0.9)
    options = {**OPTIONS[name], "batch_size": batch_size, "optimizer": optimizer}
    rooms = (1,) if batch_size in (1, 13, 32) else (1 << 24, 1)  # for groups, else in chunks
    for layers, room in itertools.product(LAYERS, rooms):
        monkeypatch.setattr(training, "_GROUPS_BYTES", room)
        theirs = trained(DATA[kind], layers, "numpy", 1, **options)
        ours = trained(DATA[kind], layers, "numba", 1, **options)
        assert difference(ours, theirs) < 1e-11
        again = trained(DATA[kind], layers, "numba", 3, **options)
        assert all(a.tobytes() == b.tobytes() for a, b in zip(ours, again, strict=True))


@pytest.mark.parametrize("activation", ["gelu", "tanh"])
@pytest.mark.parametrize("kind", ["dense", "codes"])
def test_wide_layers_step_by_step_are_the_reference(kind, activation):
    """Of 38 and 9 vectors: every width that a row is cut into."""
    numbers = []
    for backend in ("numpy", "numba"):
        net = MLP((40, 300, 70, 3), activation=activation, rng=1, backend=backend, dtype="float64")
        net.fit(DATA[kind], LABELS, epochs=1, batch_size=1, optimizer=SGD(0.01))
        numbers.append([*net.weights, *net.biases])
    assert difference(*numbers) < 1e-11


@pytest.mark.parametrize("kind", ["dense", "codes"])
def test_few_rows_fill_their_outputs_and_no_more(monkeypatch, kind):
    module = sys.modules[SmallInference.__module__]
    honest, taken = module.infer_few, []

    def infer_few(K, S, layers, X, out, *more):
        room = np.full((len(out) + 8, 3), np.nan)
        honest(K, S, layers, X, room[4:-4], *more)
        assert np.isnan(room[:4]).all()
        assert np.isnan(room[-4:]).all()
        out[:] = room[4:-4]
        taken.append(len(out))

    monkeypatch.setattr(module, "infer_few", infer_few)
    net = MLP((40, 300, 70, 3), rng=1, dtype="float64", backend="numba")
    expected = net.predict_proba(DATA[kind])
    for n in (1, 2, 3, 4):
        assert difference([net.predict_proba(DATA[kind][:n])], [expected[:n]]) < 1e-14
    assert taken == [1, 2, 3, 4]


@pytest.mark.parametrize("kind", ["dense", "values"])
@pytest.mark.parametrize("batch_size", ["decayed", 1, 13, 32, N])
def test_nothing_is_noted_behind_the_last_sample(monkeypatch, kind, batch_size):
    honest, calls = training.Training._run, []

    def run(self, rows, order, hyper, *noted_and_size):
        *noted, size = noted_and_size
        room = [np.concatenate([a, np.full(32, 77, a.dtype)]) for a in noted]
        honest(self, rows, order, hyper, *(a[:-32] for a in room), size)
        for a, larger in zip(noted, room, strict=True):
            a[:] = larger[:-32]
            assert (larger[-32:] == 77).all()
        calls.append(len(rows))

    monkeypatch.setattr(training.Training, "_run", run)
    settings = {"optimizer": SGD(0.05), "state": OptimizerState()}
    make, size = DecayedTraining, 1
    settings["regularization"] = Regularization(l2=0.0 if batch_size == 1 else 0.1)
    if batch_size != "decayed":
        make, size = training.Training, batch_size
        settings |= {"batch_size": size, "threads": 1}
    parameters = MLP(LAYERS[1], rng=1, dtype="float64")._parameters
    for taken in (N, 1):
        rates = np.full(-(-taken // size), 0.05)
        make(parameters, DATA[kind], LABELS, None, **settings).train(np.arange(N)[-taken:], rates)
    assert sum(calls) == N + 1


@pytest.mark.parametrize("lists", [0, 1])
@pytest.mark.parametrize("driver", [single.single_serial, decayed.decayed_serial])
def test_the_next_list_is_asked_for_while_there_is_one(monkeypatch, driver, lists):
    module, asked, S = sys.modules[driver.__module__], [], np.zeros(SETTINGS, np.int64)
    for name in ("forward_one", "update_one", "row_forward", "sparse_forward_rows", "gather",
                 "sparse_gradient_rows", "output_delta", "call"):  # fmt: skip
        monkeypatch.setattr(module, name, lambda *arguments: None, raising=False)
    monkeypatch.setattr(module, "prefetch_list", lambda K, S, position: asked.append(position))
    S[S_LISTS], K, layers = lists, np.zeros(99, np.int64), np.zeros((8, Layer.COLUMNS), np.int64)
    driver.py_func(None, K, S, layers, None, 5, 1, 5, None, None, 1)
    assert asked == [1, 2, 3, 4] * lists


def test_each_thread_has_its_own_copy_of_what_clipping_changes(monkeypatch):
    made, begin = [], training.Training.__init__
    monkeypatch.setattr(
        training.Training, "__init__",
        lambda self, *arguments, **options: made.append(self) or begin(self, *arguments, **options),
    )  # fmt: skip
    trained(DATA["dense"], LAYERS[0], "numba", 3, batch_size=13, clip_norm=0.1)
    first, *others = made[0]._clipped
    assert len(others) == 2
    assert first.any()
    assert all(np.array_equal(first, other) for other in others)


@pytest.mark.parametrize("n", [310, 319, 320])
def test_each_thread_takes_its_own_blocks_forward(monkeypatch, n):
    X, parameters, taken = np.tile(DATA["dense"], (4, 1))[:n], MLP(LAYERS[0])._parameters, []
    for t in range(3):

        def run(drivers, threads, R, K, S, layers, n, t=t):
            infer_region(K, S, layers, n, t, threads)

        monkeypatch.setattr(sys.modules[Inference.__module__], "run", run)
        losses, _ = Inference(parameters, 3).losses(X, np.tile(LABELS, 4)[:n], None)
        taken.append(np.flatnonzero(losses).tolist())
    assert taken == [list(range(64)), list(range(64, 192)), list(range(192, n))]


@pytest.mark.parametrize("widest", [2, 3, 4])
def test_rows_are_cut_into_few_tiles_and_none_is_narrow(monkeypatch, widest):
    monkeypatch.setattr(drivers, "NV", widest)
    for vectors in range(1, 40):
        left, widths = vectors, []
        while left:
            widths.append(drivers.panel_width.py_func(left))
            left -= widths[-1]
        assert len(widths) == -(-vectors // widest)
        assert widths == sorted(widths, reverse=True)
        assert 0 < min(widths) <= max(widths) <= widest
        assert min(widths) > 1 or vectors == 1 or widest == 2


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize("rows", [1, 8, 9, 64, 100, 200])
def test_samples_are_shared_out_evenly_in_tiles(monkeypatch, rows, threads):
    taken = []
    monkeypatch.setattr(drivers, "through", lambda K, S, layers, *part: taken.append(part))
    for t in range(threads):
        drivers.samples_region.py_func(None, None, None, 500, rows, t, threads)
    positions, firsts, counts = zip(*taken, strict=True)
    assert [p - 500 for p in positions] == list(firsts) == list(np.cumsum((0, *counts))[:-1])
    assert sum(counts) == rows
    assert all(first % MR == 0 for first in firsts)
    tiles = -(-rows // MR)
    assert len(taken) == min(threads, tiles)
    assert max(counts) <= -(-tiles // threads) * MR


def test_penalties_are_added_up_in_their_order():
    """What is small is lost beside 1e17, and is not where that has gone."""
    penalty = np.zeros(3)
    reduce_penalties(np.outer([1, 1e17, -1e17, 1], [1, 2, 4, 8]).ravel(), penalty, 1)
    assert penalty.tolist() == [0, 15, 0]
    reduce_penalties(np.array([1e17, 1, -1e17, 1]), penalty, 2)
    assert penalty.tolist() == [0, 15, 0]
    reduce_penalties(np.array([1e17, -1e17, 1, 1]), penalty, 2)
    assert penalty.tolist() == [0, 15, 2]


@pytest.mark.parametrize("l2", [0.1, 8.0])
@pytest.mark.parametrize("kind", ["dense", "codes", "values", "sparse"])
def test_decayed_steps_of_scaled_inputs_are_steps(kind, l2):
    """A weak penalty, and one that leaves 0.6 of a weight in a step."""
    left, order, rates = [], np.arange(N), np.full(N, 0.05)
    for make, more in ((training.Training, {"batch_size": 1, "threads": 1}), (DecayedTraining, {})):
        parameters = MLP(LAYERS[1], rng=1, dtype="float64", input_scale=4.0)._parameters
        options = {"optimizer": SGD(0.05), "regularization": Regularization(l2=l2), **more}
        state = OptimizerState()
        result = make(parameters, DATA[kind], LABELS, None, state=state, **options).train(
            order, rates
        )
        left.append([*parameters.weights, *parameters.biases, result.losses])
        assert state.step == N
    assert difference(*left) < 1e-11


def test_decayed_steps_are_for_plain_descent_with_a_penalty_alone():
    parameters, plain = MLP(LAYERS[0])._parameters, SGD(0.1)

    def fits(kind="dense", optimizer=plain, **options) -> bool:
        regularization = Regularization(**{"l2": 0.1, **options})
        return DecayedTraining.fits(DATA[kind], parameters, optimizer, regularization)

    assert all(fits(kind) for kind in ("dense", "codes", "values", "sparse"))
    assert not fits("converted")
    assert not fits(l2=0.0)
    for other in (SGD(0.1, momentum=0.9), Adam(0.1)):
        assert not fits(optimizer=other)
    for options in ({"dropout": (0.2, 0.2)}, {"l1": 0.1}, {"clip_norm": 1.0}, {"max_norm": 1.0}):
        assert not fits(**options)


def test_decayed_steps_know_the_square_of_every_row():
    X = RNG.standard_normal((2500, 7)) * (RNG.random((2500, 7)) < 0.5)
    X[-20:] = 0
    expected = (X**2).sum(axis=1)
    for squares in (
        decayed._row_squares(X, listed=False),
        decayed._row_squares(scipy_sparse.csr_array(X), listed=True),
    ):
        np.testing.assert_allclose(squares, expected, rtol=1e-14)
