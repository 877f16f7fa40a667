"""The command line: what it does, writes and says, and the codes it ends with."""

from __future__ import annotations

import builtins
import importlib
import json
import os
import re
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import fastmlp
from fastmlp import recipes
from fastmlp.cli import main
from fastmlp.datasets import load_mnist

SMALL = ("--backend", "numpy", "--layers", "6,8,3", "--batch-size", "16")
CHECKOUT = Path(fastmlp.__file__).parents[1]


def digits(n, rng):
    """Three classes told apart by which two of six pixels are bright."""
    y = rng.integers(0, 3, n)
    X = rng.integers(0, 60, (n, 6)).astype(np.uint8)
    X[np.arange(n), 2 * y] += 190
    X[np.arange(n), 2 * y + 1] += 190
    return X, y


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


def fails(capsys, *argv):
    """Run a command that has to end with 2 and one line of error; return that line."""
    before = set(os.listdir())
    assert main(list(argv)) == 2
    out, err = capsys.readouterr()
    assert re.fullmatch(r"fastmlp: error: [^\n]+\n", err), err
    assert set(os.listdir()) == before
    assert out == ""
    return err


def run(*argv, **kwargs):
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    return subprocess.run(
        [sys.executable, "-m", "fastmlp", *argv], env=environment, capture_output=True, text=True,
        timeout=120, check=False, **kwargs,
    )  # fmt: skip


# --- train ----------------------------------------------------------------------------------


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


def test_train_reads_csv_and_needs_no_validation_data(data, capsys):
    X, y = data[:2]
    np.savetxt("rows.csv", np.column_stack([y, X]), fmt="%d", delimiter=",")
    assert main(["train", "rows.csv", *SMALL, "--epochs", "3", "--validation-split", "0"]) == 0
    out = capsys.readouterr().out
    assert "206 samples, 0 for validation, 34 for the test" in out
    assert fastmlp.MLP.load("model.npz").history.val_loss == []


def test_few_samples_are_not_split(here, capsys):
    np.savetxt("rows.csv", [[i % 2, i, -i] for i in range(6)], fmt="%d", delimiter=",")
    assert main(["train", "rows.csv", "--backend", "numpy", "--epochs", "1"]) == 0
    assert "of 5 samples, 0 for validation, 1 for the test" in capsys.readouterr().out
    net = fastmlp.MLP.load("model.npz")
    assert net.layer_sizes == (2, 200, 100, 50, 2)
    assert net.architecture.input_scale is None


def test_a_run_that_diverges_says_so_and_writes_strict_json(data, capsys):
    code = main([
        "train", "data.npz", *SMALL, "--epochs", "3", "--optimizer", "sgd", "--learning-rate",
        "1e30", "--json", "run.json", "--plot", "none", "--on-divergence", "ignore",
    ])  # fmt: skip
    assert code == 0
    assert "fastmlp: warning: the loss of epoch" in capsys.readouterr().err
    written = json.loads(Path("run.json").read_text(), parse_constant=pytest.fail)
    assert written["history"]["loss"][-1] is None


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
    assert process.returncode == 130
    told = r"fastmlp: interrupted after [1-9]\d* whole epochs, saved to model.npz\n"
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
    monkeypatch.setattr(MLP, "fit", lambda *a, **k: notice("compiling") or fit(*a, **k))
    arguments = ["train", "data.npz", "--layers", "6,8,3", "--epochs", "1", "--plot", "none"]
    assert main(arguments) == 0
    assert capsys.readouterr().err == "fastmlp: compiling\n"
    assert main([*arguments, "--quiet"]) == 0
    assert capsys.readouterr().err == ""


def parameters(path):
    net = fastmlp.MLP.load(path, backend="numpy")
    history = {k: v for k, v in net.history.as_dict().items() if k != "seconds"}
    return [a.tobytes() for a in (*net.weights, *net.biases)], history


