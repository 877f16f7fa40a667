"""Around the steps: hooks, Ctrl-C, progress bars."""

from __future__ import annotations

import io
import re
import signal
import sys
import threading

import numpy as np
import pytest
from classifiers import HELD, LABELS, Interrupt, X, flat, make

import fastmlp
from fastmlp import MLP, SGD, Adam, EarlyStopping, ModelCheckpoint
from fastmlp.callbacks import Callback, CSVLogger, LearningRateFinder, ProgressBar, TerminateOnNaN
from fastmlp.callbacks.progress import new_bar
from fastmlp.metrics import Metric
from fastmlp.support import interrupts

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
        (lambda net: net.fit(X, LABELS, epochs=1), "^this network is being trained already"),
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


@pytest.mark.usefixtures("ctrl_c_is_heard")
def test_one_epoch_is_no_epochs():
    with pytest.warns(RuntimeWarning, match="interrupted after 1 whole epoch; "):
        make().fit(X, LABELS, epochs=9, callbacks=[Interrupt(1)])


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


@pytest.mark.usefixtures("ctrl_c_is_heard")
def test_the_third_ctrl_c_that_comes_late_ends_fit_at_once(monkeypatch):
    def endless(*_):
        for _ in range(3):
            signal.raise_signal(signal.SIGINT)
        pytest.fail("fit went on")

    monkeypatch.setattr(fastmlp.AnnealOnRise, "after_epoch", endless)
    monkeypatch.setattr(interrupts, "_PATIENCE_SECONDS", -1.0)
    with pytest.raises(interrupts.BrokenOff, match="not those of whole steps"):
        make().fit(X, LABELS, epochs=9, schedule="annealonrise")


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


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: ModelCheckpoint(3), lambda: ModelCheckpoint("a", best_only=1),
        lambda: CSVLogger(None), lambda: CSVLogger("a", separator=", "),
        lambda: CSVLogger("a", separator='"'), lambda: CSVLogger("a", separator="\n"),
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


def test_a_bar_of_the_user_s_own_is_the_only_one(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")  # of the terminal, where there is none
    make().fit(X, LABELS, epochs=2, validation_data=HELD, callbacks=[ProgressBar()])
    err = capsys.readouterr().err
    assert "epoch 2/2" in err
    assert "val_loss=" in err


FIGURES = {"loss": 0.031234, "accuracy": 0.99, "val_loss": 0.0812345, "val_accuracy": 0.97654}
FEW = "loss=0.0312 acc=0.990 val_loss=0.0812 val_acc=0.977"
MORE = "loss=0.03123 acc=0.9900 val_loss=0.08123 val_acc=0.9765"
WHOLE = "loss=0.03123 accuracy=0.9900 val_loss=0.08123 val_accuracy=0.9765"


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        (53, FEW), (70, f"epoch 3/10, {FEW}"), (74, f"epoch 3/10:  25% <?, {FEW}"),
        (86, f"epoch 3/10:  25% 00:00<?, {MORE}"), (90, f"epoch 3/10:  25%|###| 00:00<?, {MORE}"),
        (101, f"epoch 3/10:  25%|###| 00:00<?, {WHOLE}"),
        (130, f"epoch 3/10:  25%|###| 00:00<?, ? samples/s, {WHOLE}"),
    ],
)  # fmt: skip
def test_the_figures_of_a_bar_go_last_where_there_is_little_room(columns, line):
    bar = new_bar(1000, "samples", "epoch 3/10", initial=250)
    bar.figures, bar.dynamic_ncols, bar.ncols = FIGURES, None, columns
    shown = str(bar)
    bar.close()
    assert len(shown) <= columns
    assert re.sub(r"\|.*\|", "|###|", re.sub("00:0[0-9]", "00:00", shown)) == line
    if "|" in shown:
        assert len(shown) == columns  # the bar has what is left


def test_a_bar_shows_metrics_whatever_their_names(capsys, monkeypatch):
    for name in ("COLUMNS", "LINES"):  # of a terminal that is too narrow for all of them
        monkeypatch.delenv(name, raising=False)
    metric = Metric(lambda y, p: 12.3456, "{}x")
    fit = {"epochs": 2, "metrics": ["f1", metric], "callbacks": [ProgressBar()]}
    make().fit(X, LABELS, **fit)
    last = capsys.readouterr().err.split("\r")[-1]
    assert re.search(r"epoch 2/2: .*loss=[\d.]{5,7} acc\w*=[\d.]{6} f1=[\d.]{6} {}x=12\.3", last)
    assert "seconds" not in last
    make().fit(lambda: iter([(X, LABELS)]), validation_data=HELD, **fit)  # which nobody counts
    last = capsys.readouterr().err.split("\r")[-1]
    assert re.search(r"epoch 2/2: .*acc\w*=[\d.]+ .*val_f1=[\d.]+ val_{}x=12\.3", last)


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


def test_callbacks_say_what_they_are_and_watch():
    said = {
        TerminateOnNaN(): "TerminateOnNaN()", StopAt("close"): "StopAt()",
        EarlyStopping("val_f1", patience=3): "EarlyStopping('val_f1', patience=3)",
        ModelCheckpoint("net.npz"): "ModelCheckpoint('net.npz')",
        ModelCheckpoint("net.npz", monitor="loss", best_only=True):
            "ModelCheckpoint('net.npz', monitor='loss', best_only=True)",
        CSVLogger("run.csv"): "CSVLogger('run.csv')",
    }  # fmt: skip
    assert list(map(repr, said)) == list(said.values())


def test_an_error_says_whose_it_is():
    for callback in (ModelCheckpoint("missing/net.npz"), CSVLogger("missing/run.csv")):
        message = f"callbacks: {callback!r}: path: expected a folder that exists, got 'missing'"
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            make().fit(X, LABELS, callbacks=[callback])
    best = ModelCheckpoint("net.npz", best_only=True)
    with pytest.raises(ValueError, match=r"^callbacks: Model.*'val_loss', which needs validation"):
        make().fit(X, LABELS, callbacks=[best])
    with pytest.raises(ValueError, match=r"seconds, got 'f2'$"):
        make().fit(X, LABELS, early_stopping=EarlyStopping("f2", mode="max"))


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


def test_a_hook_that_nothing_calls_is_an_error_where_it_is_written():
    for name in ("on_batch_end", "on_train_batch_begin", "on_epochs_end"):
        with pytest.raises(TypeError, match=f"^Mine.{name}: expected one of .*on_epoch_end"):
            type("Mine", (Callback,), {name: print})
    other = type("Other", (), {"on_batch_end": print})  # as a class of another library has
    assert issubclass(type("Both", (other, Callback), {"on_epoch_end": print}), Callback)
