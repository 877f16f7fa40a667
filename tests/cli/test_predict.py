"""`fastmlp evaluate` and `fastmlp predict`: what they read and say."""

from __future__ import annotations

import errno
import io
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import CHECKOUT, fails

import fastmlp
from fastmlp.cli import console, main


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


@pytest.mark.parametrize("closed", [True, False])
def test_windows_says_a_closed_pipe_otherwise(monkeypatch, closed):
    class Pipe(io.StringIO):
        def write(self, text):
            raise OSError(errno.EINVAL, "Invalid argument")

    if closed:
        monkeypatch.setattr(console, "_NOBODY_READS", {errno.EPIPE, errno.EINVAL})
    elif errno.EINVAL in console._NOBODY_READS:
        pytest.skip("here it is a closed pipe")
    monkeypatch.setattr(sys, "stdout", Pipe())
    assert main([]) == (0 if closed else 2)
