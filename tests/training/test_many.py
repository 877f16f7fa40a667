"""fit_many: every network as if it were alone, and nothing of it twice in memory."""

from __future__ import annotations

import inspect
import threading
import time
import tracemalloc

import numpy as np
import pytest
from many import LABELS, RNG, X, flat, make, several

import fastmlp
from fastmlp import MLP, SGD, Adam, EarlyStopping, RMSProp, fit_many
from fastmlp.callbacks import Callback, TerminateOnNaN

PIXELS = (RNG.integers(0, 256, (400, 40)) * (RNG.random((400, 40)) < 0.2)).astype(np.uint8)
KINDS = RNG.integers(0, 3, 400)
HELD = (X[:60] + 1, LABELS[:60])


def numbers(history) -> dict:
    return {name: v for name, v in history.as_dict().items() if name != "seconds"}


# as alone


class Recorder(Callback):
    """Keep what it hears; draw from the network's generator, as only its own thread may."""

    def __init__(self):
        self.losses, self.threads, self.workers = [], set(), set()

    def on_epoch_end(self, epoch, logs):
        self.losses.append((logs["loss"], self.net.predict(X[:5]).tolist()))
        self.threads.add(self.net.threads)
        self.workers.add(threading.current_thread().name)


def zoo(x: np.ndarray) -> list[MLP]:
    d = x.shape[1]
    scale = {"input_scale": 255.0} if x.dtype == np.uint8 else {}
    kinds = [
        {"layer_sizes": (d, 32, 3), "activation": "relu"},
        {"layer_sizes": (d, 32, 3), "activation": "relu", "threads": 2},
        {"layer_sizes": (d, 3), "dtype": "float64"},
        {"layer_sizes": (d, 48, 16, 3), "activation": ("tanh", "gelu"), "dtype": "float64"},
        {"layer_sizes": (d, 7, 3), "output": "sigmoid", "bias": False},
        {"layer_sizes": (d, 9, 3), "backend": "numpy"},
    ]
    made = [MLP(**kind, **scale, rng=seed) for seed, kind in enumerate(kinds)]
    made.append(MLP((d, 5, 3), **scale, rng=np.random.RandomState(7)))
    return made


FITS = {
    "batches": {"optimizer": Adam(0.01), "epochs": 3},
    "optimizers": {
        "optimizer": ["sgd", SGD(0.01, momentum=0.9), Adam(), "adagrad", RMSProp(), None, "adamw"],
        "epochs": [4, 3, 2, 1, 0, 2, 3], "batch_size": [64, 1, 32, None, 7, 50, 1],
        "schedule": ["cosine_decay", None, None, "one_cycle", None, "step_decay", None],
    },
    "full batch": {"batch_size": None, "epochs": 4, "l2": 1e-3},
    "one sample": {"batch_size": 1, "epochs": 2},
    "regularized": {
        "dropout": [0.2, (0.5,), 0.0, (0.1, 0.3), 0.0, 0.3, 0.1], "clip_norm": 1.0, "epochs": 2,
        "l1": [0, 0, 1e-3, 0, 0, 0, 0],
    },
    "weighted": {"class_weight": {0: 2.0}, "sample_weight": "weights", "epochs": 2},
    "held out": {"validation_split": 0.2, "metrics": ("accuracy",), "epochs": 3},
    "stopped": {"early_stopping": EarlyStopping(patience=2), "epochs": 20, "batch_size": 16},
    "validated": {
        "validation_data": "same", "early_stopping": True, "epochs": 5, "shuffle": False,
    },
}  # fmt: skip


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("name", FITS)
def test_each_network_is_trained_as_alone(name, sparse, four_cores):
    x, y = (PIXELS, KINDS) if sparse else (X, LABELS)
    options = dict(FITS[name])
    if "validation_data" in options:
        options["validation_data"] = (x[:90], y[:90])
    if "sample_weight" in options:
        options["sample_weight"] = np.linspace(0, 2, len(y))
    if "schedule" in options:
        options["schedule"] = [
            {"cosine_decay": fastmlp.CosineDecay(), "one_cycle": fastmlp.OneCycle(),
             "step_decay": fastmlp.StepDecay()}.get(schedule) for schedule in options["schedule"]
        ]  # fmt: skip
    together, alone = zoo(x), zoo(x)
    histories = fit_many(together, x, y, **options)
    for i, (net, twin, history) in enumerate(zip(together, alone, histories, strict=True)):
        own = {k: v[i] if isinstance(v, list) else v for k, v in options.items()}
        expected = twin.fit(x, y, **own)
        np.testing.assert_array_equal(flat(net), flat(twin))
        assert numbers(history) == numbers(expected)
        assert history is net.history
        assert net.optimizer == twin.optimizer
        assert net._state.step == twin._state.step
        assert net.threads == twin.threads
        again = {"epochs": 1, "batch_size": 32}
        assert net.fit(x, y, **again).loss == twin.fit(x, y, **again).loss


