"""`precision`: what it changes, by how much, on which layers, and that it changes nothing else."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import subprocess
import sys

import numpy as np
import pytest

from fastmlp import MLP, SGD, Adam, fit_many
from fastmlp.architecture import PRECISIONS, Architecture
from fastmlp.contract.splitting import layer_parts
from fastmlp.kernels.emit.target import current_target
from fastmlp.kernels.run import choose, training
from fastmlp.kernels.run.partial import GroupSums, Update
from fastmlp.regularization import Regularization

scipy_sparse = pytest.importorskip("scipy.sparse")

LOWER = ("high", "medium")
SIZES = (201, 257, 150, 10)
RNG = np.random.default_rng(0)
X = RNG.standard_normal((300, SIZES[0])).astype(np.float32)
LABELS = RNG.integers(0, SIZES[-1], len(X))


def trained(precision="medium", data=X, epochs=1, sizes=SIZES, fits=(), **options):
    """Return the parameters after a fit, as one vector, and the loss of every epoch."""
    names = ("activation", "backend", "threads", "dtype")
    own = {name: options.pop(name) for name in names if name in options}
    net = MLP(sizes, **{"activation": "relu", "rng": 1, "precision": precision, **own})
    history = net.fit(data, LABELS[: data.shape[0]], epochs=epochs, **options)
    return np.concatenate([a.ravel() for a in (*net.weights, *net.biases)]), history.loss


# both backends

STEPS = {
    "sgd": {"optimizer": SGD(0.1), "batch_size": 300},
    "a smaller last batch": {"optimizer": SGD(0.1, momentum=0.9), "batch_size": 97, "l2": 0.01},
    "dropout": {"optimizer": SGD(0.1), "batch_size": 150, "dropout": 0.3},
    "the whole gradient": {
        "optimizer": SGD(0.1), "batch_size": 100, "clip_norm": 0.1, "max_norm": 1.0,
    },
    "gelu, in chunks": {"activation": "gelu", "optimizer": SGD(0.1), "batch_size": None},
}  # fmt: skip
# Sums differ in their last bits, as in float32. A number near to the middle between two of bfloat16
# may then be rounded the other way: by 2^-8 of its size in medium, by 2^-16 in high. A sum moves by
# that at most, were this number's product all of it. About one number in 2^16 lies so near (one in
# 2^8 in high), and sums have hundreds of products: 2e-4 and 3e-6 were measured.
OF_STEP = {"highest": 1e-5, "high": 1e-5 + 2**-16, "medium": 1e-5 + 2**-8}


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("step", STEPS)
def test_the_backends_round_the_same(monkeypatch, step, precision):
    if step == "gelu, in chunks":
        monkeypatch.setattr(choose, "CHUNK", 64)
        monkeypatch.setattr(choose, "_GROUPS_BYTES", 1)
    before, _ = trained(epochs=0)
    ours, loss = trained(precision, threads=2, **STEPS[step])
    theirs, other = trained(precision, backend="numpy", **STEPS[step])
    apart, moved = np.abs(ours - theirs).max(), np.abs(theirs - before).max()
    assert apart < OF_STEP[precision] * moved
    assert loss == pytest.approx(other, rel=1e-5)
    if precision == "medium":  # were nothing rounded, or everything twice, it would be seen
        exact, _ = trained("highest", backend="numpy", **STEPS[step])
        assert np.abs(theirs - exact).max() > 5 * apart


@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_one_step_is_as_near_to_float32_as_promised(backend):
    options = {"optimizer": SGD(0.1), "batch_size": None}
    exact, _ = trained("highest", backend="numpy", **options)
    before, _ = trained(epochs=0)
    for precision, promised in (("high", 1e-5), ("medium", 1e-2)):
        found, _ = trained(precision, backend=backend, **options)
        assert np.abs(found - exact).max() < promised * np.abs(exact).max()
        assert np.abs(found - before).max() > 0


def test_the_loss_of_an_epoch_is_as_near_as_promised():
    options = {"optimizer": Adam(), "batch_size": 64, "epochs": 3}
    exact = trained("highest", **options)[1]
    assert trained("high", **options)[1] == pytest.approx(exact, rel=1e-4)
    assert trained("medium", **options)[1] == pytest.approx(exact, rel=1e-2)


# bits


@pytest.mark.parametrize("precision", LOWER)
@pytest.mark.parametrize("batch_size", [61, 130, 600])
def test_bits_do_not_depend_on_threads_or_chunks(monkeypatch, precision, batch_size):
    options = {"optimizer": Adam(), "batch_size": batch_size, "epochs": 2, "dropout": 0.2}
    one, loss = trained(precision, threads=1, **options)
    for threads in (2, 3, 5):
        other, losses = trained(precision, threads=threads, **options)
        assert np.array_equal(one, other)
        assert loss == losses
    assert not np.array_equal(one, trained("highest", threads=1, **options)[0])


def test_a_fit_that_goes_on_from_a_file_has_the_bits_of_one_that_was_never_left(tmp_path):
    whole, halves = (MLP(SIZES, activation="relu", rng=1, precision="medium") for _ in range(2))
    whole.fit(X, LABELS, epochs=2, batch_size=64, optimizer=Adam())
    halves.fit(X, LABELS, epochs=1, batch_size=64, optimizer=Adam())
    halves.save(tmp_path / "half.npz")
    again = MLP.load(tmp_path / "half.npz")
    again.fit(X, LABELS, epochs=1, batch_size=64)
    assert again.precision == "medium"
    assert all(np.array_equal(a, b) for a, b in zip(whole.weights, again.weights, strict=True))


PROGRAM = """
import sys
import test_precision as t
from fastmlp.kernels.emit.target import current_target, multiplies_bfloat16
print(current_target().name, multiplies_bfloat16(), t.digest())
"""


def digest() -> str:
    found = [trained(p, optimizer=Adam(), batch_size=61, epochs=2)[0] for p in LOWER]
    return hashlib.sha256(np.concatenate(found).tobytes()).hexdigest()


OTHERS = {
    "avx512 False": {"NUMBA_CPU_NAME": "skylake-avx512", "NUMBA_CPU_FEATURES": ""},
    "avx2 False": {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": ""},
    "generic False": {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": "+sse2"},
}


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="another processor")
@pytest.mark.parametrize(
    "expected",
    [pytest.param(t, marks=() if "avx512" in t else pytest.mark.slow) for t in OTHERS],
)
def test_without_the_instruction_the_values_are_the_same(expected):
    """To the last bit where there are fused multiply-adds: Zen 4 was tried."""
    if current_target().name not in ("avx512", expected.split()[0]):
        pytest.skip(f"this processor runs no code for {expected.split()[0]}")
    environment = {**os.environ, **OTHERS[expected], "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {os.path.dirname(__file__)!r})"
         + PROGRAM], env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    *found, bits = done.stdout.split()
    assert " ".join(found) == expected
    if current_target().fma and "generic" not in expected:
        assert bits == digest()


# which layers


@pytest.mark.parametrize(
    ("sizes", "batch_size", "expected"),
    [
        ((784, 1024, 1024, 10), 512, (1, 1, 0)),
        ((784, 128, 64, 10), 512, (1, 0, 0)),
        ((128, 128, 10), 64, (1, 0)),
        ((128, 128, 10), 63, (0, 0)),
        ((128, 127, 10), 512, (0, 0)),
        ((256, 256, 256), 32, (1, 1)),
        ((256, 256, 256), 1, (0, 0)),
    ],
)  # fmt: skip
def test_wide_layers_are_split(sizes, batch_size, expected):
    dense = np.ones((70, sizes[0]), np.float32)
    for precision, parts in (("highest", 0), ("medium", 1), ("high", 2)):
        shape = Architecture(sizes, precision=precision)
        assert layer_parts(shape, batch_size, dense) == tuple(parts * e for e in expected)


@pytest.mark.parametrize("kind", ["sparse", "mostly zero"])
def test_non_zeros_stay_with_float32(kind):
    data = X * (RNG.random(X.shape) < 0.2)
    data = scipy_sparse.csr_array(data) if kind == "sparse" else data
    for sizes, split in (((201, 257, 10), False), ((201, 257, 257, 10), True)):
        parts = layer_parts(Architecture(sizes, precision="medium"), 100, data)
        assert parts == ((0, 1, 0) if split else (0, 0))
        options = {"data": data, "sizes": sizes, "batch_size": 100, "optimizer": SGD(0.1)}
        exact, found = (trained(p, **options)[0] for p in ("highest", "medium"))
        assert np.array_equal(exact, found) != split
        theirs, _ = trained("medium", backend="numpy", **options)
        moved = np.abs(theirs - trained(epochs=0, **options)[0]).max()
        assert np.abs(found - theirs).max() < OF_STEP["medium"] * moved


@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_only_steps_of_training_are_rounded(backend):
    nets = [MLP(SIZES, rng=1, backend=backend, precision=p) for p in PRECISIONS]
    first, *others = [
        [net.predict_proba(X), *net.forward(X), *net.loss_and_gradients(X, LABELS)[1].weights,
         np.array(net.evaluate(X, LABELS)["loss"])]
        for net in nets
    ]  # fmt: skip
    for other in others:
        assert all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


# what is said, refused and kept


@pytest.mark.parametrize("precision", LOWER)
def test_float64_has_no_lower_precision(precision):
    message = f"precision: expected highest with dtype float64, got '{precision}'"
    with pytest.raises(ValueError, match=re.escape(message)):
        MLP(SIZES, dtype="float64", precision=precision)
    assert MLP(SIZES, dtype="float64", precision="highest").precision == "highest"


@pytest.mark.parametrize(("value", "error"), [("low", ValueError), (None, TypeError)])
def test_other_precisions_are_refused(value, error):
    with pytest.raises(error, match=r"^precision: expected one of highest, high, medium, got"):
        MLP(SIZES, precision=value)


def test_a_network_says_its_precision_where_it_is_not_the_highest():
    assert repr(MLP((3, 2), precision="medium")).endswith("dtype='float32', precision='medium')")
    assert "precision" not in repr(MLP((3, 2)))


def test_files_of_the_highest_precision_are_those_of_before():
    assert "precision" not in MLP((3, 2)).architecture.config()
    assert MLP((3, 2), precision="high").architecture.config()["precision"] == "high"


@pytest.mark.parametrize(
    ("precision", "instruction", "said"),
    [("medium", True, 0), ("medium", False, 1), ("high", True, 1), ("highest", False, 0)],
)
def test_a_precision_that_does_not_pay_is_told_once(monkeypatch, precision, instruction, said):
    heard = []
    training.tell_precision.cache_clear()
    monkeypatch.setattr(training, "notice", heard.append)
    monkeypatch.setattr(choose, "multiplies_bfloat16", lambda: instruction)
    for sizes in ((5, 4, 3), SIZES, SIZES):
        data = X[:, : sizes[0]]
        labels = LABELS % sizes[-1]
        MLP(sizes, rng=0, precision=precision).fit(data, labels, epochs=1)
    training.tell_precision.cache_clear()
    assert len(heard) == said
    assert all(text.startswith(f"precision='{precision}': ") for text in heard)


WITHOUT = """
import sys, fastmlp
from fastmlp.kernels.jit import compiler
names, compiled = [], compiler.machine_code
import fastmlp.kernels.jit.registry as registry
registry.machine_code = lambda name, emit: (names.append(name), compiled(name, emit))[1]
import numpy as np
X, y = np.random.default_rng(0).standard_normal((200, 600)), np.arange(200) % 3
fastmlp.MLP((600, 600, 600, 3), rng=0).fit(X.astype("float32"), y, epochs=1, batch_size=150)
assert any("packed update" in name for name in names)
print(*[name for name in (*names, *sys.modules) if "split" in name or "bf" in name])
"""


def test_who_does_not_ask_for_it_imports_and_compiles_none_of_it():
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert set(done.stdout.split()) <= {"fastmlp.contract.splitting"}  # the rule, and densities


def test_the_estimators_take_it():
    ConvergenceWarning = pytest.importorskip("sklearn.exceptions").ConvergenceWarning
    from fastmlp import sklearn

    for kind in (sklearn.MLPClassifier, sklearn.MLPRegressor):
        settings = {"hidden_layer_sizes": (257,), "max_iter": 1, "random_state": 0}
        found = {}
        for precision in PRECISIONS:
            model = kind(precision=precision, **settings)
            with pytest.warns(ConvergenceWarning):
                found[precision] = model.fit(X, LABELS).coefs_[0].copy()
        assert not np.array_equal(found["highest"], found["medium"])
        assert not np.array_equal(found["highest"], found["high"])
        for given in ({"dtype": "float64"}, {}):
            with pytest.raises(ValueError, match="precision: expected highest with dtype float64"):
                kind(precision="medium", **given, **settings).fit(X.astype("float64"), LABELS)
        with pytest.raises(ValueError, match="precision"):
            kind(precision="low", **settings).fit(X, LABELS)


def test_an_estimator_of_an_older_version_has_the_highest():
    from fastmlp.sklearn import MLPClassifier

    model = MLPClassifier((4,), precision="medium")
    state = {name: value for name, value in vars(model).items() if name != "precision"}
    older = MLPClassifier.__new__(MLPClassifier)
    older.__setstate__(state)
    assert older.get_params()["precision"] == "highest"
    older.__setstate__(vars(model))
    assert older.precision == "medium"


def test_a_precision_may_change_between_fits_that_go_on():
    from fastmlp.sklearn import MLPClassifier

    def fitted(second):
        model = MLPClassifier((257,), random_state=0)
        for precision in ("highest", second):
            model.set_params(precision=precision).partial_fit(X, LABELS, classes=range(SIZES[-1]))
        return model.coefs_[0]

    assert np.array_equal(fitted("highest"), fitted("highest"))
    assert not np.array_equal(fitted("highest"), fitted("medium"))


@pytest.mark.parametrize("saved", [None, "low", 3])
def test_a_file_with_another_precision_is_refused(tmp_path, saved):
    net, path = MLP((3, 2), precision="medium"), tmp_path / "net.npz"
    object.__setattr__(net.architecture, "precision", saved)
    net.save(path)
    with pytest.raises(ValueError, match=r"net\.npz"):
        MLP.load(path)


def test_many_networks_have_a_precision_each():
    options = {"epochs": 2, "batch_size": 64, "optimizer": Adam()}
    nets = [MLP(SIZES, activation="relu", rng=1, precision=p) for p in PRECISIONS]
    fit_many(nets, X, LABELS, **options)
    for net, precision in zip(nets, PRECISIONS, strict=True):
        alone, _ = trained(precision, **options)
        together = np.concatenate([a.ravel() for a in (*net.weights, *net.biases)])
        assert np.array_equal(alone, together)


def test_sums_of_groups_are_float32_and_say_nothing(monkeypatch):
    """Those of `fastmlp.distributed`."""
    monkeypatch.setattr(training, "notice", lambda text: pytest.fail(text))
    training.tell_precision.cache_clear()
    found = []
    for precision in ("highest", "high"):
        parameters = MLP(SIZES, rng=0, precision=precision)._parameters
        state = Adam().start([*parameters.weights, *parameters.biases])
        state.slots = parameters.slot_views(2)
        groups = GroupSums(
            parameters, X, LABELS, None, group_samples=320, regularization=Regularization(),
            sparse=False,
        )  # fmt: skip
        update = Update(parameters, Adam(), state, Regularization())
        workspace = groups.workspace(parameters, Regularization())
        groups.sums(np.arange(len(X)), update.gradient, workspace)
        update.step(float(len(X)), 0.01)
        found.append(parameters.flat.copy())
    assert np.array_equal(*found)
