"""`fastmlp train --resume`: the bits of the whole run, or one line that says why not."""

from __future__ import annotations

import os
import re

import pytest
from commands import SMALL, fails

import fastmlp
from fastmlp.cli import main


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
        (("--resume", "data.npz"), "error: expected a network saved by fastmlp"),
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
