"""`fastmlp train`: what it does, writes and says."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from commands import CHECKOUT, SMALL, fails

import fastmlp
from fastmlp.cli import main
from fastmlp.datasets import load_mnist


def test_train_writes_model_picture_and_figures(data, capsys):
    code = main([
        "train", "data.npz", *SMALL, "--epochs", "40", "--out", "net.npz", "--plot", "loss.svg",
        "--json", "run.json", "--seed", "3",
    ])  # fmt: skip
    out, err = capsys.readouterr()
    assert code == 0
    assert err == ""
    assert sorted(os.listdir()) == ["data.npz", "loss.svg", "net.npz", "run.json"]
    written = json.loads(Path("run.json").read_text())
    assert list(written) == ["history", "test", "seconds"]
    assert list(written["test"]) == ["loss", "accuracy"]
    assert len(written["history"]["loss"]) == len(written["history"]["val_loss"]) == 40
    assert written["history"]["loss"][-1] < 0.5 * written["history"]["loss"][0]
    assert written["test"]["accuracy"] > 0.9
    assert written["seconds"] > 0
    assert "<svg" in Path("loss.svg").read_text()
    last = out.splitlines()[-1]
    assert last.startswith(f"test accuracy {100 * written['test']['accuracy']:.2f} %")
    net = fastmlp.MLP.load("net.npz", backend="numpy")
    assert net.layer_sizes == (6, 8, 3)
    assert net.architecture.input_scale == 255.0
    assert net.evaluate(data[2], data[3]) == pytest.approx(written["test"])
    assert net.history.loss == written["history"]["loss"]


def test_train_saves_and_draws_by_default(data, capsys):
    assert main(["train", "--data", "data.npz", *SMALL, "--epochs", "1"]) == 0
    assert sorted(os.listdir()) == ["data.npz", "loss.png", "model.npz"]
    assert Path("loss.png").read_bytes()[:4] == b"\x89PNG"
    assert "written: model.npz, loss.png" in capsys.readouterr().out


def test_train_takes_its_options(data, capsys):
    code = main([
        "train", "data.npz", "--backend", "numpy", "--layers", "6,5,4,3", "--activation", "tanh",
        "--epochs", "2", "--batch-size", "full", "--optimizer", "sgd", "--learning-rate", "0.25",
        "--schedule", "constant", "--l2", "0.5", "--seed", "7", "--dtype", "float64",
        "--validation-split", "0.25", "--input-scale", "100", "--plot", "none", "--quiet",
        "--precision", "highest",
    ])  # fmt: skip
    out, err = capsys.readouterr()
    assert code == 0
    assert re.fullmatch(r"test accuracy \d+\.\d\d %, loss \d+\.\d{4}\n", out)
    assert err == ""
    ours = fastmlp.MLP.load("model.npz", backend="numpy")
    x_train, y_train, *_ = data
    net = fastmlp.MLP(
        (6, 5, 4, 3), activation="tanh", input_scale=100.0, dtype="float64", rng=7,
        backend="numpy",
    )  # fmt: skip
    net.fit(
        x_train, y_train, epochs=2, batch_size=None, optimizer=fastmlp.SGD(0.25), l2=0.5,
        validation_split=0.25, progress=False,
    )  # fmt: skip
    for a, b in zip([*ours.weights, *ours.biases], [*net.weights, *net.biases], strict=True):
        np.testing.assert_array_equal(a, b)


def test_train_says_and_saves_a_lower_precision(data, capsys):
    line = ["train", "data.npz", "--layers", "6,130,130,3", "--epochs", "1", "--plot", "none"]
    assert main([*line, "--precision", "medium"]) == 0
    assert ", float32 (medium precision), numba, seed 0: " in capsys.readouterr().out
    assert fastmlp.MLP.load("model.npz").precision == "medium"
    assert main([*line, "--resume", "model.npz", "--precision", "high"]) == 2
    assert "--precision: expected medium, as model.npz has" in capsys.readouterr().err


def test_the_same_seed_gives_the_same_network_and_another_does_not(data, capsys):
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        arguments = ["train", "data.npz", *SMALL, "--epochs", "1", "--plot", "none"]
        assert main([*arguments, "--seed", seed, "--out", f"{name}.npz"]) == 0
    a, b, c = (fastmlp.MLP.load(f"{name}.npz").weights[0] for name in "abc")
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)


def test_train_on_mnist_without_options_but_few_epochs(here, capsys):
    assert main(["train", "--epochs", "2", "--plot", "none"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    accuracy = float(re.match(r"test accuracy (\d+\.\d\d) %", last)[1])
    assert accuracy > 96


@pytest.mark.parametrize(
    ("header", "by_class"),
    [(True, True), *(pytest.param(*case, marks=pytest.mark.slow)
                     for case in ((False, False), (False, True), (True, False)))],
)  # fmt: skip
def test_train_knows_mnist_in_csv_and_needs_no_validation_data(here, capsys, header, by_class):
    sets = load_mnist("uint8")
    X, y = sets.x_test[:140], sets.y_test[:140]
    if by_class:
        X, y = X[np.argsort(y, kind="stable")], np.sort(y)
    names = ",".join(["label", *(f"pixel{i}" for i in range(784))]) if header else ""
    np.savetxt(
        "rows.csv", np.column_stack([y, X]), fmt="%d", delimiter=",", header=names, comments=""
    )
    arguments = ["--backend", "numpy", "--epochs", "20", "--batch-size", "10", "--plot", "none"]
    assert main(["train", "rows.csv", *arguments, "--validation-split", "0"]) == 0
    out, err = capsys.readouterr()
    assert "120 samples, 0 for validation, 20 for the test" in out
    assert "rows.csv: taken for images as MNIST's, 784 pixels and a label" in err
    net = fastmlp.MLP.load("model.npz")
    assert net.history.val_loss == []
    assert net.architecture.input_scale == 255
    accuracy = float(re.search(r"test accuracy (\d+\.\d\d) %", out)[1])
    assert accuracy >= 60
    assert main(["evaluate", "model.npz", "rows.csv", "--backend", "numpy"]) == 0
    assert f"accuracy {accuracy:.2f} %" in capsys.readouterr().out


def test_few_samples_are_not_split(here, capsys):
    X, y = np.arange(12.0).reshape(6, 2), np.arange(6) % 2
    np.savez("rows.npz", x_train=X[:5], y_train=y[:5], x_test=X[5:], y_test=y[5:])
    assert main(["train", "rows.npz", "--backend", "numpy", "--epochs", "1"]) == 0
    assert "of 5 samples, 0 for validation, 1 for the test" in capsys.readouterr().out
    net = fastmlp.MLP.load("model.npz")
    assert net.layer_sizes == (2, 200, 100, 50, 2)
    assert net.architecture.input_scale == 1


def test_labels_with_gaps_are_said(here, capsys):
    X, y = np.arange(24.0).reshape(12, 2), 3 * (np.arange(12) % 2) + 1
    np.savez("rows.npz", x_train=X, y_train=y, x_test=X, y_test=y)
    assert main(["train", "rows.npz", "--backend", "numpy", "--epochs", "1"]) == 0
    assert "labels go to 4, and 3 numbers below are no sample's label" in capsys.readouterr().err


def test_bytes_that_are_no_pixels_are_not_divided_by_any_command(here, capsys):
    rng = np.random.default_rng(0)
    X = rng.integers(0, 101, (200, 4)).astype(np.uint8)
    y = (X[:, 0].astype(int) + X[:, 1] > X[:, 2].astype(int) + X[:, 3]).astype(int)
    np.savez("a.npz", x_train=X[:150], y_train=y[:150], x_test=X[150:], y_test=y[150:])
    X[-1, 0] = 140  # as pixels have it
    y[-1] = 1
    np.savez("b.npz", x_train=X[:150], y_train=y[:150], x_test=X[150:], y_test=y[150:])
    arguments = ["--backend", "numpy", "--epochs", "30", "--layers", "4,16,2", "--plot", "none"]
    assert main(["train", "a.npz", *arguments]) == 0
    net = fastmlp.MLP.load("model.npz", backend="numpy")
    expected = net.evaluate(X[150:], y[150:])["accuracy"]
    assert expected != net.evaluate(X[150:] / 255, y[150:])["accuracy"]
    capsys.readouterr()
    assert main(["evaluate", "model.npz", "b.npz", "--backend", "numpy"]) == 0
    out, err = capsys.readouterr()
    assert f"accuracy {100 * expected:.2f} %" in out
    assert err == ""


def test_no_scale_is_guessed_from_the_rows_of_a_csv(here, capsys):
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 101, (70, 4)), rng.integers(0, 2, 70)
    X[-1, 0] = 140
    net = fastmlp.MLP((4, 3, 2), rng=0, backend="numpy")
    net.save("net.npz")
    np.savetxt("rows.csv", np.column_stack([y, X]), fmt="%d", delimiter=",")
    assert main(["evaluate", "net.npz", "rows.csv", "--backend", "numpy"]) == 0
    out, err = capsys.readouterr()
    assert f"loss     {net.evaluate(X[60:], y[60:])['loss']:.6g}" in out
    assert err == ""


def test_a_run_that_diverges_says_so_and_writes_strict_json(data, capsys):
    code = main([
        "train", "data.npz", *SMALL, "--epochs", "3", "--optimizer", "sgd", "--learning-rate",
        "1e30", "--json", "run.json", "--plot", "none", "--on-divergence", "ignore",
    ])  # fmt: skip
    assert code == 0
    assert "fastmlp: warning: the loss of epoch" in capsys.readouterr().err
    written = json.loads(Path("run.json").read_text(), parse_constant=pytest.fail)
    assert written["history"]["loss"][-1] is None


def test_options_of_a_step_are_handed_on(data):
    asked = {
        "dropout": 0.25, "l1": 0.001, "clip_norm": 0.5, "label_smoothing": 0.1, "max_norm": 2.0,
        "class_weight": "balanced",
    }  # fmt: skip
    typed = [f"--{name.replace('_', '-')}={value}" for name, value in asked.items()]
    options = ["--epochs", "3", "--schedule", "constant", "--validation-split", "0"]
    assert main(["train", "data.npz", *SMALL, *options, *typed, "--plot", "none"]) == 0
    net = fastmlp.MLP((6, 8, 3), activation="relu", input_scale=255.0, rng=0, backend="numpy")
    net.fit(data[0], data[1], epochs=3, batch_size=16, optimizer="adam", **asked)
    saved = fastmlp.MLP.load("model.npz", backend="numpy")
    for ours, theirs in zip(saved.weights, net.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_run_stops_early_with_its_best_and_leaves_checkpoints(data, capsys):
    stop = ["--early-stopping", "2", "--learning-rate", "0.5", "--schedule", "constant"]
    files = ["--checkpoint", "net-{epoch:03d}.npz", "--plot", "none", "--json", "r.json"]
    assert main(["train", "data.npz", *SMALL, *stop, *files, "--epochs", "200"]) == 0
    epochs = int(re.search(r"^(\d+) epochs in", capsys.readouterr().out, re.M)[1])
    assert epochs < 200
    losses = json.loads(Path("r.json").read_text())["history"]["val_loss"]
    assert len(losses) == epochs == int(np.argmin(losses)) + 3
    kept = sorted(name for name in os.listdir() if name.startswith("net-"))
    assert kept == [f"net-{k + 1:03d}.npz" for k in range(epochs)]
    best = fastmlp.MLP.load(kept[np.argmin(losses)], backend="numpy")
    saved = fastmlp.MLP.load("model.npz", backend="numpy")
    for ours, theirs in zip(saved.weights, best.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("--dropout", "1"), ("--l1", "-1"), ("--clip-norm", "0"), ("--label-smoothing", "2"),
        ("--max-norm", "none"), ("--class-weight", "even"), ("--early-stopping", "0"),
        ("--checkpoint", "missing/net.npz"), ("--checkpoint", "{when}.npz"),
    ],
)  # fmt: skip
def test_a_wrong_option_of_a_step_is_one_line(data, capsys, argument, value):
    always = ["--backend", "numpy", "--out", "none", "--plot", "none"]
    assert argument in fails(capsys, "train", "data.npz", *always, argument, value)


@pytest.mark.parametrize("out", ["net.npz", "none"])
def test_an_interrupted_run_is_saved(data, capsys, monkeypatch, out):
    schedule = fastmlp.CosineDecay

    def interrupt(self, memory, loss, val_loss):
        if memory.get("epoch", 0) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(schedule, "after_epoch", interrupt)
    code = main(["train", "data.npz", *SMALL, "--out", out, "--plot", "none", "--json", "r.json"])
    assert code == 130
    captured = capsys.readouterr()
    assert "test accuracy" not in captured.out
    assert captured.err.startswith("fastmlp: interrupted after 2 whole epochs")
    assert captured.err.count("\n") == 1
    assert not Path("r.json").exists()
    if out == "none":
        assert os.listdir() == ["data.npz"]
        return
    net = fastmlp.MLP.load(out, backend="numpy")
    assert len(net.history) == 2
    fresh = fastmlp.MLP((6, 8, 3), activation="relu", input_scale=255.0, rng=0, backend="numpy")
    assert not np.array_equal(net.weights[0], fresh.weights[0])


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
def test_ctrl_c_ends_a_process_with_130_and_its_model(data):
    # A shell's background job ignores SIGINT: the handler is set by hand.
    program = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from fastmlp.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    arguments = ["train", "data.npz", *SMALL, "--epochs", "1000000", "--plot", "none",
                 "--checkpoint", "net.npz"]  # fmt: skip
    with subprocess.Popen(
        [sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
    ) as process:  # fmt: skip
        try:
            assert process.stdout.readline().startswith("6-8-3, relu")
            while not Path("net.npz").exists() and process.poll() is None:  # an epoch has ended
                time.sleep(0.01)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130, err
    told = r"fastmlp: interrupted after [1-9]\d* whole epochs?, saved to model.npz\n"
    assert re.fullmatch(told, err)
    assert fastmlp.MLP.load("model.npz").layer_sizes == (6, 8, 3)
    assert sorted(os.listdir()) == ["data.npz", "model.npz", "net.npz"]


def test_a_picture_that_fails_leaves_the_old_one(data, capsys, monkeypatch):
    Path("loss.png").write_bytes(b"old")

    def fail(*_):
        raise OSError("the disk is full")

    monkeypatch.setattr("fastmlp.plots.save_history", fail)
    assert main(["train", "data.npz", *SMALL, "--epochs", "1", "--plot", "loss.png"]) == 2
    assert capsys.readouterr().err == "fastmlp: error: the disk is full\n"
    assert Path("loss.png").read_bytes() == b"old"
    assert sorted(os.listdir()) == ["data.npz", "loss.png", "model.npz"]


def test_what_is_compiled_is_said_unless_quiet(data, capsys, monkeypatch):
    from fastmlp import MLP
    from fastmlp.support.notices import notice

    fit = MLP.fit
    arguments = ["train", "data.npz", "--layers", "6,8,3", "--epochs", "1", "--plot", "none"]
    monkeypatch.setattr(MLP, "fit", lambda *a, **k: notice("compiling") or fit(*a, **k))
    assert main(arguments) == 0
    assert capsys.readouterr().err == "fastmlp: compiling\n"
    assert main([*arguments, "--quiet"]) == 0
    assert capsys.readouterr().err == ""


def test_one_epoch_is_not_some(data, capsys):
    line = ["train", "data.npz", *SMALL, "--epochs", "1", "--out", "one.npz", "--plot", "none"]
    assert main(line) == 0
    assert main([*line, "--resume", "one.npz"]) == 0
    out, err = capsys.readouterr()
    assert "0: 1 epoch of 220 samples, " in out
    assert "\n1 epoch in " in out
    assert "after the 1 epoch of one.npz: 1 epoch of 220 samples" in out
    assert err == "fastmlp: one.npz has 1 epoch behind it, --epochs 1 is all\n"


def test_without_a_model_the_picture_is_still_drawn_and_help_says_so(data, capsys):
    assert main(["train", "--help"]) == 0
    assert "the picture goes where --plot says" in " ".join(capsys.readouterr().out.split())
    assert main(["train", "data.npz", *SMALL, "--epochs", "1", "--out", "none"]) == 0
    assert "written: loss.png\n" in capsys.readouterr().out
    assert not Path("model.npz").exists()
