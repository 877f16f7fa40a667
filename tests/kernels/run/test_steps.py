"""Steps of every kind, over dense data and over lists, in pieces, shared out: the reference's
numbers, and nothing read or written that is not theirs.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from steps import DATA, LABELS, LAYERS, RNG, N, records

from fastmlp import MLP, SGD
from fastmlp.contract.operations import DataSet, StepSettings
from fastmlp.kernels.emit.optimizers import HYPER_ROW
from fastmlp.kernels.program.operation import At, Phase, Slot
from fastmlp.kernels.run import choose, decayed, training
from fastmlp.kernels.run.decayed import DecayedTraining
from fastmlp.kernels.run.executor import Executable
from fastmlp.kernels.run.training import Run, Training
from fastmlp.optimizers import OptimizerState
from fastmlp.regularization import Regularization
from fastmlp.verification import difference

scipy_sparse = pytest.importorskip("scipy.sparse")

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
QUICK = ("plain", 33), ("everything", None), ("clipped", 13)
LISTED = ("codes", "values", "sparse")


@pytest.fixture
def in_pieces(monkeypatch):
    """Large batches that are small: chunks of 32 samples, groups of blocks of 16, lists of 16."""
    monkeypatch.setattr(choose, "CHUNK", 32)
    monkeypatch.setattr(choose, "BLOCK_ROWS", 16)
    monkeypatch.setattr(choose, "GROUPS", 5)
    monkeypatch.setattr(choose, "_BLOCK_BYTES", 1)


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
        settings = StepSettings(SGD(0.1), OptimizerState(), batch_size, Regularization(**options))
        run = Training(parameters, DataSet(DATA[kind], LABELS), settings, threads=3)
        names: list[str] = []

        honest = Executable.enter

        def enter(executable: Executable, segments: Any) -> None:
            segments = list(segments)
            listed = kind in LISTED
            names.extend(p.name for key, _, _ in segments for p in run.phases(listed, key))
            honest(executable, segments)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Executable, "enter", enter)
            run.train(np.arange(batch_size), np.full(1, 0.1))
        return names

    panels = ["panels"] * (kind in LISTED)
    chunk = [*panels, "samples", "weights"]
    alone = ["sample"] if kind != "converted" else ["copies", *chunk]
    assert phases(1) == alone
    assert phases(1, l2=0.1) == ["copies", *chunk, "penalties"]
    assert phases(32) == ["copies", *chunk]
    assert phases(32, clip_norm=1.0, max_norm=1.0) == [
        "copies", *chunk, "norms", "optimizer", "limits", "copies",
    ]  # fmt: skip
    if kind != "converted":  # which is converted chunk by chunk
        assert phases(100) == ["copies", "groups", "combine"]


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


@pytest.mark.parametrize("forward", [False, True])
@pytest.mark.parametrize("kind", ["dense", "codes"])
def test_packed_layers_leave_the_bits_of_plain_ones_and_are_the_reference(
    monkeypatch, kind, forward
):
    options = {"batch_size": 33, **OPTIONS["everything"]}
    arguments = DATA[kind], (40, 70, 50, 3)
    wanted = trained(*arguments, "numpy", None, **options)
    plain = trained(*arguments, "numba", 1, **options)
    small, made = choose.Packing(16, forward=forward, rows=16), []
    monkeypatch.setattr(choose, "packing", lambda *sizes: made.append(sizes) or small)
    for threads in (1, 3):
        packed = trained(*arguments, "numba", threads, **options)
        for ours, theirs in zip(packed, plain, strict=True):
            np.testing.assert_array_equal(ours, theirs)
        assert difference(packed, wanted) < 1e-11
    assert made


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
        self.made.append(self)


@pytest.mark.parametrize("kind", ["dense", "values"])
@pytest.mark.parametrize("batch_size", ["decayed", 1, 13, 32, N])
def test_nothing_is_noted_before_the_first_or_behind_the_last_sample(monkeypatch, kind, batch_size):
    made: list[Guarded] = []
    monkeypatch.setattr(Guarded, "made", made, raising=False)
    for module in (training, decayed):
        monkeypatch.setattr(module, "Run", Guarded)
    make, size = DecayedTraining, 1
    if batch_size != "decayed":
        make, size = functools.partial(Training, threads=1), batch_size
    penalty = Regularization(l2=0.0 if batch_size == 1 else 0.1)
    settings = StepSettings(SGD(0.05), OptimizerState(), size, penalty)
    parameters = MLP(LAYERS[1], rng=1, dtype="float64")._parameters
    for taken in (N, 1):
        rates = np.full(-(-taken // size), 0.05)
        trainer = make(parameters, DataSet(DATA[kind], LABELS), settings)
        trainer.train(np.arange(N)[-taken:], rates)
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
    """As many as a chunk has; behind the last step there are those of the first one."""
    monkeypatch.setattr(choose, "_GROUPS_BYTES", 1)  # no groups
    order = np.random.default_rng(1).permutation(N)[:taken]
    asked: list[int] = []

    class Watched(DecayedTraining if make == "decayed" else Training):
        def _executable(self, listed: bool, wanted: Any) -> Executable:
            assert listed
            segments[:] = wanted
            return super()._executable(listed, wanted)

    def run(executable: Executable, threads: int) -> None:
        rows = int(executable.bases[Slot.ROWS])
        for key, first, last in segments:
            for step in range(first, last):
                for phase in made.phases(True, key):
                    asked.extend(next_of(phase, rows, step))
        honest(executable, threads)

    segments: list[Any] = []
    honest = Executable.run
    monkeypatch.setattr(Executable, "run", run)
    options = {} if make == "decayed" else {"threads": 1}
    penalty = Regularization(l2=0.1 if make == "decayed" else 0.0)
    settings = StepSettings(SGD(0.05), OptimizerState(), size, penalty)
    parameters = MLP(LAYERS[1], rng=1, dtype="float64")._parameters
    made = Watched(parameters, DataSet(DATA["values"], LABELS), settings, **options)
    made.train(order, np.full(-(-taken // size), 0.05))
    padded, expected = np.concatenate([order, order[:size]]), []
    for first in range(0, taken, size):
        end = min(first + size, taken)
        for start in range(first, end, made.chunk):
            behind = min(start + made.chunk, end)
            expected += padded[behind : 2 * behind - start].tolist()
    assert asked == expected


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


@pytest.mark.parametrize("packed", [False, True])
def test_each_share_has_its_own_copy_of_what_clipping_changes(packed):
    """And steps with it: weights with its first row, biases with its second."""
    kind = "values" if packed else "dense"
    parameters = MLP(LAYERS[0], rng=1, dtype="float64")._parameters
    settings = StepSettings(SGD(0.1), OptimizerState(), 13, Regularization(clip_norm=0.1))
    run = Training(parameters, DataSet(DATA[kind], LABELS), settings, threads=3)
    run.train(np.arange(N), np.full(8, 0.1))
    first, *others = run._clipped
    assert len(others) == 2
    assert first.any()
    assert all(np.array_equal(first, other) for other in others)
    row = HYPER_ROW * 8
    (phase,) = [p for p in run.phases(packed, ("step", 13)) if p.name == "optimizer"]
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


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
def test_few_rows_are_looked_at_on_their_way(dtype, bad):
    net = MLP((40, 5, 3), rng=1, dtype="float32", backend="numba")
    X = np.arange(160).reshape(4, 40).astype(dtype)
    expected = net.predict_proba(np.concatenate([X, X]))[:4]
    for n in (1, 2, 3, 4):
        assert difference([net.predict_proba(X[:n])], [expected[:n]]) < 1e-5
    for wrong in (X[:1, :-1], X[0], np.zeros((1, 41), dtype)):
        with pytest.raises(ValueError, match="X: expected"):
            net.predict_proba(wrong)
    if dtype == "uint8":
        return
    for row, column in ((0, 0), (1, 39), (3, 17)):
        broken = X.copy()
        broken[row, column] = bad
        with pytest.raises(
            ValueError, match=rf"finite numbers, got .* in row {row}, column {column}"
        ):
            net.predict_proba(broken)
        assert difference([net.predict_proba(X)], [expected]) < 1e-5
