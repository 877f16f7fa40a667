"""The history of a fit: lists by name, and epochs one after the other."""

from __future__ import annotations

import numpy as np
import pytest

from fastmlp import MLP


@pytest.fixture
def history():
    net = MLP((3, 4, 2), rng=0, backend="numpy")
    X, y = np.eye(3), [0, 1, 1]
    return net.fit(X, y, epochs=3, validation_data=(X, y), metrics=["f1"])


def test_names_with_numbers_are_in_it(history):
    names = {"loss", "accuracy", "val_loss", "val_accuracy", "val_f1", "learning_rate", "seconds"}
    assert all(name in history for name in names)
    assert "f1" not in history
    assert "val_loss" not in MLP((3, 2), backend="numpy").fit(np.eye(3), [0, 1, 1], epochs=1)


def test_it_goes_through_epochs(history):
    assert list(history) == [history.row(epoch) for epoch in range(3)]
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(history)
    assert len(table) == len(history) == 3
    assert table["val_f1"].tolist() == history["val_f1"]


def test_an_unknown_name_is_told_those_there_are(history):
    with pytest.raises(KeyError, match=r"history: expected one of loss, .*, val_f1, got 'mse'"):
        history["mse"]
