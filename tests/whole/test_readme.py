"""The README's program runs, and what it says of the commands is so."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

README = Path(__file__).parents[2] / "README.md"


def code_blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), re.S)


def test_the_first_program_runs(tmp_path, monkeypatch):
    import matplotlib

    import fastmlp
    from fastmlp import datasets

    matplotlib.use("Agg")
    monkeypatch.chdir(tmp_path)
    data = datasets.load_mnist("uint8")
    few = data._replace(x_train=data.x_train[:6000], y_train=data.y_train[:6000])
    monkeypatch.setattr(datasets, "load_mnist", lambda *_: few)
    program = code_blocks("python")[0]
    scope: dict = {}
    exec(program, scope)
    assert scope["history"].val_accuracy[-1] > 0.9
    again = fastmlp.MLP.load(tmp_path / "digits.npz")
    for ours, theirs in zip(again.weights, scope["net"].weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    matplotlib.pyplot.close("all")


def test_the_two_commands_are_one_line_each():
    commands = code_blocks("sh")
    assert len(commands) == 2
    for command in commands:
        assert command.count("\n") == 1
        assert command.startswith("python -m pip install ")
