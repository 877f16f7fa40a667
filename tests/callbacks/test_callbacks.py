"""Around the steps: hooks, stopping, checkpoints, logs, metrics, Ctrl-C, the rate finder."""

from __future__ import annotations

import csv
import io
import os
import signal
import sys
import threading
from functools import partial

import numpy as np
import pytest

import fastmlp
from fastmlp import MLP, SGD, Adam, EarlyStopping, ModelCheckpoint
from fastmlp.callbacks import (
    Callback,
    CSVLogger,
    LearningRateFinder,
    LearningRates,
    ProgressBar,
    TerminateOnNaN,
)
from fastmlp.callbacks.base import Monitor
from fastmlp.metrics import METRICS, Metric
from fastmlp.training.history import History
from fastmlp.training.samples import hold_out

BACKENDS = ("numpy", "numba")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 6))
LABELS = np.digitize(X[:, 0] + X[:, 1] ** 2, [0.3, 1.3])
HELD = X[60:], LABELS[60:]


@pytest.fixture(params=BACKENDS)
def backend(request):
    return request.param


def make(backend="numpy", layers=(6, 16, 3), **options) -> MLP:
    return MLP(layers, backend=backend, **{"rng": 1, "dtype": "float64", **options})


def flat(net) -> np.ndarray:
    return np.concatenate([a.ravel() for a in (*net.weights, *net.biases)])


# hooks


class Recorder(Callback):
    def __init__(self, fail_at=None):
        self.calls, self.fail_at = [], fail_at

    def _note(self, name, *arguments):
        self.calls.append((name, *arguments))
        if name == self.fail_at:
            raise RuntimeError(name)

    def on_train_begin(self, logs):
        self._note("train_begin", dict(logs))

    def on_train_end(self, logs):
        self._note("train_end", dict(logs))

    def on_epoch_begin(self, epoch, logs):
        self._note("epoch_begin", epoch)

    def on_epoch_end(self, epoch, logs):
        self._note("epoch_end", epoch, dict(logs))

    def on_batch_group_begin(self, step, logs):
        self._note("group_begin", step)

    def on_batch_group_end(self, step, logs):
        self._note("group_end", step, dict(logs))

    def close(self):
        self._note("close")


