"""A run that is killed is taken up where it was, and ends with the bits it would have had.

``FASTMLP_FULL_TESTS=1`` kills 200 times and more on each backend, ``FASTMLP_TEST_SEED`` repeats a
failed run.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import signal
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from fastmlp import (
    MLP,
    SGD,
    AdaGrad,
    Adam,
    AdamW,
    AnnealOnRise,
    Constant,
    CosineDecay,
    EarlyStopping,
    ExponentialDecay,
    InverseScaling,
    ModelCheckpoint,
    OneCycle,
    ReduceOnPlateau,
    RMSProp,
    StepDecay,
)
from fastmlp.callbacks import Callback, CSVLogger
from fastmlp.optimizers import OPTIMIZERS
from fastmlp.persistence import rng_state
from fastmlp.schedules import SCHEDULES

FULL = bool(os.environ.get("FASTMLP_FULL_TESTS"))
SEED = int(os.environ.get("FASTMLP_TEST_SEED") or np.random.SeedSequence().entropy % 2**32)
# of every run below: at least 200 on each backend; here at least 25, and one on the compiled one
KILLS_EACH = {"numpy": 12 if FULL else 2, "numba": 12 if FULL else 1}
EPOCHS = 12

DATA = np.random.default_rng(0)
X = DATA.normal(size=(120, 6)).astype("float32")
LABELS = DATA.integers(0, 3, 120)
HELD = DATA.normal(size=(30, 6)), DATA.integers(0, 3, 30)

RUNS = {
    "sgd": {},
    "momentum": {"optimizer": lambda: SGD(0.1, momentum=0.9)},
    "nesterov": {"optimizer": lambda: SGD(0.1, momentum=0.9, nesterov=True), "shuffle": False},
    "adagrad": {"optimizer": lambda: AdaGrad(0.05), "batch_size": 1},
    "rmsprop": {"optimizer": lambda: RMSProp(0.01), "batch_size": None},
    "adam, anneal on rise": {"optimizer": lambda: Adam(0.3), "schedule": AnnealOnRise()},
    "adamw, dropout": {"optimizer": lambda: AdamW(0.02), "dropout": 0.3},
    "step decay": {"schedule": StepDecay(every=5), "clip_norm": 0.1, "l1": 1e-3},
    "exponential decay": {"schedule": ExponentialDecay(0.9), "class_weight": "balanced"},
    "inverse scaling": {"schedule": InverseScaling(), "max_norm": 1.0},
    "cosine decay": {"schedule": CosineDecay(), "optimizer": lambda: Adam(0.02)},
    "one cycle": {"schedule": OneCycle(), "label_smoothing": 0.1, "validation_data": HELD},
    "plateau": {"schedule": ReduceOnPlateau(patience=1, min_delta=0.1), "validation_split": 0.2},
    "early stopping": {
        "early_stopping": lambda: EarlyStopping(patience=4), "optimizer": lambda: Adam(0.1),
        "dropout": 0.2,
    },
    "the best accuracy": {
        "early_stopping": lambda: EarlyStopping("val_accuracy", patience=30),
        "optimizer": lambda: Adam(0.1), "metrics": ["f1"],
    },
    "legacy stream": {"rng": lambda: np.random.RandomState(4), "early_stopping": True},
    "chunks": {"chunks": True, "schedule": CosineDecay(), "dropout": 0.2},
}  # fmt: skip


# what is not slow
FEW = "adamw, dropout", "early stopping", "chunks"
NAMES = [pytest.param(name, marks=() if name in FEW else pytest.mark.slow) for name in RUNS]


def train(path: str | Path, name, *, backend="numpy", callbacks=()) -> MLP:
    """Train as a user would whose machine may go away: the same lines begin and go on.

    `name` is that of a run, or the run itself.
    """
    run = RUNS[name] if isinstance(name, str) else name
    options = {k: v() if callable(v) else v for k, v in run.items()}
    rng = options.pop("rng", 7)
    data = ([(X[:50], LABELS[:50]), (X[50:], LABELS[50:])],) if options.pop("chunks", 0) else (
        X, LABELS)  # fmt: skip
    if os.path.exists(path):
        net = MLP.load(path, backend=backend)
    else:
        net = MLP((6, 9, 3), activation="relu", rng=rng, backend=backend)
    net.fit(
        *data, **{"batch_size": 16, "epochs": EPOCHS, **options}, resume=True,
        callbacks=[ModelCheckpoint(path), *callbacks],
    )  # fmt: skip
    return net


class Tell(Callback):
    """Set an event when an epoch begins that so many others have gone before in this process."""

    def __init__(self, epochs: int, event) -> None:
        self.left, self.event = epochs, event

    def on_epoch_begin(self, epoch, logs) -> None:
        if self.left == 0:
            self.event.set()
        self.left -= 1


def in_child(path: Path, name: str, backend: str, epochs: int, event) -> None:
    """Train in a process that will be killed once `event` is set, after so many epochs."""
    if backend == "numba":  # loads the kernels
        with tempfile.TemporaryDirectory() as folder:
            train(Path(folder, "net.npz"), name, backend=backend)
    train(path, name, backend=backend, callbacks=[Tell(epochs, event)])
    event.set()


def bits(net: MLP) -> tuple:
    """Return all that training changes."""
    history = {k: v for k, v in net.history.as_dict().items() if k != "seconds"}
    best = net._parameters.flat if net._best is None else net._best
    return (
        [a.tobytes() for a in (*net.weights, *net.biases)],
        [a.tobytes() for slot in net._state.slots for a in slot],
        net._state.step, rng_state(net._rng), net._schedule_memory, history,
        None if net._held_out is None else repr(net._held_out),
        [a.tobytes() for part in net._parameters.views(best) for a in part],
    )  # fmt: skip


# kill it anywhere


def test_every_optimizer_and_schedule_is_killed():
    made = [{k: v() if callable(v) else v for k, v in run.items()} for run in RUNS.values()]
    assert {type(run.get("optimizer", SGD(0.1))) for run in made} == set(OPTIMIZERS.values())
    schedules = {type(run.get("schedule", Constant())) for run in made}
    assert schedules == set(SCHEDULES.values())


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL")
@pytest.mark.parametrize("backend", KILLS_EACH)
@pytest.mark.parametrize("name", NAMES)
def test_killed_anywhere_it_ends_with_the_same_bits(tmp_path, name, backend, count):
    context = multiprocessing.get_context("forkserver")
    modules = ("training.trainer", "network", "reference", "kernels")
    context.set_forkserver_preload([f"fastmlp.{module}" for module in modules])
    rng, path = np.random.default_rng([SEED, list(RUNS).index(name)]), tmp_path / "net.npz"
    train(tmp_path / "warm.npz", name, backend=backend)
    begun = time.perf_counter()
    whole = bits(train(tmp_path / "whole.npz", name, backend=backend))
    seconds = time.perf_counter() - begun
    for kill in range(KILLS_EACH[backend]):
        told = f"kill {kill}, FASTMLP_TEST_SEED={SEED}"
        while True:  # the first kill comes between checkpoints
            event, epochs = context.Event(), int(rng.integers(1 if kill == 0 else 0, 4))
            child = context.Process(target=in_child, args=(path, name, backend, epochs, event))
            child.start()
            assert event.wait(120), told
            child.join(rng.uniform(0, 2 * seconds / EPOCHS))
            child.kill()
            child.join()
            assert child.exitcode in (0, -signal.SIGKILL), told
            done = len(MLP.load(path).history) if path.exists() else 0
            assert (0 if kill else epochs) <= done <= EPOCHS, told
            if child.exitcode == -signal.SIGKILL and (kill or done < EPOCHS):
                break
            path.unlink()  # it was quicker: once more, from the beginning
    assert bits(train(path, name, backend=backend)) == whole, told
    count(f"kills, {backend}", KILLS_EACH[backend], 12)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("name", NAMES)
def test_every_checkpoint_leads_to_the_same_bits(tmp_path, name, backend):
    saver = ModelCheckpoint(tmp_path / "net-{epoch}.npz")
    whole = bits(train(tmp_path / "last.npz", name, backend=backend, callbacks=[saver]))
    assert len(saver.saved) > 3
    for path in saver.saved:
        assert bits(train(path, name, backend=backend)) == whole, path


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_every_combination_goes_on(tmp_path, backend, count):
    """Every optimizer with every schedule, dropout or none, shuffled or not, either generator."""
    made = list(RUNS.values())
    optimizers = [run["optimizer"] for run in made if "optimizer" in run]
    optimizers = [lambda: SGD(0.1), *{repr(make()): make for make in optimizers}.values()]
    schedules = [Constant(), *(run["schedule"] for run in made if "schedule" in run)]
    generators = lambda: 7, lambda: np.random.RandomState(4)
    found = list(itertools.product(optimizers, schedules, (0.0, 0.3), (True, False), generators))
    rng = np.random.default_rng(SEED)
    chosen = found if FULL else [found[i] for i in rng.choice(len(found), 40, replace=False)]
    for optimizer, schedule, dropout, shuffle, generator in chosen:
        run = {"optimizer": optimizer, "schedule": schedule, "dropout": dropout,
               "shuffle": shuffle, "rng": generator, "epochs": 5}  # fmt: skip
        saver = ModelCheckpoint(tmp_path / "net-{epoch}.npz")
        whole = bits(train(tmp_path / "last.npz", run, backend=backend, callbacks=[saver]))
        begin = tmp_path / f"net-{rng.integers(1, 5)}.npz"
        told = f"{optimizer()}, {run}, from {begin.name}, FASTMLP_TEST_SEED={SEED}"
        assert len(saver.saved) == 5, told
        assert bits(train(begin, run, backend=backend)) == whole, told
        for file in tmp_path.iterdir():
            file.unlink()
    count(f"combinations resumed, {backend}", len(chosen), len(found))


def test_the_table_of_epochs_goes_on(tmp_path):
    path, saver = tmp_path / "run.csv", ModelCheckpoint(tmp_path / "net-{epoch}.npz")
    name = "the best accuracy"
    train(tmp_path / "last.npz", name, callbacks=[saver, CSVLogger(path)])
    whole = [line.rsplit(",", 1)[0] for line in path.read_text().splitlines()]
    assert len(whole) == 1 + EPOCHS
    assert whole[0] == "epoch,loss,accuracy,val_loss,val_accuracy,val_f1,learning_rate"
    path.write_text("epoch\n1\n2\n3\n4\n5\n6,0.1")  # it was killed within a line
    train(saver.saved[4], name, callbacks=[CSVLogger(path)])
    assert [line.rsplit(",", 1)[0] for line in path.read_text().splitlines()] == whole


def test_the_best_of_a_resumed_run_counts(tmp_path):
    def best_of(path, saved):
        saver = ModelCheckpoint(tmp_path / saved, best_only=True)
        train(path, "the best accuracy", callbacks=[saver])
        return [Path(file).name.rsplit("-")[-1] for file in saver.saved]

    each = ModelCheckpoint(tmp_path / "net-{epoch}.npz")
    train(tmp_path / "last.npz", "the best accuracy", callbacks=[each])
    whole = best_of(tmp_path / "whole.npz", "whole-{epoch}")
    resumed = best_of(each.saved[2], "resumed-{epoch}")
    assert resumed == [epoch for epoch in whole if int(epoch) > 3]


def test_a_finished_run_stays_as_it_is(tmp_path):
    for name in ("cosine decay", "early stopping", "the best accuracy"):
        net = train(tmp_path / "net.npz", name)
        net.save(tmp_path / "net.npz")
        before = bits(net)
        assert bits(train(tmp_path / "net.npz", name)) == before
        (tmp_path / "net.npz").unlink()


def test_another_fit_is_not_a_run_resumed():
    net = MLP((6, 3), rng=0, backend="numpy")
    net.fit(X, LABELS, epochs=2)
    with pytest.raises(ValueError, match="resume: expected a fit that measures accuracy, learning"):
        net.fit(X, LABELS, epochs=4, validation_split=0.1, resume=True)
    with pytest.raises(TypeError, match="resume: expected True or False, got 1"):
        net.fit(X, LABELS, epochs=4, resume=1)
    assert len(net.fit(X, LABELS, epochs=4, resume=True)) == 4
    assert len(net.fit(X, LABELS, epochs=4, resume=True)) == 4
    assert len(net.fit(X, LABELS, epochs=1)) == 1


def test_a_header_of_another_kind_of_run_is_refused(tmp_path):
    path = tmp_path / "net.npz"
    net = train(path, "legacy stream")
    net.save(path)
    with np.load(path) as archive:
        arrays = dict(archive)
    header = json.loads(arrays["header"].tobytes())
    for wrong in (
        {"held_out": 3},
        {"held_out": {"kind": "Generator", "state": {}}},
        {"best": True},
    ):
        text = json.dumps(header | wrong).encode()
        np.savez(path, **arrays | {"header": np.frombuffer(text, np.uint8)})
        with pytest.raises(ValueError, match="path: expected a network saved by fastmlp"):
            MLP.load(path)
