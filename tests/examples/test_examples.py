"""Every example runs as it is printed, in less than a minute, and finds what its text says."""

from __future__ import annotations

import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import fastmlp
import fastmlp.examples

NAMES = [module.name for module in pkgutil.iter_modules(fastmlp.examples.__path__)]

HOLDS = {
    "digits_from_scratch": lambda f: f["largest difference"] < 1e-12 and f["test accuracy"] > 0.7,
    "uncertain_regression": lambda f: (
        f["R2 of the mean"] > f["R2 of one"] > 0.98
        and f["spread beyond them"] > 2 * f["spread within the data"]
        and f["epochs"] < 300
    ),
    "search": lambda f: f["test accuracy"] > 0.95,
    "larger_than_memory": lambda f: (
        f["test accuracy, shuffled as a whole"] > 0.9 and f["test accuracy, piece by piece"] > 0.9
    ),
    "onnx_round_trip": lambda f: (
        f["largest difference of a probability"] < 1e-5
        and f["same labels after the way back"] == 1
        and f["test accuracy after training on"] > f["test accuracy"] > 0.9
    ),
    "reading_a_profile": lambda f: 0.1 < f["its share of the step"] <= 1,  # no figure of speed
}


def printed(name: str, folder: Path) -> dict[str, float]:
    """Run an example as a user does; return the figures it prints."""
    root = str(Path(fastmlp.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", f"fastmlp.examples.{name}"], cwd=folder, text=True,
        capture_output=True, env={**os.environ, "PYTHONPATH": root}, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    figures = {}
    for line in done.stdout.splitlines():
        what, _, value = line.rpartition(": ")
        try:
            figures[what] = float(value)
        except ValueError:
            figures[what] = value
    return figures


def test_every_example_is_listed_and_checked():
    assert set(HOLDS) == set(NAMES)
    for name in NAMES:
        assert f"`{name}`" in fastmlp.examples.__doc__


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_an_example_finds_what_it_says(name, tmp_path):
    if name == "onnx_round_trip":
        pytest.importorskip("onnxruntime")
    figures = printed(name, tmp_path)
    assert HOLDS[name](figures), figures
    assert list(tmp_path.iterdir()) == []