def test_hooks_come_in_order_with_what_the_history_has(backend):
    net, seen = make(backend), Recorder()
    history = net.fit(X, LABELS, epochs=2, batch_size=20, validation_data=HELD, callbacks=[seen])
    assert seen.net is net
    assert seen.params == {"epochs": 2, "batch_size": 20, "steps": 5, "samples": 90}
    names = [call[0] for call in seen.calls]
    assert names[:2] == ["train_begin", "epoch_begin"]
    assert names[-3:] == ["epoch_end", "train_end", "close"]
    groups = [c for c in seen.calls if c[0].startswith("group")]
    assert [c[0] for c in groups[::2]] == ["group_begin"] * (len(groups) // 2)
    ends = [c for c in groups if c[0] == "group_end"]
    assert sum(c[2]["samples"] for c in ends) == 180
    assert {c[1] for c in ends} <= set(range(1, 6))
    assert ends[-1][1] == 5
    first = seen.calls[: names.index("epoch_end")]
    parts = [c[2] for c in first if c[0] == "group_end"]
    mean = sum(p["loss"] * p["samples"] for p in parts) / 90
    assert mean == pytest.approx(history.loss[0], rel=1e-12)
    epochs = [c for c in seen.calls if c[0] == "epoch_end"]
    assert [c[1] for c in epochs] == [0, 1]
    for _, epoch, logs in epochs:
        assert logs == {name: values[epoch] for name, values in history.as_dict().items()}
    assert seen.calls[-2][1] == epochs[-1][2]


def test_callbacks_change_no_bits(backend):
    plain, watched = make(backend), make(backend)
    plain.fit(X, LABELS, epochs=3, batch_size=16, optimizer=Adam(0.01))
    watched.fit(X, LABELS, epochs=3, batch_size=16, optimizer=Adam(0.01), callbacks=[Recorder()])
    np.testing.assert_array_equal(flat(plain), flat(watched))


@pytest.mark.parametrize("where", ["train_begin", "epoch_begin", "group_begin", "group_end",
                                   "epoch_end", "train_end"])  # fmt: skip
def test_a_callback_that_raises_leaves_a_usable_network(backend, where):
    net, seen, twin = make(backend), Recorder(fail_at=where), make(backend)
    with pytest.raises(RuntimeError, match=where):
        net.fit(X, LABELS, epochs=3, batch_size=90, shuffle=False, optimizer=Adam(0.01),
                callbacks=[seen])  # fmt: skip
    assert seen.calls[-1] == ("close",)
    steps = {"train_begin": 0, "epoch_begin": 0, "group_begin": 0, "train_end": 3}.get(where, 1)
    assert net._state.step == steps
    twin.fit(X, LABELS, epochs=steps, batch_size=90, shuffle=False, optimizer=Adam(0.01))
    np.testing.assert_array_equal(flat(net), flat(twin))
    lengths = {len(v) for v in net.history.as_dict().values() if v}
    assert lengths <= {len(net.history)}
    net.fit(X, LABELS, epochs=1, batch_size=90, shuffle=False)
    assert net._state.step == steps + 1


class StopAt(Callback):
    def __init__(self, hook, count=1):
        self.hook, self.left = hook, count
        setattr(self, hook, self._hook)

    def _hook(self, *_):
        self.left -= 1
        self.net.stop_training = self.left <= 0


@pytest.mark.parametrize(
    ("hook", "epochs"),
    [("on_train_begin", 0), ("on_epoch_begin", 0), ("on_batch_group_end", 1), ("on_epoch_end", 1)],
)
def test_any_hook_can_stop_the_training(backend, hook, epochs):
    net = make(backend)
    history = net.fit(X, LABELS, epochs=5, batch_size=1, callbacks=[StopAt(hook)])
    assert len(history) == epochs
    assert not history.interrupted
    if hook == "on_batch_group_end":
        assert net._state.step < 90
    assert len(net.fit(X, LABELS, epochs=2)) == 2  # another fit begins anew


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda net: setattr(net, "optimizer", SGD(0.3)), "optimizer: in fit, expected a schedule"),
        (lambda net: setattr(net, "optimizer", "adam"), "optimizer: in fit, expected a schedule"),
        (lambda net: net.fit(X, LABELS, epochs=1), "fit: expected a network that is not being"),
    ],
)
@pytest.mark.parametrize("hook", ["on_train_begin", "on_batch_group_end", "on_epoch_end"])
def test_a_callback_cannot_start_over(backend, hook, act, message):
    """What fit has read once, a change would miss; so it is refused, and nothing is changed."""
    callback = Callback()
    refusals = []

    def refused(*_):
        before = callback.net._state.step, len(callback.net.history)
        with pytest.raises(ValueError, match=message):
            act(callback.net)
        refusals.append(before == (callback.net._state.step, len(callback.net.history)))

    setattr(callback, hook, refused)
    nets = [MLP((6, 5, 3), rng=3, backend=backend) for _ in range(2)]
    histories = [
        net.fit(X, LABELS, epochs=3, callbacks=callbacks)
        for net, callbacks in zip(nets, ((), [callback]), strict=True)
    ]
    assert refusals
    assert all(refusals)
    assert histories[0].loss == histories[1].loss
    for ours, theirs in zip(nets[0].weights, nets[1].weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    nets[1].optimizer = "adam"
    assert len(nets[1].fit(X, LABELS, epochs=1)) == 1


def test_one_callback_needs_no_list():
    seen = Recorder()
    make().fit(X, LABELS, epochs=1, callbacks=seen)
    assert seen.calls


# Ctrl-C


class Interrupt(Callback):
    def __init__(self, epoch):
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs):
        if epoch == self.epoch:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.usefixtures("ctrl_c_is_heard")
def test_ctrl_c_returns_the_history_so_far(backend):
    net, twin = make(backend), make(backend)
    with pytest.warns(RuntimeWarning, match="interrupted after 2 whole epochs") as caught:
        history = net.fit(X, LABELS, epochs=9, callbacks=[Interrupt(2)])
    assert caught[0].filename == __file__
    assert history.interrupted
    assert net.history is history
    assert len(history) == 2
    twin.fit(X, LABELS, epochs=2)
    np.testing.assert_array_equal(flat(net), flat(twin))
    assert not net.fit(X, LABELS, epochs=3, resume=True).interrupted
    assert not net.fit(X, LABELS, epochs=1).interrupted


