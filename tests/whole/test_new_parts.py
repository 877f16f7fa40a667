"""How many places a new activation or optimizer takes: three, one each in the vocabulary, the
reference and the kernels. Tried out with mish and Lion on a copy of the package, and with AMSGrad,
which remembers more than any optimizer of the package, in a process of its own.
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
from fastmlp import optimizers
from fastmlp.kernels.emit import optimizers as vectors

PACKAGE = Path(fastmlp.__file__).parent
TESTS = Path(__file__).parents[1]
CONTRIBUTING = TESTS.parent / ".github" / "CONTRIBUTING.md"

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
    b, (slot,), zero = v.b, slots, v.c(0.0)
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
    "kernels/emit/activations.py": [
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
    "kernels/emit/optimizers.py": [
        ("\n_RULES", VECTORS),
        (
            '    "adam": Rule(_adam, 2),\n',
            '    "adam": Rule(_adam, 2),\n    "lion": Rule(_lion, 1),\n',
        ),
    ],
}

USE = """
import sys
import numpy as np
import fastmlp
from fastmlp import cli
from fastmlp.datasets import load_mnist
from fastmlp.verification import all_cases, checks

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


AMSGRAD = '''
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy import sparse

import fastmlp
from fastmlp import kernels, optimizers, reference
from fastmlp.kernels.emit import optimizers as vectors
from fastmlp.kernels.jit import registry
from fastmlp.contract.parameters import Parameters
from fastmlp.reference import optimizers as formulas
from fastmlp.sklearn import MLPClassifier
from fastmlp.verification import TOLERANCE, difference


@dataclass(frozen=True)
class AMSGrad(fastmlp.Adam):
    """Adam, divided by the largest mean square so far (Reddi et al. 2018)."""

    slots: ClassVar[int] = 3

    @property
    def rule(self):
        return "amsgrad"


def formula(o, w, g, slots, t, rate):
    m, u, largest = slots
    m[...] = o.beta_1 * m + (1 - o.beta_1) * g
    u[...] = o.beta_2 * u + (1 - o.beta_2) * g * g
    largest[...] = np.maximum(largest, u)
    root = np.sqrt(largest / (1 - o.beta_2**t))
    w -= rate * m / (1 - o.beta_1**t) / (root + o.epsilon)


def on_vectors(v, h, g, x, slots):
    b, (first, second, third) = v.b, slots
    m = v.fma(h["one_minus_beta_1"], g, b.fmul(h["beta_1"], v.load(first)))
    u = v.fma(b.fmul(h["one_minus_beta_2"], g), g, b.fmul(h["beta_2"], v.load(second)))
    largest = v.max(v.load(third), u)
    for value, slot in ((m, first), (u, second), (largest, third)):
        v.store(value, slot)
    root = v.intrinsic("sqrt", [b.fmul(largest, h["correction_2"])])
    step = b.fmul(h["learning_rate"], b.fmul(m, h["correction_1"]))
    return b.fsub(x, b.fdiv(step, b.fadd(root, h["epsilon"])))


before = fastmlp.MLP((3, 2), rng=0)
optimizers.OPTIMIZERS["amsgrad"] = AMSGrad
formulas._RULES["amsgrad"] = formula
vectors._RULES["amsgrad"] = vectors.Rule(on_vectors, 3)
code = vectors.OPTIMIZERS["amsgrad"] = len(vectors.OPTIMIZERS)

rng, done = np.random.default_rng(0), 0
dense, y = rng.normal(size=(700, 40)), rng.integers(0, 3, 700)
zeros = dense * (rng.random(dense.shape) < 0.2)
KINDS = {"dense": dense, "zeros": zeros, "csr": sparse.csr_matrix(zeros)}
STEPS = (
    {"batch_size": 32}, {"batch_size": 32, "clip_norm": 0.1, "l1": 1e-3}, {"batch_size": 600},
    {"batch_size": None, "l2": 0.01}, {"batch_size": 1}, {"batch_size": 20, "max_norm": 0.5},
)


def everything(net, history):
    slots = [array for slot in net._state.slots for array in slot]
    return [*net.weights, *net.biases, *slots, np.array(history.loss)]


for kind, X in KINDS.items():
    for width in (18, 600):
        for options in STEPS if width == 18 else STEPS[2:3]:
            found = []
            for backend, threads in (("numpy", 1), ("numba", 1), ("numba", 3)):
                net = fastmlp.MLP((40, width, width, 3), activation="tanh", dtype="float64", rng=1,
                                  backend=backend, threads=threads)
                history = net.fit(X, y, epochs=2, optimizer=AMSGrad(0.001), **options)
                assert len(net._state.slots) == 3
                found.append(everything(net, history))
            gap = difference(found[1], found[0])
            assert gap <= 50 * TOLERANCE["float64"], (kind, width, options, gap)
            assert difference(found[1], found[2]) == 0, (kind, width, options)
            done += 1

# one step, as the operation of both
w, g = rng.normal(size=(17, 5)), rng.normal(size=(17, 5))
ours, theirs = [w.copy()], [w.copy()]
states = [AMSGrad().start([w]) for _ in range(2)]
for _ in range(3):
    kernels.optimizer_step(AMSGrad(), ours, [g], states[0])
    reference.optimizer_step(AMSGrad(), theirs, [g], states[1])
for arrays, state in zip((ours, theirs), states):
    arrays += [array for slot in state.slots for array in slot]
assert difference(ours, theirs) <= TOLERANCE["float64"]

# saved and resumed; and an estimator
whole, part = (fastmlp.MLP((40, 18, 3), rng=1) for _ in range(2))
whole.fit(zeros, y, epochs=2, optimizer=AMSGrad())
part.fit(zeros, y, epochs=1, optimizer=AMSGrad())
part.save("net.npz")
again = fastmlp.MLP.load("net.npz")
again.fit(zeros, y, epochs=1)
assert all((a == b).all() for a, b in zip(again.weights, whole.weights))
assert (again._parameters.slots[2] == whole._parameters.slots[2]).all()
import pickle, warnings
warnings.simplefilter("ignore")
model = MLPClassifier((18,), optimizer=AMSGrad(), random_state=0, max_iter=3)
model.partial_fit(zeros, y, classes=[0, 1, 2])
copied = pickle.loads(pickle.dumps(model)).partial_fit(zeros, y)
model.partial_fit(zeros, y)
assert all((a == b).all() for a, b in zip(copied.coefs_, model.coefs_))

# a network that has no room for it says so
try:
    before.fit(dense[:, :3], y % 2, epochs=1, optimizer=AMSGrad())
except ValueError as error:
    print(done, error)
'''


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
    options = ("-k", "mish or lion", "-c", TESTS.parent / "pyproject.toml")
    return run(copy, "-m", "pytest", *options, *(TESTS / name for name in files))


