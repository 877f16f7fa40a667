"""A folder with small data, and a model."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from commands import SMALL, digits

from fastmlp.cli import main


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_data(folder):
    rng = np.random.default_rng(0)
    (x_train, y_train), (x_test, y_test) = digits(240, rng), digits(60, rng)
    np.savez(folder / "data.npz", x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    return x_train, y_train, x_test, y_test


@pytest.fixture
def data(here):
    return write_data(here)


@pytest.fixture(scope="session")
def trained_model(tmp_path_factory):
    """Return the file of a model that is trained once."""
    folder = tmp_path_factory.mktemp("trained")
    write_data(folder)
    files = (str(folder / "data.npz"), "--out", str(folder / "model.npz"))
    options = ("--epochs", "60", "--plot", "none", "--quiet")
    assert main(["train", *files, *SMALL, *options]) == 0
    return folder / "model.npz"


@pytest.fixture
def model(data, here, trained_model):
    shutil.copy(trained_model, here)
    return "model.npz"
