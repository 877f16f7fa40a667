"""Data that are larger than memory: chunks, memory maps, and what they cost."""

from __future__ import annotations

import os
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest

from fastmlp import (
    MLP,
    SGD,
    Adam,
    AnnealOnRise,
    CosineDecay,
    EarlyStopping,
    InverseScaling,
    OneCycle,
)
from fastmlp.callbacks import Callback, ProgressBar
from fastmlp.metrics import get_metrics
from fastmlp.training.evaluation import Evaluation
from fastmlp.training.samples import ChunkSamples

RNG = np.random.default_rng(0)
X = RNG.normal(size=(150, 6))
LABELS = np.digitize(X[:, 0] + X[:, 1] ** 2, [0.3, 1.3])
CUTS = [slice(0, 64), slice(64, 112), slice(112, 150)]
CHUNKS = [(X[part], LABELS[part]) for part in CUTS]


def make(backend="numpy", **options) -> MLP:
    return MLP((6, 9, 3), backend=backend, **{"rng": 1, "dtype": "float64", **options})


def state(net) -> list[np.ndarray]:
    rng = net._rng.bit_generator.state["state"]
    numbers = np.array([net._state.step, rng["state"] % 2**53], float)
    return [*(a.copy() for a in (*net.weights, *net.biases)), numbers]


def assert_same(ours, theirs) -> None:
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


# what is trained


@pytest.mark.parametrize("batch_size", [1, 16, None])
@pytest.mark.parametrize("shuffle", [True, False])
def test_one_chunk_is_an_array(backend, shuffle, batch_size):
    arrays, chunks = make(backend), make(backend)
    options = {"epochs": 3, "batch_size": batch_size, "shuffle": shuffle, "dropout": 0.2,
               "optimizer": Adam(0.01), "schedule": OneCycle()}  # fmt: skip
    first = arrays.fit(X, LABELS, **options)
    second = chunks.fit([(X, LABELS)], **options)
    assert first.as_dict() | {"seconds": []} == second.as_dict() | {"seconds": []}
    assert_same(state(arrays), state(chunks))


@pytest.mark.parametrize("schedule", [None, OneCycle(), CosineDecay(), InverseScaling()])
def test_whole_batches_in_order_are_the_array_s(backend, schedule):
    """Chunks of 64, 48 and 38 in batches of 16: the cuts fall where the array's do."""
    arrays, chunks = make(backend), make(backend)
    options = {"epochs": 2, "batch_size": 16, "shuffle": False, "schedule": schedule}
    first = arrays.fit(X, LABELS, **options)
    second = chunks.fit(CHUNKS, **options)
    np.testing.assert_allclose(second.loss, first.loss, rtol=1e-13)
    assert second.accuracy == first.accuracy
    assert second.learning_rate == first.learning_rate
    for a, b in zip(state(chunks), state(arrays), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11)


def test_batches_are_cut_and_shuffled_within_a_chunk(backend):
    net, by_hand = make(backend), make(backend)
    net.fit(CHUNKS, epochs=2, batch_size=30)
    for _ in range(2):
        for x, y in CHUNKS:
            order = by_hand._rng.permutation(len(y))
            by_hand.fit(x[order], y[order], epochs=1, batch_size=30, shuffle=False)
    assert_same(state(net), state(by_hand))
    assert net._state.step == 2 * (3 + 2 + 2)


FORMS = {
    "list": lambda: CHUNKS,
    "lists": lambda: [list(chunk) for chunk in CHUNKS],
    "function": lambda: lambda: iter(CHUNKS),
    "generator function": lambda: lambda: (chunk for chunk in CHUNKS),
    "lists of numbers": lambda: [(x.tolist(), y.tolist()) for x, y in CHUNKS],
    "weights of one": lambda: [(x, y, np.ones(len(y))) for x, y in CHUNKS],
}


