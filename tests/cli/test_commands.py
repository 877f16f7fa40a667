"""The command line: reproduce, info and help; and the codes it ends with."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import CHECKOUT, fails

import fastmlp
from fastmlp import recipes
from fastmlp.cli import main
from fastmlp.datasets import load_mnist


def run(*argv, **kwargs):
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    return subprocess.run(
        [sys.executable, "-m", "fastmlp", *argv], env=environment, capture_output=True, text=True,
        timeout=120, check=False, **kwargs,
    )  # fmt: skip


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


def test_too_little_memory_is_said_in_words(here, capsys, monkeypatch):
    def refuse(*_):
        raise MemoryError

    monkeypatch.setattr("fastmlp.cli.commands.info", refuse)
    assert fails(capsys, "info") == "fastmlp: error: there is not enough memory\n"