def passed(done: subprocess.CompletedProcess[str]) -> int:
    assert done.returncode == 0, done.stdout + done.stderr
    return int(re.search(r"(\d+) passed", done.stdout)[1])


@pytest.mark.slow
def test_three_places_are_enough(copy):
    done = run(copy, "-c", USE, copy)
    assert done.returncode == 0, done.stderr
    assert "12 of 12 checks passed" in done.stdout
    proofs = their_tests(copy, "reference")
    assert passed(proofs) >= 8
    assert (
        passed(their_tests(copy, "whole/test_parity.py", "kernels/emit/test_vector_math.py")) >= 16
    )


@pytest.mark.slow
def test_an_optimizer_may_remember_three_arrays(tmp_path):
    """In a process and with a cache of its own: what it compiles is not the package's."""
    environment = {
        **os.environ, "PYTHONPATH": str(PACKAGE.parent),
        "FASTMLP_CACHE_DIR": str(tmp_path / "cache"),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", AMSGRAD], cwd=tmp_path, env=environment,
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "21 optimizer: the network has 2 slots, not 3"


def test_the_kernels_know_how_much_every_optimizer_remembers():
    kinds = [kind() for kind in optimizers.OPTIMIZERS.values()]
    kinds += [fastmlp.SGD(momentum=0.5), fastmlp.SGD(momentum=0.5, nesterov=True)]
    assert {o.rule: o.slots for o in kinds} == {name: r.slots for name, r in vectors._RULES.items()}
    assert all(o.slots <= o.most_slots() for o in kinds)


def test_a_wrong_derivative_is_seen(copy):
    path = copy / "fastmlp" / "reference" / "activations.py"
    text = path.read_text("utf-8")
    path.write_text(text.replace("z * t, t + z *", "z * t, t - z *"), "utf-8")
    done = their_tests(copy, "reference/test_symbolic.py")
    assert done.returncode == 1
    assert "test_the_derivative_of_an_activation_is_that_of_its_value[mish" in done.stdout


@pytest.mark.parametrize(
    ("new", "places"), [("an activation", ACTIVATION), ("an optimizer", OPTIMIZER)]
)
def test_the_guide_names_these_places_and_no_others(new, places):
    text = CONTRIBUTING.read_text("utf-8").partition("## Adding an activation")[2]
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
    assert users - {"kernels/jit/registry.py"} == {*ACTIVATION}
