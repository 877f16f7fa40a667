"""Steps of every kind, over dense data and over lists, in pieces, shared out: the reference's
numbers, and nothing read or written that is not theirs.
"""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from fastmlp import MLP, SGD, Adam
from fastmlp.architecture import Architecture
from fastmlp.contract.parameters import Parameters
from fastmlp.kernels.emit.losses import OUTPUTS
from fastmlp.kernels.emit.optimizers import HYPER_ROW, OPTIMIZERS
from fastmlp.kernels.emit.target import current_target
from fastmlp.kernels.jit.registry import launch
from fastmlp.kernels.program import inference, minibatch, per_sample
from fastmlp.kernels.program.job import Job, Lists, Loss, Regularizing
from fastmlp.kernels.program.operation import At, Phase, Slot
from fastmlp.kernels.run import choose, csr_index, decayed, training
from fastmlp.kernels.run.decayed import DecayedTraining
from fastmlp.kernels.run.executor import Executable, serial_driver
from fastmlp.kernels.run.inference import SmallInference
from fastmlp.kernels.run.partition import row_bounds
from fastmlp.kernels.run.training import Run, Training
from fastmlp.kernels.run.workspace import Workspace
from fastmlp.optimizers import OptimizerState
from fastmlp.regularization import Regularization
from fastmlp.verification import difference

scipy_sparse = pytest.importorskip("scipy.sparse")

TARGET = current_target()
MR = TARGET.tile_rows

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
QUICK = ("plain", 33), ("everything", 33), ("everything", None), ("clipped", 13)
LAYERS = ((40, 70, 9, 3), (40, 9, 17, 3), (40, 3))
LISTED = ("codes", "values", "sparse")


@pytest.fixture
def in_pieces(monkeypatch):
    """Large batches that are small: chunks of 32 samples, groups of blocks of 16, lists of 16."""
    monkeypatch.setattr(choose, "CHUNK", 32)
    monkeypatch.setattr(choose, "BLOCK_ROWS", 16)
    monkeypatch.setattr(choose, "GROUPS", 5)
    monkeypatch.setattr(csr_index, "_BLOCK_BYTES", 1)


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
@pytest.mark.parametrize(
    ("name", "batch_size"),
    [pytest.param(*case, marks=() if case in QUICK else pytest.mark.slow) for case in CASES],
)
def test_every_kind_of_step_is_the_reference(in_pieces, monkeypatch, name, batch_size, kind):
    optimizer = SGD(0.05, momentum=0.0 if batch_size == 1 else 0.9)
    options = {**OPTIONS[name], "batch_size": batch_size, "optimizer": optimizer}
    rooms = (1,) if batch_size in (1, 13, 32) else (1 << 24, 1)  # for groups, else in chunks
    for layers, room in itertools.product(LAYERS, rooms):
        monkeypatch.setattr(choose, "_GROUPS_BYTES", room)
        theirs = trained(DATA[kind], layers, "numpy", 1, **options)
        ours = trained(DATA[kind], layers, "numba", 1, **options)
        assert difference(ours, theirs) < 1e-11
        again = trained(DATA[kind], layers, "numba", 3, **options)
        assert all(a.tobytes() == b.tobytes() for a, b in zip(ours, again, strict=True))


@pytest.mark.parametrize("kind", DATA)
def test_steps_of_every_kind_are_among_them(in_pieces, kind):
    """One sample, a batch, a batch in chunks and in groups; over lists where there are some."""

    def phases(batch_size: int, **options: float) -> list[str]:
        parameters = MLP(LAYERS[0], rng=1, dtype="float64")._parameters
        run = Training(
            parameters, DATA[kind], LABELS, None, optimizer=SGD(0.1), state=OptimizerState(),
            batch_size=batch_size, regularization=Regularization(**options), threads=3,
        )  # fmt: skip
        names: list[str] = []

        class Seen(Executable):
            def enter(self, segments: Any) -> None:
                segments = list(segments)
                sections = run._sections[kind in LISTED]
                names.extend(p.name for key, _, _ in segments for p in sections[key])
                super().enter(segments)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(training, "Executable", Seen)
            run.train(np.arange(batch_size), np.full(1, 0.1))
        return names

    panels = ["panels"] * (kind in LISTED)
    chunk = [*panels, "samples", "weights"]
    alone = ["sample"] if kind != "converted" else ["transposes", *chunk]
    assert phases(1) == alone
    assert phases(1, l2=0.1) == ["transposes", *chunk, "penalties"]
    assert phases(32) == ["transposes", *chunk]
    assert phases(32, clip_norm=1.0, max_norm=1.0) == [
        "transposes", *chunk, "norms", "optimizer", "limits", "transposes",
    ]  # fmt: skip
    if kind != "converted":  # which is converted chunk by chunk
        assert phases(100) == ["transposes", "groups", "combine"]


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


