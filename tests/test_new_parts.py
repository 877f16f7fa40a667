"""How many places a new activation or optimizer takes: three, one each in the vocabulary, the
reference and the kernels. Tried out with mish and Lion on a copy of the package.
"""

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
CLASS = '''
@dataclass(frozen=True)
class Lion(Optimizer):
    """Steps of one size, by the sign of a moving mean (Chen et al. 2023)."""

    learning_rate: float = 0.001
    beta_1: float = 0.9
    beta_2: float = 0.99
    slots: ClassVar[int] = 1


OPTIMIZERS:'''
RULE = '''
def _lion(o: Any, w: np.ndarray, g: np.ndarray, slots: Arrays, t: int, rate: float) -> None:
    """w <- w - rate sign(b1 m + (1 - b1) g);  m <- b2 m + (1 - b2) g."""
    (m,) = slots
    w -= rate * np.sign(o.beta_1 * m + (1 - o.beta_1) * g)
    m *= o.beta_2
    m += (1 - o.beta_2) * g


_RULES'''
VECTORS = """
def _lion(v: Vec, h: Hyper, g: Any, x: Any, slots: list[Any]) -> Any:
    b, (slot, _), zero = v.b, slots, v.c(0.0)
    m = v.load(slot)
    mean = v.fma(h["one_minus_beta_1"], g, b.fmul(h["beta_1"], m))
    v.store(v.fma(h["one_minus_beta_2"], g, b.fmul(h["beta_2"], m)), slot)
    rate = h["learning_rate"]
    step = b.select(v.greater(mean, zero), rate, v.negative(rate))
    return b.fsub(x, b.select(b.fcmp_ordered("==", mean, zero), zero, step))


_RULES"""
# file -> what is written where: the vocabulary, the reference, the kernels
ACTIVATION = {
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
OPTIMIZER = {
    "optimizers.py": [("\nOPTIMIZERS:", CLASS), ("Adam, AdamW)\n}", "Adam, AdamW, Lion)\n}")],
    "reference/optimizers.py": [
        ("\n_RULES", RULE),
        ('    "adam": _adam,\n', '    "adam": _adam,\n    "lion": _lion,\n'),
    ],
    "kernels/optimizers.py": [
        ("\n_RULES", VECTORS),
        ('    "adam": _adam,\n', '    "adam": _adam,\n    "lion": _lion,\n'),
    ],
}

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
net.fit(X, y, epochs=2, batch_size=50, optimizer="lion", progress=False)
assert net.evaluate(data.x_test[:2000], data.y_test[:2000])["accuracy"] > 0.8
net.save("net.npz")
again = fastmlp.MLP.load("net.npz")
assert again.architecture.activations == ("mish", "mish")
np.testing.assert_array_equal(again.predict_proba(X), net.predict_proba(X))
checks.all_cases = lambda: (case for case in all_cases() if case.variant in ("mish", "lion"))
assert cli.main(["verify", "parity"]) == 0
np.savez("few.npz", x_train=X[:500], y_train=y[:500], x_test=X[:100], y_test=y[:100])
assert cli.main(["train", "few.npz", "--layers", "784,24,16,10", "--activation", "mish",
                 "--optimizer", "lion", "--epochs", "1", "--out", "cli.npz"]) == 0
"""


@pytest.fixture
def copy(tmp_path) -> Path:
    """Return a folder with a copy of the package that has the new activation and optimizer."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PACKAGE, tmp_path / "fastmlp", ignore=ignored)
    for name, changes in {**ACTIVATION, **OPTIMIZER}.items():
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
        cwd=copy, env=environment, capture_output=True, text=True, timeout=1200,
    )  # fmt: skip


def their_tests(copy: Path, *files: str) -> subprocess.CompletedProcess[str]:
    """Run what the suite makes of the new names, from the vocabulary alone."""
    options = (
        "-k",
        "mish or lion",
        "--import-mode=importlib",
        "-c",
        TESTS.parent / "pyproject.toml",
    )
    return run(copy, "-m", "pytest", *options, *(TESTS / name for name in files))


def passed(done: subprocess.CompletedProcess[str]) -> int:
    assert done.returncode == 0, done.stdout + done.stderr
    return int(re.search(r"(\d+) passed", done.stdout)[1])


@pytest.mark.slow
def test_three_places_are_enough(copy):
    done = run(copy, "-c", USE, copy)
    assert done.returncode == 0, done.stderr
    assert "12 of 12 checks passed" in done.stdout
    proofs = their_tests(copy, "test_symbolic.py", "test_symbolic_numbers.py", "test_reference.py")
    assert passed(proofs) >= 8
    assert passed(their_tests(copy, "test_parity.py", "test_vector_math.py")) >= 16


def test_a_wrong_derivative_is_seen(copy):
    path = copy / "fastmlp" / "reference" / "activations.py"
    text = path.read_text("utf-8")
    path.write_text(text.replace("z * t, t + z *", "z * t, t - z *"), "utf-8")
    done = their_tests(copy, "test_symbolic.py")
    assert done.returncode == 1
    assert "test_the_derivative_of_an_activation_is_that_of_its_value[mish" in done.stdout


@pytest.mark.parametrize(
    ("new", "places"), [("an activation", ACTIVATION), ("an optimizer", OPTIMIZER)]
)
def test_the_readme_names_these_places_and_no_others(new, places):
    text = README.read_text("utf-8").partition("## Contributing")[2].partition("\n## ")[0]
    row = next(line for line in text.splitlines() if line.startswith(f"| {new}"))
    needed, _, optional = row.split("|")[2].partition("optional: ")
    assert re.findall(r"`([\w/]+\.py)`", needed) == list(places)
    assert all((PACKAGE / name).is_file() for name in re.findall(r"`([\w/]+\.py)`", optional))


@pytest.mark.parametrize("name", ["softplus", "leaky_relu"])
def test_nothing_else_in_the_package_knows_an_activation_by_its_name(name):
    users = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if f'"{name}"' in path.read_text("utf-8")
    }
    # the kernels' short group, an optimization, goes by names too; and so do the readers and
    # writers of other libraries' models, which refuse what the other library does not have
    users = {user for user in users if not user.startswith("interchange/")}
    assert users - {"kernels/table.py"} == {*ACTIVATION}