@pytest.mark.parametrize(
    "options",
    [(), ("--optimizer", "sgd", "--learning-rate", "0.5", "--schedule", "annealonrise", "--seed",
          "3", "--dtype", "float64", "--dropout", "0.3", "--early-stopping", "3")],
)  # fmt: skip
def test_a_resumed_run_ends_with_the_bits_of_the_whole(data, capsys, options):
    line = ["train", "data.npz", "--plot", "none", "--checkpoint", "at-{epoch}.npz", *SMALL]
    assert main([*line, *options, "--epochs", "6"]) == 0
    whole = parameters("model.npz")
    # the same line again, or without what is in the file
    for given in (options, options[10:], options):
        os.unlink("model.npz")
        capsys.readouterr()
        assert main([*line, *given, "--epochs", "6", "--resume", "at-2.npz"]) == 0
        out, err = capsys.readouterr()
        assert "after the 2 epochs of at-2.npz: 6 epochs of 220 samples" in out
        assert "\n4 epochs in " in out
        assert err == ""
        assert parameters("model.npz") == whole
    assert main([*line, *options, "--epochs", "6", "--resume", "model.npz"]) == 0
    note = "fastmlp: model.npz has 6 epochs behind it, --epochs 6 is all\n"
    assert capsys.readouterr().err == note
    assert parameters("model.npz") == whole


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--resume", "nothing.npz"), "nothing.npz: No such file"),
        (("--resume", "data.npz"), "path: expected a network saved by fastmlp"),
        (("--resume", "values.npz"), "expected a classifier .softmax., values.npz is identity"),
        (("--resume", "four.npz"), "--resume: four.npz takes 4 features, DATA has 6"),
        (("--resume", "two.npz"), "--resume: two.npz has 2 classes, DATA a label 2"),
        (("--resume", "model.npz", "--layers", "6,9,3"), r"--layers: expected \(6, 8, 3\), as mod"),
        (("--resume", "model.npz", "--optimizer", "sgd"), "--optimizer: expected adam, as model"),
        (("--resume", "model.npz", "--learning-rate", "1"), "--learning-rate: expected 0.001, as"),
        (("--resume", "model.npz", "--activation", "elu"), "--activation: expected relu, as mod"),
        (("--resume", "model.npz", "--schedule", "constant"), "--schedule: expected cosinedecay"),
        (("--resume", "model.npz", "--dtype", "float64"), "--dtype: expected float32, as model"),
        (("--resume", "model.npz", "--input-scale", "2"), "--input-scale: expected 255.0, as mod"),
        (("--resume", "model.npz", "--validation-split", "0"), "resume: expected a fit that meas"),
    ],
)  # fmt: skip
def test_what_cannot_be_resumed_is_one_line(model, capsys, options, message):
    for name, sizes, output in (
        ("values", (6, 3), "identity"), ("four", (4, 3), "softmax"), ("two", (6, 2), "softmax")
    ):  # fmt: skip
        fastmlp.MLP(sizes, output=output, rng=0, backend="numpy").save(f"{name}.npz")
    arguments = ["--backend", "numpy", "--quiet", "--plot", "none", "--epochs", "70"]
    assert re.search(message, fails(capsys, "train", "data.npz", *arguments, *options))


# --- evaluate and predict -------------------------------------------------------------------


