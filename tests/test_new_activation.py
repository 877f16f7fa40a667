"""How many places a new activation takes: three, tried out with mish on a copy of the package."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fastmlp

PACKAGE = Path(fastmlp.__file__).parent
TESTS = Path(__file__).parent
README = TESTS.parent / "README.md"

NAME = '    "softplus",\n)\n'
REFERENCE = '''
def _mish(z: np.ndarray) -> Pair:
    """f = z t with t = tanh(log(1 + exp(z))), f' = t + z (1 - t^2) s(z) (Misra 2019)."""
    t = np.tanh(np.logaddexp(0, z))
    return z * t, t + z * (1 - t * t) * sigmoid(z)


_FUNCTIONS'''
KERNELS = """
def _mish(v: Vec, z: Any) -> tuple[Any, Any]:
    b = v.b
    softplus, s = _softplus(v, z)
    t = v.tanh(softplus)
    inner = b.fmul(b.fmul(z, s), b.fsub(v.c(1.0), b.fmul(t, t)))
    return b.fmul(z, t), b.fadd(t, inner)


_TABLE"""
# file -> what is written where: the vocabulary, the reference, the kernels
PLACES = {
    "activations.py": [(NAME, '    "softplus",\n    "mish",\n)\n')],
    "reference/activations.py": [
        ("\n_FUNCTIONS", REFERENCE),
        ('    "softplus": _softplus,\n', '    "softplus": _softplus,\n    "mish": _mish,\n'),
    ],
    "kernels/activations.py": [
        ("\n_TABLE", KERNELS),
        ('    "softplus": Activation(_softplus),\n',
         '    "softplus": Activation(_softplus),\n    "mish": Activation(_mish),\n'),
    ],
}  # fmt: skip

USE = """
import sys
import numpy as np
import fastmlp
from fastmlp import checks, cli
from fastmlp.datasets import load_mnist
from fastmlp.verification import all_cases

assert fastmlp.__file__.startswith(sys.argv[1]), fastmlp.__file__
data = load_mnist("uint8")
X, y = data.x_train[:4000], data.y_train[:4000]
net = fastmlp.MLP((784, 24, 16, 10), activation="mish", input_scale=255.0, rng=0)
net.fit(X, y, epochs=2, batch_size=50, optimizer="adam", progress=False)
assert net.evaluate(data.x_test[:2000], data.y_test[:2000])["accuracy"] > 0.8
net.save("net.npz")
again = fastmlp.MLP.load("net.npz")
assert again.architecture.activations == ("mish", "mish")
np.testing.assert_array_equal(again.predict_proba(X), net.predict_proba(X))
checks.all_cases = lambda: (case for case in all_cases() if case.variant == "mish")
assert cli.main(["verify", "parity"]) == 0
np.savez("few.npz", x_train=X[:500], y_train=y[:500], x_test=X[:100], y_test=y[:100])
assert cli.main(["train", "few.npz", "--layers", "784,24,16,10", "--activation", "mish",
                 "--epochs", "1", "--out", "cli.npz"]) == 0
"""


@pytest.fixture
def copy(tmp_path) -> Path:
    """Return a folder with a copy of the package that has the new activation."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PACKAGE, tmp_path / "fastmlp", ignore=ignored)
    for name, changes in PLACES.items():
        path = tmp_path / "fastmlp" / name
        text = path.read_text("utf-8")
        for before, after in changes:
            assert text.count(before) == 1, (name, before)
            text = text.replace(before, after)
        path.write_text(text, "utf-8")
    return tmp_path


def run(copy: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": str(copy),
        "FASTMLP_CACHE_DIR": str(copy / "cache"),
    }
    return subprocess.run(
        [sys.executable, "-P", *map(str, arguments)],
        cwd=copy, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def its_tests(copy: Path, *files: str) -> subprocess.CompletedProcess[str]:
    """Run what the suite makes of the new name, from the vocabulary alone."""
    options = ("-k", "mish", "--import-mode=importlib", "-c", TESTS.parent / "pyproject.toml")
    return run(copy, "-m", "pytest", *options, *(TESTS / name for name in files))


def passed(done: subprocess.CompletedProcess[str]) -> int:
    assert done.returncode == 0, done.stdout + done.stderr
    return int(re.search(r"(\d+) passed", done.stdout)[1])


def test_three_places_are_enough(copy):
    done = run(copy, "-c", USE, copy)
    assert done.returncode == 0, done.stderr
    assert "8 of 8 checks passed" in done.stdout
    proofs = its_tests(copy, "test_symbolic.py", "test_symbolic_numbers.py", "test_reference.py")
    assert passed(proofs) >= 8
    assert passed(its_tests(copy, "test_parity.py", "test_vector_math.py")) >= 18


def test_a_wrong_derivative_is_seen(copy):
    path = copy / "fastmlp" / "reference" / "activations.py"
    text = path.read_text("utf-8")
    path.write_text(text.replace("z * t, t + z *", "z * t, t - z *"), "utf-8")
    done = its_tests(copy, "test_symbolic.py")
    assert done.returncode == 1
    assert "test_the_derivative_of_an_activation_is_that_of_its_value[mish" in done.stdout


def test_the_readme_names_these_places_and_no_others():
    text = README.read_text("utf-8").partition("## Contributing")[2].partition("\n## ")[0]
    row = next(line for line in text.splitlines() if line.startswith("| an activation"))
    named = re.findall(r"`([\w/]+\.py)`", row.split("|")[2])
    assert named == list(PLACES)


@pytest.mark.parametrize("name", ["softplus", "leaky_relu"])
def test_nothing_else_in_the_package_knows_an_activation_by_its_name(name):
    users = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if f'"{name}"' in path.read_text("utf-8")
    }
    # only the kernels' short group, an optimization, goes by names too
    assert users - {"kernels/table.py"} == {*PLACES}