def test_callbacks_hear_their_own_network_on_one_thread(four_cores):
    nets = [MLP((20, 8, 3), rng=seed, threads=2) for seed in range(6)]
    twins = [MLP((20, 8, 3), rng=seed) for seed in range(6)]
    recorders = [Recorder() for _ in nets]
    stopping = [EarlyStopping(patience=1 + i) for i in range(6)]
    fit_many(nets, X, LABELS, validation_data=HELD, epochs=8, optimizer=SGD(2.0),
             early_stopping=stopping,
             callbacks=[[recorder, TerminateOnNaN()] for recorder in recorders])  # fmt: skip
    for net, twin, recorder, own in zip(nets, twins, recorders, stopping, strict=True):
        expected, patience = Recorder(), EarlyStopping(patience=own.patience)
        twin.fit(X, LABELS, validation_data=HELD, epochs=8, optimizer=SGD(2.0),
                 early_stopping=patience, callbacks=[expected])  # fmt: skip
        assert recorder.losses == expected.losses
        assert (own.best, own.best_epoch) == (patience.best, patience.best_epoch)
        np.testing.assert_array_equal(flat(net), flat(twin))
        assert recorder.threads == {1}
        assert len(recorder.workers) == 1
        assert net.threads == 2
    assert len({w for r in recorders for w in r.workers}) > 1


def test_chunks_are_gone_through_by_each(four_cores):
    chunks = [(X[:100], LABELS[:100]), (X[100:], LABELS[100:])]
    for source in (chunks, lambda: iter(chunks)):
        nets, twins = several(), several()
        histories = fit_many(nets, source, epochs=2, schedule=fastmlp.OneCycle())
        for net, twin, history in zip(nets, twins, histories, strict=True):
            expected = twin.fit(source, epochs=2, schedule=fastmlp.OneCycle())
            np.testing.assert_array_equal(flat(net), flat(twin))
            assert history.loss == expected.loss
    with pytest.raises(TypeError, match="X: expected chunks that every network can go through"):
        fit_many(several(), iter(chunks), epochs=1)


def test_a_sequence_goes_on_where_it_was():
    nets, twins = several(2), several(2)
    for _ in range(2):
        fit_many(nets, X, LABELS, epochs=2, optimizer=None)
    for net, twin in zip(nets, twins, strict=True):
        for _ in range(2):
            twin.fit(X, LABELS, epochs=2)
        np.testing.assert_array_equal(flat(net), flat(twin))


def test_frames_and_lists_are_read_as_by_fit():
    net, twin = make(), make()
    fit_many([net], X.tolist(), LABELS.tolist(), epochs=1, validation_data=[HELD])
    twin.fit(X.tolist(), LABELS.tolist(), epochs=1, validation_data=HELD)
    np.testing.assert_array_equal(flat(net), flat(twin))
    assert net.history.val_loss == twin.history.val_loss


def test_no_networks():
    assert fit_many([], X, LABELS) == []


# arguments


def test_every_argument_of_fit_is_taken_with_its_default():
    ours, fits = inspect.signature(fit_many).parameters, inspect.signature(MLP.fit).parameters
    assert set(ours) - set(fits) == {"nets", "workers", "client"}
    assert set(fits) - set(ours) == {"self"}
    for name in set(fits) & set(ours):
        assert (ours[name].default, ours[name].kind) == (fits[name].default, fits[name].kind), name


