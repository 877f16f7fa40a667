"""The command ``train`` where it cannot: one line and exit code 2."""

from __future__ import annotations

import builtins
import importlib
import os
import re
from pathlib import Path

import numpy as np
import pytest
from commands import SMALL, fails

import fastmlp
from fastmlp.cli import main


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--layers", "784,10"], "--layers: expected 6, the features"),
        (["--layers", "6,8,2"], "--layers: expected at least 3, the classes"),
        (["--layers", "6"], "--layers"),
        (["--layers", "6,-1,3"], "--layers"),
        (["--layers", "6,x,3"], "--layers"),
        (["--activation", "softsign"], "--activation"),
        (["--epochs", "0"], "--epochs"),
        (["--epochs", "1.5"], "--epochs"),
        (["--batch-size", "0"], "--batch-size"),
        (["--batch-size", "half"], "--batch-size"),
        (["--optimizer", "adamax"], "--optimizer"),
        (["--learning-rate", "-1"], "--learning-rate"),
        (["--learning-rate", "nan"], "--learning-rate"),
        (["--schedule", "linear"], "--schedule"),
        (["--l2", "inf"], "--l2"),
        (["--seed", "-1"], "--seed"),
        (["--dtype", "float16"], "--dtype"),
        (["--precision", "low"], "--precision"),
        (["--precision", "medium", "--dtype", "float64"], "precision: expected highest with dtype"),
        (["--backend", "gpu"], "--backend"),
        (["--threads", "0"], "--threads"),
        (["--validation-split", "1"], "--validation-split"),
        (["--validation-split", "0.0001"], "validation_split"),
        (["--input-scale", "0"], "--input-scale"),
        (["--out", "missing/model.npz"], "--out"),
        (["--out", "."], "--out"),
        (["--out", os.devnull], "--out"),
        (["--out", ""], "--out"),
        (["--plot", "missing/loss.png"], "--plot"),
        (["--plot", "loss.docx"], "--plot"),
        (["--plot", "loss"], "--plot"),
        (["--json", "missing/run.json"], "--json"),
        (["--out", "same", "--json", "./same"], "--json"),
        (["--data", "data.npz"], "--data"),
        (["--unknown"], "--unknown"),
    ],
)
def test_wrong_options_end_before_training(data, capsys, monkeypatch, arguments, message):
    if message != "validation_split":
        monkeypatch.setattr(fastmlp.MLP, "fit", lambda *_, **__: pytest.fail("it trained"))
    always = ["--backend", "numpy", "--quiet", "--out", "none", "--plot", "none"]
    assert message in fails(capsys, "train", "data.npz", *always, *arguments)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("nothing.npz", None),
        ("empty.npz", b""),
        ("text.csv", b"hello, world\n1, 2\n"),
        ("ragged.csv", b"1,2,3\n1,2\n"),
        ("nan.csv", b"1,2,3\n1,nan,3\n"),
        ("negative.csv", b"-1,2,3\n1,2,3\n"),
        ("half.csv", b"0.5,2,3\n1,2,3\n"),
        ("cut.npz", b"PK\x03\x04 and then nothing"),
        ("cut.idx", b"\0\0\x08\x03\0\0"),
        ("noise", b"\xff\xfe\x00\x9f" * 50),
    ],
)
def test_damaged_data_is_one_line(here, capsys, name, content):
    if content is not None:
        Path(name).write_bytes(content)
    assert name in fails(capsys, "train", name, "--backend", "numpy", "--plot", "none")


def test_nan_in_the_data_is_one_line(data, capsys):
    x_train, y_train, x_test, y_test = (np.array(a, np.float64) for a in data)
    x_train[5, 2] = np.nan
    np.savez("nan.npz", x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    message = fails(capsys, "train", "nan.npz", "--plot", "none")
    assert "x_train: expected finite numbers, got nan in row 5, column 2" in message


def test_an_empty_folder_is_one_line(here, capsys):
    (here / "folder").mkdir()
    assert "folder" in fails(capsys, "train", "folder", "--plot", "none")


@pytest.fixture
def no_matplotlib(monkeypatch):
    def refuse(name, *arguments):
        if name.startswith("matplotlib"):
            raise ImportError(f"No module named {name!r}")
        return original(name, *arguments)

    original = importlib.import_module
    monkeypatch.setattr(importlib, "import_module", refuse)


def test_without_matplotlib_a_picture_asked_for_is_an_error(data, capsys, no_matplotlib):
    message = fails(capsys, "train", "data.npz", *SMALL, "--out", "none", "--plot", "a.png")
    assert "fastmlp[plot]" in message


def test_without_matplotlib_the_rest_is_done(data, capsys, no_matplotlib):
    assert main(["train", "data.npz", *SMALL, "--epochs", "1"]) == 0
    out, err = capsys.readouterr()
    assert re.fullmatch(r"fastmlp: no picture of the loss: [^\n]*fastmlp\[plot\][^\n]*\n", err)
    assert out.splitlines()[-1].startswith("test accuracy")
    assert sorted(os.listdir()) == ["data.npz", "model.npz"]


def test_without_numba_the_compiled_backend_is_one_line(data, capsys, monkeypatch):
    original = builtins.__import__

    def refuse(name, *arguments):
        if name == "numba" or name.startswith("kernels"):
            raise ImportError("No module named 'numba'")
        return original(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", refuse)
    assert "numba" in fails(capsys, "train", "data.npz", "--quiet", "--plot", "none")


def test_a_checkpoint_without_a_folder_names_its_option(data, capsys):
    assert main(["train", "data.npz", *SMALL, "--checkpoint", "missing/net.npz"]) == 2
    assert capsys.readouterr().err.startswith("fastmlp: error: --checkpoint: expected a fol")


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (("train", "data.npz", "--out", "data.npz"), "data.npz"),
        (("train", "--data", "data.npz", "--out", "link.npz"), "data.npz"),
        (("train", "data.npz", "--json", "./data.npz"), "data.npz"),
        (("train", "data.npz", "--checkpoint", "data.npz"), "data.npz"),
        (("report", "model.npz", "data.npz", "-o", "data.npz"), "data.npz"),
        (("report", "model.npz", "none", "-o", "model.npz"), "model.npz"),
    ],
)
def test_no_result_takes_the_place_of_what_is_read(model, capsys, command, name):
    os.symlink("data.npz", "link.npz")
    before = {file: Path(file).read_bytes() for file in ("data.npz", "model.npz")}
    options = (*SMALL, "--epochs", "1", "--quiet") if command[0] == "train" else ()
    line = fails(capsys, *command, *options)
    option = {"-o": "--out"}.get(command[-2], command[-2])
    assert f"{option}: expected another file than {name}, which is read" in line
    assert before == {file: Path(file).read_bytes() for file in before}


def test_the_default_name_does_not_take_the_place_of_the_data(data, here, capsys):
    os.rename("data.npz", "model.npz")
    before = Path("model.npz").read_bytes()
    assert main(["train", "model.npz", *SMALL, "--epochs", "1", "--plot", "none"]) == 0
    assert "the model will not be saved: --out: expected another" in capsys.readouterr().err
    assert Path("model.npz").read_bytes() == before