@pytest.mark.usefixtures("ctrl_c_is_heard")
def test_ctrl_c_waits_for_the_end_of_a_step(backend, monkeypatch):
    """The signal comes while steps are running: they are finished, and counted."""
    from fastmlp.training import samples

    net, segments = make(backend), samples.ArraySamples.segments

    def interrupting(self):
        for segment in segments(self):
            train = segment.train

            def during(*arguments, train=train):
                signal.raise_signal(signal.SIGINT)
                result = train(*arguments)
                assert net._state.step == 1  # not reached if the signal came through at once
                return result

            segment.train = during
            yield segment

    monkeypatch.setattr(samples.ArraySamples, "segments", interrupting)
    before, after = signal.getsignal(signal.SIGINT), flat(net)
    with pytest.warns(RuntimeWarning, match="after 0 whole epochs"):
        history = net.fit(X, LABELS, epochs=9, batch_size=16, optimizer=Adam(0.01))
    assert history.interrupted
    assert net._state.step == 1
    assert not np.array_equal(flat(net), after)
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.usefixtures("ctrl_c_is_ignored")
def test_ctrl_c_that_is_ignored_stays_so(backend):
    net, twin = make(backend), make(backend)
    history = net.fit(X, LABELS, epochs=3, callbacks=[Interrupt(1)])
    assert not history.interrupted
    assert len(history) == 3
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    twin.fit(X, LABELS, epochs=3)
    np.testing.assert_array_equal(flat(net), flat(twin))


def test_fit_runs_in_another_thread():
    net, done = make(), []
    thread = threading.Thread(target=lambda: done.append(net.fit(X, LABELS, epochs=2)))
    thread.start()
    thread.join()
    assert len(done[0]) == 2


# early stopping


class Keeper(Callback):
    """Keep the parameters after every epoch."""

    def __init__(self):
        self.parameters = []

    def on_epoch_end(self, epoch, logs):
        self.parameters.append(flat(self.net))


SCRIPTS = {
    "waits": ([5, 4, 6, 6, 3, 6, 6, 6], {"patience": 3}, 4, 7),
    "no patience": ([5, 4, 4, 1], {"patience": 0}, 1, 2),
    "small steps": ([5.0, 4.95, 4.9, 4.0], {"patience": 2, "min_delta": 0.2}, 0, 2),
    "upwards": ([1, 2, 2, 1], {"patience": 2, "mode": "max"}, 1, 3),
    "NaN": ([5, np.nan, np.nan, 1], {"patience": 2}, 0, 2),
    "never": ([5, 4, 3, 2], {"patience": 1}, 3, None),
}


@pytest.mark.parametrize("restore", [True, False])
@pytest.mark.parametrize("case", SCRIPTS)
def test_early_stopping_follows_the_numbers(case, restore, monkeypatch):
    numbers, options, best, stopped = SCRIPTS[case]
    stopping = EarlyStopping(restore_best=restore, **options)
    script = iter(numbers)
    improved = Monitor.improved
    monkeypatch.setattr(
        Monitor, "improved", lambda self, logs: improved(self, {"val_loss": next(script)})
    )
    kept = Keeper()
    net = make()
    history = net.fit(
        X, LABELS, epochs=len(numbers), validation_data=HELD, early_stopping=stopping,
        callbacks=[kept],
    )  # fmt: skip
    assert (stopping.best_epoch, stopping.stopped_epoch) == (best, stopped)
    assert stopping.best == numbers[best]
    assert len(history) == len(kept.parameters) == (stopped or len(numbers) - 1) + 1
    expected = kept.parameters[best if restore else -1]
    np.testing.assert_array_equal(flat(net), expected)


def test_early_stopping_ends_an_overfitting_run_at_its_best(backend):
    net, stopping = make(backend, layers=(6, 64, 3)), EarlyStopping(patience=5)
    y = RNG.integers(0, 3, 90)  # nothing to be learnt
    history = net.fit(
        X[:60], y[:60], epochs=300, optimizer=Adam(0.01), validation_data=(X[60:], y[60:]),
        early_stopping=stopping,
    )  # fmt: skip
    assert len(history) == stopping.best_epoch + 6 < 300
    best = net.evaluate(X[60:], y[60:])["loss"]
    assert best == pytest.approx(min(history.val_loss), rel=1e-12)
    assert best < history.val_loss[-1]


