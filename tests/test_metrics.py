"""Metrics: what they are by definition, and when they are measured."""

from __future__ import annotations

import contextlib
from functools import partial

import numpy as np
import pytest
from classifiers import HELD, LABELS, RNG, X, flat, make

from fastmlp import MLP
from fastmlp.metrics import METRICS, Metric
from fastmlp.training.history import History


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


@pytest.mark.parametrize("function", [lambda y_true: 1.0, lambda a, b, c: 1.0])
def test_a_metric_takes_two_arguments(function):
    net = make("numpy")
    before = flat(net)
    with pytest.raises(
        TypeError, match=r"^metrics: expected a function of \(y_true, y_pred\), got "
    ):
        net.fit(X, LABELS, epochs=1, metrics=[function])
    np.testing.assert_array_equal(flat(net), before)


@pytest.mark.parametrize("held_out", [{}, {"validation_split": 0.3}])
def test_a_metric_cannot_change_what_is_measured(backend, held_out):
    """Nor the labels that are trained on, which it is shown without validation data."""

    def zeroed(y_true, y_pred):
        for array in (y_true, y_pred):
            with contextlib.suppress(ValueError):  # which says that it is read only
                array[:] = 0
        return 1.0

    histories = [
        make(backend).fit(X, LABELS, epochs=3, metrics=[*first, "f1", "top_5_accuracy"], **held_out)
        for first in ([zeroed, Metric(zeroed, "again", of="outputs")], [])
    ]
    assert histories[0].loss == histories[1].loss
    for name in histories[1].metrics:
        assert histories[0][name] == histories[1][name]
    assert histories[0].val_loss == histories[1].val_loss


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