def job_of(
    sizes: tuple[int, ...], shares: int, size: int, *, lists: Lists | None = None,
    loss: bool = True, **more: Any,
) -> Job:  # fmt: skip
    """Return a job of plain steps over `size` samples, in float64."""
    layers = Workspace(Parameters(Architecture(sizes, dtype="float64")), size).layers
    return Job(
        layers=layers, item=8, vector=TARGET.vector_bytes, tile_rows=MR, shares=shares,
        input="f64", loss=Loss("softmax_labels", {"y": At(Slot.Y)}) if loss else None,
        batch_size=size, chunk=size, bounds=row_bounds(layers, shares, size)[1:],
        optimizer=OPTIMIZERS["sgd"], lists=lists, **more,
    )  # fmt: skip


def records(phase: Phase, kernel: str) -> list[list[dict[str, Any]]]:
    """Return the records with which each share calls a kernel, turn by turn, as addresses go."""

    def of(share: Any) -> Iterator[dict[str, Any]]:
        for loop in share.loops:
            for turn in range(loop.turns):
                for operation in loop.operations:
                    if operation.kernel == kernel:
                        yield {
                            name: At(value.slot, value.offset + turn * value.turn, value.step)
                            if isinstance(value, At) else value
                            for name, value in operation.named().items()
                        }  # fmt: skip

    return [list(of(share)) for share in phase.shares]


@pytest.mark.parametrize("kind", ["dense", "codes"])
def test_few_rows_fill_their_outputs_and_no_more(kind):
    net = MLP((40, 300, 70, 3), rng=1, dtype="float64", backend="numba")
    expected, X = net.predict_proba(DATA[kind]), DATA[kind]
    few = SmallInference(net._parameters)
    assert few.outputs(X[:5]) is few.outputs(X[:0]) is None
    few.outputs(X[:1])
    for n, executable in enumerate(few._prepared[X.dtype]._executables, 1):
        assert difference([few.outputs(X[:n])], [expected[:n]]) < 1e-14
        assert difference([net.predict_proba(X[:n])], [expected[:n]]) < 1e-14
        room = np.full((n + 8, 3), np.nan)
        executable.bases[Slot.OUT] = room[4:].ctypes.data
        serial_driver()(executable.address)
        assert np.isnan(room[:4]).all()
        assert np.isnan(room[-4:]).all()
        assert difference([room[4:-4]], [expected[:n]]) < 1e-14
    assert n == choose.FEW == 4


class Guarded(Run):
    """A run whose results have room on both sides that nobody may touch."""

    made: list[Guarded]

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.rooms = []
        for name in ("losses", "correct", "_penalty"):
            array = getattr(self, name)
            room = np.full(len(array) + 64, 77, array.dtype)
            room[32:-32] = array
            setattr(self, name, room[32:-32])
            self.rooms.append(room)
        self._locate()
        self.made.append(self)