def test_what_is_watched_can_be_chosen():
    net, stopping = make(), EarlyStopping("val_f1", patience=1)
    history = net.fit(
        X, LABELS, epochs=50, validation_data=HELD, metrics=["f1"], early_stopping=stopping
    )
    assert stopping.best == max(history["val_f1"])
    train = EarlyStopping("loss", patience=2)  # needs no validation data
    assert make().fit(X, LABELS, epochs=3, early_stopping=train).val_loss == []
    assert train.best_epoch == 2
    with pytest.raises(ValueError, match="mode: expected 'min' or 'max' for 'val_gain'"):
        EarlyStopping("val_gain")
    assert EarlyStopping("val_gain", mode="max").monitor == "val_gain"


@pytest.mark.usefixtures("ctrl_c_is_heard")
def test_ctrl_c_brings_the_best_parameters_back():
    net, stopping, kept = make(), EarlyStopping(), Keeper()
    with pytest.warns(RuntimeWarning, match="interrupted"):
        net.fit(X[:60], LABELS[:60] * 0, epochs=9, optimizer=SGD(50.0), validation_data=HELD,
                early_stopping=stopping, callbacks=[kept, Interrupt(5)])  # fmt: skip
    assert stopping.best_epoch < 4
    np.testing.assert_array_equal(flat(net), kept.parameters[stopping.best_epoch])


def counts(y) -> list[int]:
    return np.bincount(y, minlength=3).tolist()


@pytest.mark.parametrize("shape", ["labels", "rows", "one column"])
def test_a_split_for_early_stopping_is_stratified(shape, monkeypatch):
    y = np.repeat([0, 1, 2], [300, 80, 20])
    RNG.shuffle(y)
    x, net = RNG.normal(size=(400, 6)), make()
    targets = y
    if shape == "rows":
        targets = 0.9 * np.eye(3)[y] + 0.1 / 3
    elif shape == "one column":
        y = np.minimum(y, 1)
        net, targets = make(layers=(6, 4, 1), output="sigmoid"), y
    seen = {}
    from fastmlp.training import trainer

    draw = trainer.hold_out

    def spy(*arguments, **options):
        seen["rows"], seen["held"] = draw(*arguments, **options)
        return seen["rows"], seen["held"]

    monkeypatch.setattr(trainer, "hold_out", spy)
    history = net.fit(x, targets, epochs=1, early_stopping=True)
    assert len(history.val_loss) == 1
    assert counts(y[seen["held"]]) == ([30, 10, 0] if shape == "one column" else [30, 8, 2])
    np.testing.assert_array_equal(np.sort(np.concatenate(list(seen.values()))), np.arange(400))
    first = seen["held"]
    other = make(layers=net.layer_sizes, output=net.architecture.output, rng=2)
    other.fit(x, targets, epochs=1, early_stopping=True, validation_split=0.25)
    assert len(seen["held"]) == 100
    assert not np.isin(first, seen["held"]).all()


@pytest.mark.parametrize("columns", [1, 2, 3])
def test_soft_targets_are_stratified_by_their_first_largest_class(columns):
    y = RNG.integers(0, 3, (60, columns)) / 2
    labels = y.argmax(axis=1) if columns > 1 else (y.ravel() == 1).astype(int)
    for seed in range(5):
        soft, hard = (
            hold_out(np.random.default_rng(seed), targets, 0.3, by_class=True)
            for targets in (y, labels)
        )
        for ours, theirs in zip(soft, hard, strict=True):
            np.testing.assert_array_equal(ours, theirs)


# files


def test_checkpoints_hold_what_a_run_goes_on_from(backend, tmp_path):
    whole, broken = make(backend), make(backend)
    options = {"batch_size": 16, "optimizer": Adam(0.01), "dropout": 0.2}
    whole.fit(X, LABELS, epochs=4, **options)
    saver = ModelCheckpoint(tmp_path / "net-{epoch:02d}.npz")
    broken.fit(X, LABELS, epochs=2, callbacks=[saver], **options)
    assert saver.saved == [str(tmp_path / f"net-0{k}.npz") for k in (1, 2)]
    resumed = MLP.load(saver.saved[1], backend=backend)
    assert len(resumed.history) == 2
    resumed.fit(X, LABELS, epochs=2, batch_size=16, dropout=0.2)
    np.testing.assert_array_equal(flat(resumed), flat(whole))