@pytest.mark.parametrize("form", FORMS)
def test_chunks_come_in_any_form(form):
    net, plain = make(), make()
    net.fit(FORMS[form](), epochs=2, batch_size=30)
    plain.fit(CHUNKS, epochs=2, batch_size=30)
    for a, b in zip(state(net), state(plain), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_a_source_may_make_its_own_samples():
    net, plain, asked = make(), make(), []

    class Source:
        def make_samples(self, *settings):
            asked.append(settings)
            return ChunkSamples(net, CHUNKS, *settings)

    net.fit(Source(), epochs=2, batch_size=30, shuffle=False, class_weight={1: 2})
    plain.fit(CHUNKS, epochs=2, batch_size=30, shuffle=False, class_weight={1: 2})
    assert asked == [(2, 30, False, {1: 2})]
    assert_same(state(net), state(plain))


def test_a_generator_serves_one_epoch(backend):
    net, plain = make(backend), make(backend)
    net.fit((chunk for chunk in CHUNKS), epochs=1, batch_size=30)
    plain.fit(CHUNKS, epochs=1, batch_size=30)
    assert_same(state(net), state(plain))
    with pytest.raises(TypeError, match="chunks that can be gone through 2 times"):
        net.fit((chunk for chunk in CHUNKS), epochs=2, batch_size=30)
    assert_same(state(net), state(plain))


@pytest.mark.parametrize(
    "options",
    [{"schedule": AnnealOnRise()}, {"schedule": CosineDecay(epochs=4)}, {"dropout": 0.3}],
    ids=str,
)
def test_two_fits_of_two_epochs_are_one_of_four(backend, options):
    whole, parts = make(backend), make(backend)
    options = {"optimizer": Adam(0.01), "batch_size": 20, **options}
    history = whole.fit(CHUNKS, epochs=4, **options)
    first = parts.fit(CHUNKS, epochs=2, **options)
    second = parts.fit(CHUNKS, epochs=2, **{**options, "optimizer": None})
    assert first.loss + second.loss == history.loss
    assert_same(state(whole), state(parts))


def test_weights_come_with_chunks_and_classes(backend):
    own = RNG.random(150)
    by_class = np.array([2.0, 1.0, 0.5])[LABELS]
    ours, theirs = make(backend), make(backend)
    ours.fit([(X[c], LABELS[c], own[c]) for c in CUTS], class_weight={0: 2, 2: 0.5}, epochs=2)
    theirs.fit([(X[c], LABELS[c], (own * by_class)[c]) for c in CUTS], epochs=2)
    assert_same(state(ours), state(theirs))


class Seen(Callback):
    def on_train_begin(self, logs):
        self.steps, self.params_seen = [], []

    def on_epoch_begin(self, epoch, logs):
        self.params_seen.append(dict(self.params))

    def on_batch_group_end(self, step, logs):
        self.steps.append(step)


def test_validation_stopping_callbacks_and_bar_work_with_chunks(backend, capsys):
    net, seen = make(backend), Seen()
    stopping = EarlyStopping(patience=2)
    history = net.fit(
        CHUNKS, epochs=300, optimizer=Adam(0.05), validation_data=(X[:40], 2 - LABELS[:40]),
        metrics=["f1"], early_stopping=stopping, callbacks=[seen, ProgressBar()],
    )  # fmt: skip
    assert len(history) == len(history["val_f1"]) == stopping.best_epoch + 3 < 300
    assert max(seen.steps) == 3  # one of 64, one of 48, one of 38
    assert seen.params_seen[0]["samples"] == 150  # of a list, which is gone through first
    assert "samples" in capsys.readouterr().err
    net.fit(CHUNKS, epochs=1, schedule=OneCycle(), callbacks=[seen])
    assert seen.params_seen[0]["samples"] == 150
    assert seen.params_seen[0]["steps"] == 3


def test_a_chunk_is_gone_when_the_next_is_asked_for(backend):
    class Array(np.ndarray):
        """An array that can be referred to weakly."""

    alive, most = [], []

    def chunks():
        for start in range(0, 150, 50):
            most.append(sum(reference() is not None for reference in alive))
            x = X[start : start + 50].copy().view(Array)
            alive.append(weakref.ref(x))
            y = LABELS[start : start + 50]
            yield x, y
            del x

    make(backend).fit(chunks, epochs=3, batch_size=20, dropout=0.0)
    assert len(most) == 9
    # the generator's own hold on what it has just handed over ends with its next line
    assert max(most) == 0


def test_chunks_of_a_list_are_counted(backend):
    seen, schedules = [], (None, OneCycle())

    class Watch(Callback):
        def on_train_begin(self, logs):
            seen.append((self.params["samples"], self.params["steps"]))

    for schedule in schedules:
        make(backend).fit(CHUNKS, batch_size=30, callbacks=[Watch()], schedule=schedule)
        make(backend).fit(
            lambda: iter(CHUNKS), batch_size=30, callbacks=[Watch()], schedule=schedule
        )
    assert seen == [(150, 7), (None, None), (150, 7), (150, 7)]


# what is refused

REFUSED = [
    ({"X": (c for c in CHUNKS)}, TypeError, "gone through 3 times, .* got generator"),
    ({"X": (c for c in CHUNKS), "epochs": 1, "schedule": OneCycle()}, TypeError, "twice"),
    ({"X": X}, ValueError, "y: expected targets"),
    ({"X": 3}, TypeError, "X: expected an array, or chunks"),
    ({"X": lambda: 3}, TypeError, "X: expected chunks .*int"),
    ({"X": []}, ValueError, "at least one chunk"),
    ({"X": [X, X]}, TypeError, "got ndarray as one"),
    ({"X": [(X, LABELS, LABELS, 1)]}, TypeError, "got tuple as one"),
    ({"X": [(X[:, :5], LABELS)]}, ValueError, "X: chunk 0: X: expected 6 features"),
    ({"X": [(X, LABELS + 1)]}, ValueError, "X: chunk 0: y: "),
    ({"X": [*CHUNKS, (X, LABELS[:3])], "schedule": OneCycle()}, ValueError, "X: chunk 3: y"),
    ({"X": [(X, LABELS, -LABELS)]}, ValueError, "X: chunk 0: sample_weight"),
    ({"X": [*CHUNKS, (X, LABELS + 1)]}, ValueError, "X: chunk 3: y: "),
    (
        {"X": (*CHUNKS, (X * np.nan, LABELS)), "epochs": 1},
        ValueError,
        "X: chunk 3: X: expected fin",
    ),
    ({"X": [*CHUNKS, X]}, TypeError, "got ndarray as one"),
    ({"validation_split": 0.1}, ValueError, "validation_split"),
    ({"sample_weight": np.ones(150)}, ValueError, "sample_weight"),
    ({"class_weight": "balanced"}, ValueError, "class_weight: expected a dict with chunks"),
    ({"class_weight": {7: 1}}, ValueError, "class_weight"),
    ({"early_stopping": True}, ValueError, "'val_loss', which needs validation data"),
    ({"metrics": ["f1"]}, ValueError, "metrics: expected validation_data"),
]


@pytest.mark.parametrize(("wrong", "error", "message"), REFUSED)
def test_a_refused_fit_changes_nothing(wrong, error, message):
    net = make()
    net.fit(X, LABELS, epochs=1, optimizer=Adam(0.02))
    before, optimizer, history = state(net), net.optimizer, net.history
    arguments = {"X": CHUNKS, "epochs": 3, "optimizer": SGD(0.1), **wrong}
    with pytest.raises(error, match=message):
        net.fit(arguments.pop("X"), **arguments)
    assert_same(state(net), before)
    assert net.optimizer is optimizer
    assert net.history is history


def test_a_bad_chunk_on_the_way_leaves_a_usable_network(backend):
    net, twin = make(backend), make(backend)
    with pytest.raises(ValueError, match="X: chunk 1: X: expected finite numbers"):
        net.fit(lambda: iter([CHUNKS[0], (X * np.nan, LABELS)]), epochs=2, batch_size=None)
    twin.fit(*CHUNKS[0], epochs=1, batch_size=None)
    assert_same(state(net), state(twin))
    assert len(net.history) == 0
    assert len(net.fit(CHUNKS, epochs=1)) == 1


def test_an_epoch_without_chunks_is_an_error():
    epochs = iter([CHUNKS, []])
    with pytest.raises(ValueError, match="at least one chunk in every epoch"):
        make().fit(lambda: next(epochs), epochs=2)


def test_a_bad_chunk_of_a_later_epoch_is_named_by_its_place_in_that_epoch():
    for place in (0, 1):
        bad = [*CHUNKS[:place], (X * np.nan, LABELS)]
        epochs = iter([CHUNKS, bad])
        with pytest.raises(ValueError, match=f"X: chunk {place}: X: expected finite numbers"):
            make().fit(lambda epochs=epochs: next(epochs), epochs=2)


# memory


class Rows(np.ndarray):
    """An array that notes how many rows are taken at a time."""

    def __getitem__(self, key):
        if isinstance(key, np.ndarray):
            self.taken.append(len(key))
        return np.ndarray.__getitem__(self, key).view(np.ndarray)


class MappedRows(Rows, np.memmap):
    pass


@pytest.mark.parametrize(
    ("kind", "shape", "taken"),
    [
        (MappedRows, (100_000, 6), [87381, 12619] * 2),  # 4 MB at a time, for losses and metrics
        (MappedRows, (1500, 1024), [1024, 476] * 2),  # no fewer than 1024
        (Rows, (4097, 1024), [1024, 1024, 1024, 1024, 1] * 2),
        (Rows, (4096, 1024), [4096]),  # 32 MB are copied
    ],
)
def test_held_out_rows_are_read_piece_by_piece(kind, shape, taken, tmp_path):
    n, features = shape
    mapped = np.memmap(tmp_path / "x", np.float64, "w+", shape=(n + 1, features))
    mapped[:, 0] = np.arange(n + 1) % 7
    x = (mapped if kind is MappedRows else np.array(mapped)).view(kind)
    x.taken, y = [], np.arange(n + 1) % 3
    net = MLP((features, 4, 3), backend="numpy", rng=0, dtype="float64")
    metrics = get_metrics(["f1"], net.architecture)
    settings = {"metrics": metrics, "prefix": "val_", "repeated": False}
    logs = Evaluation(net, x, y, np.arange(1, n + 1), **settings)()
    assert x.taken == taken
    assert list(logs) == ["val_loss", "val_accuracy", "val_f1"]
    assert logs == pytest.approx(Evaluation(net, mapped[1:], y[1:], None, **settings)(), rel=1e-12)


PROGRAM = """
import re, sys
import numpy as np, fastmlp

kind, path, backend = sys.argv[1:]
pixels = kind not in ("float32", "chunks")
scale = 255.0 if pixels else None
net = fastmlp.MLP((784, 16, 10), rng=0, input_scale=scale, backend=backend)
options = {"batch_size": 256, "progress": False}
dtype = "uint8" if pixels else "float32"
few = np.random.default_rng(0).random((2048, 784)).astype(dtype) + np.ones(1, dtype)
labels = np.arange(2048) % 10
net.fit(few, labels, epochs=3, validation_split=0.2, **options)  # compiled, loaded, warm

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) * 1024

before = peak()
if kind == "chunks":
    def chunks():
        for _ in range(20):
            yield few.repeat(3, axis=0), labels.repeat(3)
    net.fit(chunks, epochs=2, **options)
else:
    X = np.load(path, mmap_mode="r")
    y = np.arange(len(X)) % 10
    net.fit(X, y, epochs=2, validation_split=0.2, **options)
print(peak() - before)
"""
MB = 1 << 20


def grown(kind: str, path: Path, backend: str) -> int:
    """Return by how many bytes a fit raises the peak of a process that is warm."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, kind, str(path), backend],
        capture_output=True, text=True, env=environment, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts as Linux does")
@pytest.mark.parametrize(
    "kind",
    ["chunks", *(pytest.param(k, marks=pytest.mark.slow)
                 for k in ("uint8", "float32", "mostly zeros"))],
)  # fmt: skip
def test_peak_memory_stays_below_the_data_and_50_mb(backend, kind, tmp_path):
    path, size = tmp_path / "x.npy", 120 * MB
    allowed = size + 50 * MB
    if kind == "chunks":
        allowed = 2048 * 3 * 784 * 4 + 50 * MB  # one of 20
    else:
        dtype = np.dtype("float32" if kind == "float32" else "uint8")
        rows = size // (784 * dtype.itemsize)
        mapped = np.lib.format.open_memmap(path, "w+", dtype, (rows, 784))
        mapped[:] = np.linspace(0.1, 1, 784) if kind == "float32" else np.arange(784) % 255 + 1
        if kind == "mostly zeros":
            mapped[:, 200:] = 0
        mapped.flush()
        del mapped
    found = grown(kind, path, backend)
    if kind != "chunks":
        assert found > size / 2  # the map itself is counted
    else:
        assert found > 2048 * 3 * 784 * 4 / 2
    assert found < allowed, f"{found / MB:.0f} MB, allowed {allowed / MB:.0f} MB"
