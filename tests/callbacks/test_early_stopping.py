"""Early stopping: when it ends a run, with what, and what it holds out for it."""

from __future__ import annotations

import numpy as np
import pytest
from classifiers import HELD, LABELS, RNG, Interrupt, X, flat, make

from fastmlp import SGD, Adam, EarlyStopping
from fastmlp.callbacks import Callback
from fastmlp.callbacks.base import Monitor
from fastmlp.training.samples import hold_out


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