def test_checkpoints_of_the_best_alone(tmp_path):
    saver = ModelCheckpoint(
        tmp_path / "{epoch}-{val_accuracy:.4f}.npz", monitor="val_accuracy", best_only=True
    )
    history = make().fit(
        X, LABELS, epochs=12, optimizer=SGD(1.0), validation_data=HELD, callbacks=[saver]
    )
    best = np.maximum.accumulate(history.val_accuracy)
    rises = [0, *(1 + np.flatnonzero(np.diff(best)))]
    names = [f"{k + 1}-{history.val_accuracy[k]:.4f}.npz" for k in rises]
    assert [os.path.basename(path) for path in saver.saved] == names
    assert len(names) < 12
    one = ModelCheckpoint(tmp_path / "one.npz")
    net = make()
    net.fit(X, LABELS, epochs=3, callbacks=[one])
    np.testing.assert_array_equal(flat(MLP.load(tmp_path / "one.npz")), flat(net))


def test_a_log_has_a_line_per_epoch(tmp_path):
    path, net = tmp_path / "run.csv", make()
    path.write_text("old\n")
    history = net.fit(
        X, LABELS, epochs=3, validation_data=HELD, metrics=["f1"], callbacks=[CSVLogger(path)]
    )
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row.pop("epoch") for row in rows] == ["1", "2", "3"]
    for k, row in enumerate(rows):
        assert {n: float(v) for n, v in row.items()} == {
            name: values[k] for name, values in history.as_dict().items()
        }
    net.fit(X, LABELS, epochs=1, validation_data=HELD, metrics=["f1"],
            callbacks=[CSVLogger(path, append=True)])  # fmt: skip
    lines = path.read_text().splitlines()
    assert len(lines) == 5
    assert lines[0].startswith("epoch,loss,accuracy,val_loss,val_accuracy,val_f1,learning_rate")
    net.fit(X, LABELS, epochs=1, callbacks=[CSVLogger(path, separator=";")])
    assert path.read_text().startswith("epoch;loss;accuracy;learning_rate;seconds\n1;")


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: ModelCheckpoint(3), lambda: ModelCheckpoint("a", best_only=1),
        lambda: CSVLogger(None), lambda: CSVLogger("a", separator=", "),
        lambda: CSVLogger("a", append="yes"), lambda: EarlyStopping(3),
        lambda: EarlyStopping(patience=-1), lambda: EarlyStopping(patience=1.5),
        lambda: EarlyStopping(min_delta=-1), lambda: EarlyStopping(mode="up"),
        lambda: EarlyStopping(restore_best=1), lambda: EarlyStopping(validation_fraction=1.0),
        lambda: LearningRateFinder(low=0), lambda: LearningRateFinder(low=1, high=0.1),
        lambda: LearningRateFinder(steps=1), lambda: Metric(3),
        lambda: Metric(max, name="val_x"), lambda: Metric(max, name="loss"),
        lambda: Metric(max, of="logits"),
    ],
)  # fmt: skip
def test_arguments_have_their_kinds(wrong):
    with pytest.raises((TypeError, ValueError), match="expected"):
        wrong()


def test_a_bar_of_the_user_s_own_is_the_only_one(capsys):
    make().fit(X, LABELS, epochs=2, validation_data=HELD, callbacks=[ProgressBar()])
    err = capsys.readouterr().err
    assert "epoch 2/2" in err
    assert "val_loss=" in err


@pytest.mark.filterwarnings("ignore:overflow encountered")
@pytest.mark.filterwarnings("ignore:the loss of epoch")
def test_a_diverged_run_can_be_ended_at_once(backend):
    net = make(backend, output="identity", activation="relu")
    history = net.fit(
        100 * X, X[:, :3], epochs=50, batch_size=8, optimizer=SGD(1e4),
        callbacks=[TerminateOnNaN()],
    )  # fmt: skip
    assert len(history) < 5
    assert not np.isfinite(history.loss[-1])