ONE = several(1)[0]
SHARED_RNG = np.random.default_rng(0)
WRONG = {
    "nets": (TypeError, r"nets: expected a sequence of MLP, got MLP", {"nets": ONE}),
    "net": (TypeError, r"nets\[1\]: expected an MLP, got str", {"nets": [ONE, "net"]}),
    "twice": (ValueError, r"nets\[1\]: expected another network than .* nets\[0\]",
              {"nets": [ONE, ONE]}),
    "one rng": (ValueError, r"nets\[1\]: expected another random generator than .* nets\[0\]",
                {"nets": [MLP((20, 3), rng=SHARED_RNG, backend="numpy") for _ in range(2)]}),
    "one source": (ValueError, r"nets\[1\]: expected another random generator",
                   {"nets": [MLP((20, 3), rng=np.random.Generator(SHARED_RNG.bit_generator))
                             for _ in range(2)]}),
    "one legacy": (ValueError, r"nets\[1\]: expected another random generator",
                   {"nets": [MLP((20, 3), rng=np.random.mtrand._rand) for _ in range(2)]}),
    "short list": (ValueError, r"l2: expected a list of 3, one value per network, got 2; .* tuple",
                   {"l2": [0.1, 0.2]}),
    "last value": (ValueError, r"nets\[2\]: l2: expected a number at least 0.0, got -1",
                   {"l2": [0, 0, -1]}),
    "last optimizer": (ValueError, r"nets\[2\]: optimizer", {"optimizer": [None, None, "adm"]}),
    "array": (TypeError, r"nets\[0\]: l2: expected a number", {"l2": np.array([0, 0, 0])}),
    "X": (ValueError, r"nets\[0\]: X: expected 20 features, got 19", {"X": X[:, 1:]}),
    "y": (ValueError, r"nets\[0\]: y: expected 300 rows", {"y": LABELS[1:]}),
    "validation_data": (ValueError, r"nets\[1\]: validation_data: X: expected 20 features",
                        {"validation_data": [None, (X[:, 1:], LABELS), None]}),
    "split": (ValueError, r"nets\[2\]: validation_split: expected a share",
              {"validation_split": [0, 0.5, 0.001]}),
    "monitor": (ValueError, r"nets\[0\]: monitor: expected one of", {"early_stopping":
                EarlyStopping("val_f1"), "validation_data": HELD}),
    "callbacks": (ValueError, r"nets\[1\]: callbacks: expected objects of its own, .* got the "
                  r"TerminateOnNaN of nets\[0\]", {"callbacks": (TerminateOnNaN(),)}),
    "early stopping": (ValueError, r"nets\[1\]: early_stopping: expected objects of its own",
                       {"early_stopping": [EarlyStopping()] * 3}),
    "workers": (ValueError, "workers: expected an integer of at least 1", {"workers": 0}),
    "no integer": (TypeError, "workers: expected an integer", {"workers": 1.0}),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_named_and_nothing_is_changed(case):
    error, message, arguments = case
    arguments = {"nets": several(), "X": X, "y": LABELS} | arguments
    nets = [net for net in np.atleast_1d(arguments["nets"]) if isinstance(net, MLP)]
    before = [(flat(n), str(n._rng.__getstate__()), n.history, n.optimizer) for n in nets]
    with pytest.raises(error, match=message):
        fit_many(**{"optimizer": Adam(0.5)} | arguments)
    for net, (parameters, rng, history, optimizer) in zip(nets, before, strict=True):
        np.testing.assert_array_equal(flat(net), parameters)
        assert str(net._rng.__getstate__()) == rng
        assert net.history is history
        assert net.optimizer is optimizer


def test_one_early_stopping_for_all_is_copied():
    stopping, nets = EarlyStopping(patience=2), several()
    fit_many(nets, X, LABELS, epochs=3, early_stopping=stopping)
    assert stopping.best_epoch is None
    assert all(len(net.history.val_loss) == 3 for net in nets)


# what is used


class Counts(Callback):
    """Count how many networks are under way; the first wait for as many as are expected."""

    changed, expected, now, most = threading.Condition(), 0, 0, 0

    def on_train_begin(self, logs):
        with Counts.changed:
            Counts.now += 1
            Counts.most = max(Counts.most, Counts.now)
            Counts.changed.notify_all()
            assert Counts.changed.wait_for(lambda: Counts.most >= Counts.expected, 60)

    def on_epoch_end(self, epoch, logs):
        time.sleep(0.01)  # one more than may train would come in between

    def on_train_end(self, logs):
        with Counts.changed:
            Counts.now -= 1


@pytest.mark.parametrize("backend", ["numba", "numpy"])
@pytest.mark.parametrize(("workers", "expected"), [(None, 4), (1, 1), (3, 3), (99, 4)])
def test_no_more_train_at_once_than_may(workers, expected, backend, four_cores):
    Counts.expected, Counts.now, Counts.most = expected, 0, 0
    nets = [MLP((20, 3), rng=i, backend=backend) for i in range(9)]
    fit_many(nets, X, LABELS, epochs=2, workers=workers, callbacks=[[Counts()] for _ in nets])
    assert Counts.most == expected
    for thread in threading.enumerate():
        if thread.name.startswith("fastmlp"):
            thread.join(60)
            assert not thread.is_alive()


def test_the_data_are_not_copied(four_cores):
    x = np.random.default_rng(1).random((20_000, 200), np.float32)  # 16 MB
    y = (x[:, 0] > 0.5).astype(np.int8)
    nets = [MLP((200, 8, 2), rng=seed, dtype=("float32", "float64")[seed % 2]) for seed in range(8)]
    fit_many(nets, x[:600], y[:600], epochs=1)  # what is compiled is not counted
    tracemalloc.start()
    try:
        fit_many(nets, x, y, epochs=1, validation_data=(x[:10_000], y[:10_000]))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < x.nbytes / 2


def test_the_data_are_checked_once(monkeypatch):
    checked, samples = [], MLP._samples

    def spy(net, x, y, weight):
        checked.append((len(x), net.architecture.dtype))
        return samples(net, x, y, weight)

    monkeypatch.setattr(MLP, "_samples", spy)
    nets = [make(seed, dtype=("float32", "float64")[seed % 2]) for seed in range(6)]
    fit_many(nets, X, LABELS, epochs=1, validation_data=HELD)
    assert sorted(checked) == [(n, dtype) for n in (60, 300) for dtype in ("float32", "float64")]


@pytest.mark.parametrize("form", ["array", "csr", "csc"])
def test_non_zeros_are_listed_once(form, monkeypatch, four_cores):
    from fastmlp.kernels.run import csr_index

    made, ordered = [], []

    def watch(name, calls):
        function = getattr(csr_index, name)

        def spy(*arguments):
            calls.append(arguments[0].shape)
            return function(*arguments)

        monkeypatch.setattr(csr_index, name, spy)

    watch("make_index", made), watch("make_index_of_csr", made), watch("canonical", ordered)
    x, held = PIXELS, (PIXELS[:100].copy(), KINDS[:100])
    if form != "array":
        sparse = pytest.importorskip("scipy.sparse")
        x = getattr(sparse, f"{form}_array")(PIXELS.astype(np.float32))
        held = (sparse.csr_array(held[0].astype(np.float32)), held[1])
    nets = [MLP((40, 16, 3), rng=seed, input_scale=255.0) for seed in range(6)]
    twins = [MLP((40, 16, 3), rng=seed, input_scale=255.0) for seed in range(6)]
    fit_many(nets, x, KINDS, epochs=3, validation_data=held)
    assert sorted(made) == [(100, 40), (400, 40)]
    assert len(ordered) == (0 if form == "array" else 2)
    for net, twin in zip(nets, twins, strict=True):
        twin.fit(x, KINDS, epochs=3, validation_data=held)
        np.testing.assert_array_equal(flat(net), flat(twin))
    assert len(made) == 2 + 12  # alone each lists its own: nothing is kept after the call


def test_what_is_shared_is_bounded_and_forgotten():
    from fastmlp.kernels.run.sharing import shared, sharing

    a, b, made = np.zeros(1), np.zeros(1), []

    def make(value):
        return lambda: made.append(value) or value

    with sharing([a], most=2):
        assert [shared(a, key, make(key)) for key in (1, 2, 1, 2)] == [1, 2, 1, 2]
        assert made == [1, 2]
        assert [shared(a, key, make(key)) for key in (3, 2, 1)] == [3, 2, 1]
        assert made == [1, 2, 3, 1]  # 1 had to go
        shared(b, 1, make("b")), shared(b, 1, make("b"))
        assert made[4:] == ["b", "b"]
    shared(a, 1, make("after"))
    assert made[6:] == ["after"]


# progress


def test_one_bar_over_all_epochs(capsys):
    nets = several(3)
    fit_many(nets, X, LABELS, epochs=[2, 3, 4], progress=True)
    shown = capsys.readouterr().err
    last = shown.split("\r")[-1]
    assert "networks 3/3" in last
    assert "100%|" in last
    assert "epochs/s" in last
    assert shown.count("\n") == 1


def test_a_fit_that_stops_early_fills_its_part_of_the_bar(capsys):
    class Stops(Callback):
        def on_epoch_end(self, epoch, logs):
            self.net.stop_training = True

    fit_many(several(2), X, LABELS, epochs=5, callbacks=[Stops(), ()], progress=True)
    assert "100%|" in capsys.readouterr().err.split("\r")[-1]
    fit_many(several(2), X, LABELS, epochs=5)
    assert capsys.readouterr().err == ""