@pytest.mark.parametrize("kind", ["dense", "values"])
@pytest.mark.parametrize("batch_size", ["decayed", 1, 13, 32, N])
def test_nothing_is_noted_before_the_first_or_behind_the_last_sample(monkeypatch, kind, batch_size):
    made: list[Guarded] = []
    monkeypatch.setattr(Guarded, "made", made, raising=False)
    for module in (training, decayed):
        monkeypatch.setattr(module, "Run", Guarded)
    settings = {"optimizer": SGD(0.05), "state": OptimizerState()}
    make, size = DecayedTraining, 1
    settings["regularization"] = Regularization(l2=0.0 if batch_size == 1 else 0.1)
    if batch_size != "decayed":
        make, size = Training, batch_size
        settings |= {"batch_size": size, "threads": 1}
    parameters = MLP(LAYERS[1], rng=1, dtype="float64")._parameters
    for taken in (N, 1):
        rates = np.full(-(-taken // size), 0.05)
        make(parameters, DATA[kind], LABELS, None, **settings).train(np.arange(N)[-taken:], rates)
        run = made[-1]
        assert len(run.losses) == taken
        assert run.losses.all()
        assert run.penalty.all() == (batch_size != 1)
        for room in run.rooms:
            assert (room[:32] == 77).all()
            assert (room[-32:] == 77).all()
    assert len(made) == 2


@pytest.mark.parametrize(
    ("make", "size", "taken"),
    [("decayed", 1, N), ("decayed", 1, 1), ("plain", 1, N), ("plain", 1, 1), ("plain", 13, N),
     ("plain", 13, 26), ("plain", 32, 96), ("plain", 32, 7), ("plain", 40, N), ("plain", 40, 80),
     ("plain", 40, 76)],
)  # fmt: skip
def test_the_lists_of_the_next_samples_are_asked_for(in_pieces, monkeypatch, make, size, taken):
    """Behind the last step too there are numbers of samples: those of the first one."""
    monkeypatch.setattr(choose, "_GROUPS_BYTES", 1)  # no groups
    order = np.random.default_rng(1).permutation(N)[:taken]
    asked: list[int] = []

    class Watched(DecayedTraining if make == "decayed" else Training):
        def _run(self, executable: Executable, **options: Any) -> None:
            rows = int(executable.bases[Slot.ROWS])
            for key, first, last in segments:
                for step in range(first, last):
                    for phase in self._sections[True][key]:
                        asked.extend(next_of(phase, rows, step))
            super()._run(executable, **options)

        def _executable(self, listed: bool, wanted: Any) -> Executable:
            assert listed
            segments[:] = wanted
            return super()._executable(listed, wanted)

    segments: list[Any] = []
    settings = {"optimizer": SGD(0.05), "state": OptimizerState()}
    settings["regularization"] = Regularization(l2=0.1 if make == "decayed" else 0.0)
    if make != "decayed":
        settings |= {"batch_size": size, "threads": 1}
    parameters = MLP(LAYERS[1], rng=1, dtype="float64")._parameters
    run = Watched(parameters, DATA["values"], LABELS, None, **settings)
    run.train(order, np.full(-(-taken // size), 0.05))
    full = taken // size * size
    expected = np.concatenate([order, order[:size]])[size:][:full].tolist()
    if size == 40:  # in chunks of 32: the samples behind each
        chunks = [part for s in range(0, full, 40) for part in ((s + 32, 32), (s + 40, 8))]
        padded = np.concatenate([order, order[:size]])
        expected = [int(i) for a, n in chunks for i in padded[a : a + n]]
    assert asked[: len(expected)] == expected
    rest = asked[len(expected) :]  # of a smaller last batch: its own once more
    assert rest == order[full:].tolist()


def next_of(phase: Phase, rows: int, step: int) -> Iterator[int]:
    """Return the samples whose lists a phase asks for, read from where it reads their numbers."""
    for kernel, name in (("by_feature_values", "following"), ("prefetch_values", "order")):
        for share in records(phase, kernel):
            for record in share:
                at = record[name]
                assert at.slot == Slot.ROWS
                count = record.get("rows", 1)
                place = rows + at.offset + step * at.step
                yield from (ctypes.c_int64 * count).from_address(place)


def test_a_step_over_dense_samples_asks_for_no_list():
    (phase,) = per_sample.step(job_of((40, 9, 3), 1, 1))
    assert not any(records(phase, "prefetch_codes") + records(phase, "prefetch_values"))


@pytest.mark.parametrize("packed", [False, True])
def test_each_share_has_its_own_copy_of_what_clipping_changes(packed):
    """And steps with it: weights with its first row, biases with its second."""
    kind = "values" if packed else "dense"
    parameters = MLP(LAYERS[0], rng=1, dtype="float64")._parameters
    run = Training(
        parameters, DATA[kind], LABELS, None, optimizer=SGD(0.1), state=OptimizerState(),
        batch_size=13, regularization=Regularization(clip_norm=0.1), threads=3,
    )  # fmt: skip
    run.train(np.arange(N), np.full(8, 0.1))
    first, *others = run._clipped
    assert len(others) == 2
    assert first.any()
    assert all(np.array_equal(first, other) for other in others)
    row = HYPER_ROW * 8
    (phase,) = [p for p in run._sections[packed]["step", 13] if p.name == "optimizer"]
    for t, (clips, steps) in enumerate(
        zip(records(phase, "clip"), records(phase, "optimizer"), strict=True)
    ):
        (clip,) = clips
        assert clip["to"] == At(Slot.CLIPPED, 2 * row * t)
        biases = [q.bias.offset for q in run._workspace.layers]
        assert steps
        for step in steps:
            of_bias = step["w"].slot == Slot.PARAMETERS and step["w"].offset in biases
            assert step["hyper"] == clip["to"] + row * of_bias


@pytest.mark.parametrize("n", [310, 319, 320])
@pytest.mark.parametrize("loss", [False, True])
@pytest.mark.parametrize("spread", [False, True])
def test_each_share_takes_its_own_blocks_forward(n, loss, spread):
    """In rows of its own, whole blocks first; or each sample in the row of its number."""
    job = job_of((40, 70, 3), 3, 64, loss=loss)
    (phase,) = inference.blocks(job, n, OUTPUTS["softmax"], spread=spread)
    taken, rows = [], []
    q, last = job.layers[0], job.layers[-1]
    for gathers, ends in zip(
        records(phase, "gather_f64"), records(phase, "softmax_labels" if loss else "output"),
        strict=True,
    ):  # fmt: skip
        taken.append([])
        rows.append([])
        for gather, end in zip(gathers, ends, strict=True):
            first, count = gather["order"].offset // 8, gather["rows"]
            assert end["rows"] == count
            if loss:
                for name, slot in (("loss", Slot.LOSSES), ("correct", Slot.CORRECT)):
                    assert end[name] == At(slot, first * 8)
            else:
                assert end["out"] == At(Slot.OUT, first * 3 * 8)
            taken[-1] += range(first, first + count)
            row = (gather["dst"].offset - q.a.offset) // q.ld_a
            assert end["z"] == last.h + row * last.ld_h
            rows[-1] += range(row, row + count)
    assert taken == [list(range(64)), list(range(64, 192)), list(range(192, n))]
    if spread:
        assert rows == taken
    else:
        assert [set(r) for r in rows] == [set(range(64 * t, 64 * t + 64)) for t in range(3)]


@pytest.mark.parametrize("shares", [1, 2, 3, 8])
@pytest.mark.parametrize("rows", [1, 8, 9, 64, 100, 200])
def test_samples_are_shared_out_evenly_in_tiles(rows, shares):
    """From gathering them to their losses, in whole tiles of the workspace."""
    job = job_of((40, 9, 3), shares, rows)
    q, last = job.layers[0], job.layers[-1]
    (phase,) = [p for p in minibatch.step(job, rows) if p.name == "samples"]
    kernels = ("gather_f64", "softmax_labels", "forward", "backward")
    gathers, losses, forward, backward = (records(phase, kernel) for kernel in kernels)
    taken = []
    for t in range(shares):
        if not gathers[t]:
            assert not losses[t] + forward[t] + backward[t]
            continue
        (gather,), (loss,) = gathers[t], losses[t]
        first, count = gather["order"].offset // 8, gather["rows"]
        assert gather["order"] == At(Slot.ROWS, first * 8, step=rows * 8)
        assert gather["dst"] == q.a + first * q.ld_a
        assert loss["z"] == last.h + first * last.ld_h
        assert (loss["rows"], loss["loss"]) == (count, At(Slot.LOSSES, first * 8, step=rows * 8))
        tiles = -(-count // MR)
        assert {op["tiles"] for op in forward[t] + backward[t]} == {tiles}
        assert (len(forward[t]), len(backward[t])) == (2, 1)
        taken.append((first, count))
    firsts, counts = zip(*taken, strict=True)
    assert list(firsts) == [0, *np.cumsum(counts)[:-1]]
    assert sum(counts) == rows
    assert all(first % MR == 0 for first in firsts)
    tiles = -(-rows // MR)
    assert len(taken) == min(shares, tiles)
    assert max(counts) <= -(-tiles // shares) * MR


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_penalties_are_added_up_in_their_order(dtype):
    """What is small is lost beside 1e17, and is not where that has gone."""

    def total(totals: Any) -> float:
        penalty, given = np.full(3, 7.0), np.array(totals)
        launch(
            "reduce_penalties", dtype, penalty=penalty[1:].ctypes.data, totals=given.ctypes.data,
            count=given.size,
        )  # fmt: skip
        assert (penalty[[0, 2]] == 7).all()
        return penalty[1]

    assert total(np.outer([1, 1e17, -1e17, 1], [1, 2, 4, 8]).ravel()) == 15
    assert total([1e17, 1, -1e17, 1]) == 0
    assert total([1e17, -1e17, 1, 1]) == 2
    assert total([]) == 0


def test_a_step_adds_up_the_penalties_of_the_one_before():
    """In its first phase, before any of its own are noted; and a section does it for the last."""
    job = job_of((40, 9, 3), 2, 13, regularizing=Regularizing(penalty=True, slots=8))
    first, *others = minibatch.step(job, 13)
    before, none = records(first, "reduce_penalties")
    assert [op["penalty"] for op in before] == [At(Slot.PENALTY, -8, step=8)]
    assert not none
    assert not any(records(first, "penalties"))
    for phase in others:
        assert not any(records(phase, "reduce_penalties"))
    assert all(records(others[0], "penalties"))
    last = minibatch.penalties(job, before=True)
    assert records(last, "reduce_penalties") == [before, []]


@pytest.mark.parametrize("l2", [0.1, 8.0])
@pytest.mark.parametrize("kind", ["dense", "codes", "values", "sparse"])
def test_decayed_steps_of_scaled_inputs_are_steps(kind, l2):
    """A weak penalty, and one that leaves 0.6 of a weight in a step."""
    left, order, rates = [], np.arange(N), np.full(N, 0.05)
    for make, more in ((Training, {"batch_size": 1, "threads": 1}), (DecayedTraining, {})):
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