# metrics


def by_definition(name, y_true, y_pred) -> float:
    """Go through classes, or the columns of labels, one by one."""
    if name == "accuracy":
        return np.mean([np.all(a == b) for a, b in zip(y_true, y_pred, strict=True)])
    if name == "mean_absolute_error":
        return np.mean([abs(a - b) for a, b in zip(y_true.flat, y_pred.flat, strict=True)])
    if name == "mean_squared_error":
        return np.mean([(a - b) ** 2 for a, b in zip(y_true.flat, y_pred.flat, strict=True)])
    if name == "r2":
        columns = zip(y_true.T, y_pred.T, strict=True)
        return np.mean([1 - np.mean((a - b) ** 2) / np.var(a) for a, b in columns])
    pairs = [(y_true == k, y_pred == k) for k in range(4)]
    if y_true.ndim == 2:
        pairs = list(zip(y_true.T == 1, y_pred.T == 1, strict=True))
    if name == "balanced_accuracy":
        return np.mean([(a & b).sum() / a.sum() for a, b in pairs if a.any()])
    return np.mean([2 * (a & b).sum() / (a.sum() + b.sum()) for a, b in pairs])


@pytest.mark.parametrize("name", [n for n in METRICS if n != "top_5_accuracy"])
def test_named_metrics_are_what_their_definitions_say(name):
    metric, outputs = METRICS[name]
    a = RNG.random((200, 4))
    y = RNG.integers(0, 3, 200)  # one class is predicted and never right
    if "identity" in outputs:
        expected = by_definition(name, a, a**2)
        assert metric(a, a**2, "identity") == pytest.approx(expected, rel=1e-12)
        return
    assert metric(y, a, "softmax") == pytest.approx(by_definition(name, y, a.argmax(1)), rel=1e-12)
    soft = 0.9 * np.eye(4)[y] + 0.025
    assert metric(soft, a, "softmax") == metric(y, a, "softmax")
    rows = (RNG.random((200, 4)) > 0.6) * 1
    expected = by_definition(name, rows, (a > 0.5) * 1)
    assert metric(rows * 1.0, a, "sigmoid") == pytest.approx(expected, rel=1e-12)


def test_a_metric_has_its_function_s_name():
    assert Metric(partial(max)).name == Metric(max).name == "max"
    assert Metric(max, "most").name == "most"


def test_top_5_accuracy_counts_the_likelier():
    metric, _ = METRICS["top_5_accuracy"]
    outputs = np.tile(np.arange(7.0), (7, 1)) / 21
    assert metric(np.arange(7), outputs, "softmax") == pytest.approx(5 / 7)


def worst(y_true, y_pred):
    return np.abs(y_true - y_pred).max()


def test_metrics_are_of_the_state_after_each_epoch(backend):
    net = make(backend, output="identity", layers=(6, 8, 2))
    y = X[:, :2] ** 2
    history = net.fit(X, y, epochs=3, validation_data=(X[:40], y[:40]),
                      metrics=["r2", worst, Metric(worst, "again", of="outputs")])  # fmt: skip
    assert set(history.metrics) == {"val_r2", "val_worst", "val_again"}
    assert all(len(values) == 3 for values in history.metrics.values())
    assert history["val_worst"] == history["val_again"]
    last = float(worst(y[:40], net.predict(X[:40])))
    assert history["val_worst"][-1] == pytest.approx(last, rel=1e-12)
    assert history.accuracy == history.val_accuracy == []
    without = net.fit(X, y, epochs=2, metrics=[worst])
    assert without["worst"][-1] == pytest.approx(float(worst(y, net.predict(X))), rel=1e-12)
    assert without.val_loss == []


def test_a_classifier_s_metric_sees_labels():
    def errors(y_true, y_pred):
        assert y_true.shape == y_pred.shape == (30,)
        return (y_true != y_pred).sum()

    history = make().fit(X, LABELS, epochs=2, validation_data=HELD, metrics=("accuracy", errors))
    for count, accuracy in zip(history["val_errors"], history.val_accuracy, strict=True):
        assert count == round(30 * (1 - accuracy))
    assert set(history.metrics) == {"val_errors"}