def test_evaluate_prints_accuracy_loss_and_confusion(model, data, capsys):
    assert main(["evaluate", model, "data.npz", "--backend", "numpy"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    net = fastmlp.MLP.load(model, backend="numpy")
    figures = net.evaluate(data[2], data[3])
    assert f"accuracy {100 * figures['accuracy']:.2f} %" in out
    assert f"loss     {figures['loss']:.6g}" in out
    rows = [list(map(int, line.split())) for line in out.splitlines()[-4:]]
    assert rows[0] == [0, 1, 2]
    matrix = np.zeros((3, 3), int)
    for label, predicted in zip(data[3], net.predict(data[2]), strict=True):
        matrix[label, predicted] += 1
    assert rows[1:] == [[label, *row] for label, row in enumerate(matrix.tolist())]


def test_pixels_are_scaled_for_a_model_that_does_not(data, capsys):
    x_train, y_train, x_test, y_test = data
    net = fastmlp.MLP((6, 8, 3), rng=0, backend="numpy")
    net.fit(x_train / 255, y_train, epochs=40, progress=False)
    net.save("plain.npz")
    for scale, option in ((255, []), (1, ["--input-scale", "1"])):
        assert main(["evaluate", "plain.npz", "data.npz", "--backend", "numpy", *option]) == 0
        shown = float(re.search(r"loss +(\S+)", capsys.readouterr().out)[1])
        assert shown == pytest.approx(net.evaluate(x_test / scale, y_test)["loss"], rel=1e-4)


def test_evaluate_shows_the_loss_alone_for_values(data, capsys):
    net = fastmlp.MLP((6, 1), output="identity", rng=0, backend="numpy", input_scale=255.0)
    net.save("line.npz")
    assert main(["evaluate", "line.npz", "data.npz", "--backend", "numpy"]) == 0
    out = capsys.readouterr().out
    assert f"loss     {net.evaluate(data[2], data[3])['loss']:.6g}" in out
    assert "accuracy" not in out
    assert "confusion" not in out


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + (
        array.tobytes()
    )  # fmt: skip


def test_predict_reads_every_kind_of_input(model, data, capsys):
    X, y = data[2], data[3]
    net = fastmlp.MLP.load(model, backend="numpy")
    head = ",".join(f"pixel{i}" for i in range(6))
    np.savetxt("features.csv", X, fmt="%d", delimiter=",")
    np.savetxt("headed.csv", X, fmt="%d", delimiter=",", header=head, comments="")
    np.savetxt("first.csv", np.column_stack([y, X]), fmt="%d", delimiter=",")
    np.savetxt(
        "last.csv", np.column_stack([X, y]), fmt="%d", delimiter=",", header=f"{head},label",
        comments="",
    )  # fmt: skip
    np.save("rows.npy", X)
    np.save("images.npy", X.reshape(-1, 2, 3).astype(np.float64))
    Path("images").write_bytes(idx(X.reshape(-1, 3, 2)))
    shown = set()
    for name in (
        "features.csv", "headed.csv", "first.csv", "last.csv", "rows.npy", "images.npy", "images",
    ):  # fmt: skip
        assert main(["predict", model, name, "--backend", "numpy"]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        shown.add(out)
    assert len(shown) == 1
    header, *lines = shown.pop().splitlines()
    assert header == "label,p0,p1,p2"
    table = np.array([line.split(",") for line in lines], np.float32)
    np.testing.assert_array_equal(table[:, 0], net.predict(X))
    np.testing.assert_array_equal(table[:, 1:], net.predict_proba(X))


def test_predict_divides_images_but_not_features_of_a_model_without_scale(data, capsys):
    X = data[2]
    net = fastmlp.MLP((6, 3), rng=0, backend="numpy", dtype="float64")
    net.save("plain.npz")
    Path("images").write_bytes(idx(X.reshape(-1, 2, 3)))
    np.save("rows.npy", X)
    cases = [
        (["images"], X / 255), (["rows.npy"], X), (["rows.npy", "--input-scale", "10"], X / 10),
    ]  # fmt: skip
    for arguments, scaled in cases:
        assert main(["predict", "plain.npz", *arguments, "--backend", "numpy"]) == 0
        lines = capsys.readouterr().out.splitlines()[1:]
        table = np.array([line.split(",") for line in lines], np.float64)
        np.testing.assert_array_equal(table[:, 1:], net.predict_proba(scaled))


@pytest.mark.parametrize("output", ["sigmoid", "identity"])
def test_predict_of_other_outputs(data, capsys, output):
    net = fastmlp.MLP((6, 2), output=output, rng=0, backend="numpy", input_scale=255.0)
    net.save("net.npz")
    np.save("rows.npy", data[2])
    assert main(["predict", "net.npz", "rows.npy", "--backend", "numpy"]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert header == ("y0,y1" if output == "identity" else "label,p0,p1")
    table = np.array([line.split(",") for line in lines], np.float32)
    np.testing.assert_array_equal(table[:, -2:], net.predict_proba(data[2]))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("nothing.csv", None, "No such file"),
        ("empty.csv", b"", "empty"),
        ("few.csv", b"1,2,3\n", "6 numbers"),
        ("word.csv", b"1,2,3,4,5,6\n1,2,3,x,5,6\n", "word.csv"),
        ("ragged.csv", b"1,2,3,4,5,6\n1,2,3\n", "ragged.csv"),
        ("nan.csv", b"1,2,3,4,5,nan\n", "INPUT"),
        ("head.csv", b"a,b,c,d,e,f\n", "no rows"),
        ("cut.npy", b"\x93NUMPY\x01\x00", "cut.npy"),
        ("cut.idx", b"\0\0\x08\x03\0\0", "cut.idx"),
        ("noise", b"\xff\xfe\x00\x9f" * 50, "noise"),
    ],
)
def test_damaged_input_is_one_line(model, capsys, name, content, message):
    if content is not None:
        Path(name).write_bytes(content)
    assert message in fails(capsys, "predict", model, name, "--backend", "numpy")


def test_an_array_of_objects_is_not_unpickled(model, capsys):
    np.save("objects.npy", np.array([[{}] * 6], object), allow_pickle=True)
    assert "objects.npy" in fails(capsys, "predict", model, "objects.npy")
    np.save("other.npy", np.zeros((2, 5)))
    assert "6 features, got 5" in fails(capsys, "predict", model, "other.npy")


@pytest.mark.parametrize("command", ["evaluate", "predict"])
def test_a_model_that_is_none(data, capsys, command):
    Path("model.npz").write_bytes(b"no network")
    assert "model.npz" in fails(capsys, command, "model.npz", "data.npz")
    assert "missing.npz" in fails(capsys, command, "missing.npz", "data.npz")


def test_data_that_do_not_fit_the_model(model, data, capsys):
    np.savetxt("wide.csv", np.ones((9, 8)), fmt="%d", delimiter=",")
    assert "expected 6 features, got 7" in fails(
        capsys, "evaluate", model, "wide.csv", "--backend", "numpy"
    )
    np.savetxt("classes.csv", np.full((9, 7), 5), fmt="%d", delimiter=",")
    assert "expected class labels 0 to 2" in fails(
        capsys, "evaluate", model, "classes.csv", "--backend", "numpy"
    )
    assert "--input-scale" in fails(capsys, "evaluate", model, "data.npz", "--input-scale", "2")


@pytest.mark.skipif(os.name != "posix", reason="pipes as POSIX has them")
def test_a_reader_that_leaves_is_no_error(model, data):
    np.save("many.npy", np.tile(data[2], (2000, 1)))
    with subprocess.Popen(
        [sys.executable, "-m", "fastmlp", "predict", model, "many.npy", "--backend", "numpy"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
    ) as process:  # fmt: skip
        assert process.stdout.readline() == "label,p0,p1,p2\n"
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(timeout=60) == 0


# --- reproduce, info, and the rest ----------------------------------------------------------


@pytest.fixture
def experiments(monkeypatch):
    """Two experiments in place of the published ones: the first is ok, the second is not."""
    results = {
        name: recipes.Result(
            name, {"test_accuracy": 0.9, "costs": [1.25, 0.5]},
            {"test_accuracy": 0.875, "costs": [1.25, 0.75], "more": {"x": float("nan")}},
            1.5, name == "good", "the rule",
        )
        for name in ("good", "bad")
    }  # fmt: skip
    ran = []

    def experiment(name):
        def run(settings):
            ran.append((name, settings))
            return results[name]

        return recipes.Recipe(name, f"what {name} is", run)

    monkeypatch.setattr(recipes, "RECIPES", {name: experiment(name) for name in results})
    return ran


def test_reproduce_prints_published_beside_measured(here, experiments, capsys):
    assert main(["reproduce", "good", "--json", "r.json", "--backend", "numpy"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert re.search(r"test_accuracy +0\.9 +0\.875\n", out)
    assert re.search(r"costs\[1\] +0\.5 +0\.75\n", out)
    assert "ok in 1.5 s (the rule)" in out
    assert json.loads(Path("r.json").read_text(), parse_constant=pytest.fail) == [
        {
            "name": "good",
            "published": {"test_accuracy": 0.9, "costs": [1.25, 0.5]},
            "measured": {
                "test_accuracy": 0.875, "costs": [1.25, 0.75], "more": {"x": None},
                "judged": "the rule",
            },
            "seconds": 1.5,
            "ok": True,
        }
    ]  # fmt: skip
    assert experiments == [("good", recipes.Settings(backend="numpy"))]


@pytest.mark.parametrize("arguments", [[], ["--all"], ["good", "--all"], ["bad", "good", "bad"]])
def test_reproduce_ends_with_1_where_one_falls_short(here, experiments, capsys, arguments):
    assert main(["reproduce", *arguments, "--backend", "numpy", "--seed", "4"]) == 1
    out = capsys.readouterr().out
    assert "FALLS SHORT" in out
    assert out.endswith("1 of 2 ok\n")
    assert sorted(name for name, _ in experiments) == ["bad", "good"]
    assert all(settings.seed == 4 for _, settings in experiments)


def test_reproduce_checks_before_it_runs(here, experiments, capsys):
    assert "NAME" in fails(capsys, "reproduce", "good", "ugly")
    assert "--json" in fails(capsys, "reproduce", "good", "--json", "missing/r.json")
    assert not experiments


def test_an_interrupted_reproduction_ends_with_130(here, experiments, capsys, monkeypatch):
    def interrupt(settings):
        raise KeyboardInterrupt

    monkeypatch.setitem(recipes.RECIPES, "bad", recipes.Recipe("bad", "", interrupt))
    assert main(["reproduce", "--backend", "numpy", "--json", "r.json"]) == 130
    assert capsys.readouterr().err == "fastmlp: interrupted\n"
    assert os.listdir() == []


def test_info(capsys):
    assert main(["info", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["fastmlp"] == fastmlp.__version__
    assert found["numpy"] == np.__version__
    assert found["threads"] >= 1
    assert found["vector_path"] in ("avx512", "avx2", "neon", "generic")
    assert found["threading_layer"] in ("omp", "tbb", "workqueue")
    assert {"python", "numba", "llvmlite", "processor", "cache_folder"} <= set(found)
    assert main(["info"]) == 0
    out = capsys.readouterr().out
    assert f"numpy            {np.__version__}\n" in out
    assert len(out.splitlines()) == len(found)


def test_help_has_an_example_for_every_command(capsys):
    for command in ("train", "evaluate", "predict", "reproduce", "info"):
        assert main([command, "--help"]) == 0
        assert f"example: fastmlp {command}" in capsys.readouterr().out


def test_no_command_shows_the_help_and_is_wrong_usage(capsys):
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert "reproduce" in out
    assert err == "fastmlp: error: expected a command\n"


def test_a_process_has_the_codes_and_lines_too(here):
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"fastmlp {fastmlp.__version__}\n")
    wrong = run("train", "no-such-file", "--plot", "none")
    assert wrong.returncode == 2
    assert wrong.stderr == "fastmlp: error: no-such-file: No such file or directory\n"
    assert run("fly").returncode == 2


def test_help_loads_neither_numba_nor_matplotlib():
    program = (
        "import sys; from fastmlp.cli import main; main(['--help'])\n"
        "sys.exit('numba' in sys.modules or 'matplotlib' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0


@pytest.mark.slow
def test_the_packaged_mnist_is_the_default_data(here, capsys):
    data = load_mnist("uint8")
    net = fastmlp.MLP((784, 10), input_scale=255.0, rng=0, backend="numpy")
    net.save("net.npz")
    assert main(["evaluate", "net.npz", "--backend", "numpy"]) == 0
    expected = net.evaluate(data.x_test, data.y_test)
    assert f"accuracy {100 * expected['accuracy']:.2f} %" in capsys.readouterr().out
