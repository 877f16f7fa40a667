"""A folder with small data, and a model."""

from __future__ import annotations

import numpy as np
import pytest
from commands import SMALL, digits

from fastmlp.cli import main


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def data(here):
    rng = np.random.default_rng(0)
    (x_train, y_train), (x_test, y_test) = digits(240, rng), digits(60, rng)
    np.savez(here / "data.npz", x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    return x_train, y_train, x_test, y_test


@pytest.fixture
def model(data, capsys):
    assert main(["train", "data.npz", *SMALL, "--epochs", "60", "--plot", "none"]) == 0
    capsys.readouterr()
    return "model.npz"