def test_a_metric_that_gives_no_number_is_named():
    with pytest.raises(TypeError, match="metrics: expected a number from pair"):
        make().fit(X, LABELS, epochs=1, metrics=[Metric(lambda a, b: (1, 2), "pair")])


def test_a_history_with_metrics_is_saved(tmp_path):
    net = make()
    history = net.fit(X, LABELS, epochs=2, validation_data=HELD, metrics=["f1"])
    net.save(tmp_path / "net.npz")
    again = MLP.load(tmp_path / "net.npz").history
    assert again == history
    assert again["val_f1"] == history["val_f1"]
    assert History.from_dict(history.as_dict()) == history


def test_a_large_held_out_part_is_read_in_pieces(backend, monkeypatch):
    from fastmlp.training import evaluation

    whole, parts = make(backend), make(backend)
    options = {"epochs": 2, "validation_split": 0.4, "metrics": ["f1"]}
    x = RNG.normal(size=(6000, 6))
    y = RNG.integers(0, 3, 6000)
    first = whole.fit(x, y, **options)
    monkeypatch.setattr(evaluation, "_COPIED_BYTES", 0)
    second = parts.fit(x, y, **options)
    for name in ("val_loss", "val_accuracy", "val_f1"):
        np.testing.assert_allclose(second[name], first[name], rtol=1e-12)
    np.testing.assert_array_equal(flat(whole), flat(parts))


# the range test


def test_the_range_test_finds_a_rate_that_learns_and_changes_nothing(backend):
    net = make(backend, layers=(6, 16, 3), activation="relu")
    before, rng = flat(net), net._rng.bit_generator.state
    found = LearningRateFinder(low=1e-5, high=1e3, steps=120).run(
        net, X, LABELS, batch_size=16, optimizer=SGD(0.5)
    )
    np.testing.assert_array_equal(flat(net), before)
    assert net._rng.bit_generator.state == rng
    assert net._state.step == 0
    ratio = found.learning_rates[1:] / found.learning_rates[:-1]
    np.testing.assert_allclose(ratio, (1e3 / 1e-5) ** (1 / 119))
    assert len(found.losses) < 120  # it ends once the loss has blown up
    assert 1e-3 < found.suggestion < 10
    mean, weight = 0.0, 0.0
    for loss, smoothed in zip(found.losses, found.smoothed, strict=True):
        mean, weight = 0.98 * mean + 0.02 * loss, 0.98 * weight + 0.02
        assert smoothed == pytest.approx(mean / weight, rel=1e-9)
    history = net.fit(X, LABELS, epochs=30, batch_size=16, optimizer=SGD(found.suggestion))
    assert history.loss[-1] < 0.8 * history.loss[0]


def test_the_range_test_is_drawn():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    rates = np.geomspace(1e-3, 1, 4)
    found = LearningRates(rates, np.array([3.0, 2, 1, 9]), np.array([3.0, 2, 1, 2]))
    assert found.suggestion == pytest.approx(0.01)
    axes = found.plot()
    assert axes.get_xlabel() == "learning rate"
    assert [len(line.get_xdata()) for line in axes.lines[:2]] == [4, 4]
    assert found.plot(axes) is axes
    matplotlib.pyplot.close("all")


def test_common_names_are_on_top():
    assert fastmlp.EarlyStopping is fastmlp.callbacks.EarlyStopping
    assert fastmlp.ModelCheckpoint is fastmlp.callbacks.ModelCheckpoint


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("stream", "own", "progress", "bars"),
    [(Terminal, False, None, 1), (Terminal, True, None, 1), (io.StringIO, False, None, 0),
     (io.StringIO, True, None, 1), (lambda: None, False, None, 0), (Terminal, False, False, 0),
     (io.StringIO, False, True, 1)],
)  # fmt: skip
def test_one_bar_is_shown_where_somebody_watches(monkeypatch, stream, own, progress, bars):
    shown, begin = [], ProgressBar.on_train_begin
    monkeypatch.setattr(
        ProgressBar, "on_train_begin", lambda self, logs: shown.append(1) or begin(self, logs)
    )
    monkeypatch.setattr(sys, "stderr", stream())  # without a console there is none
    callbacks = [ProgressBar()] if own else []
    make().fit(X, LABELS, epochs=1, callbacks=callbacks, progress=progress)
    assert len(shown) == bars
