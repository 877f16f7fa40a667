"""NumPy's integers are 32 bits wide on some systems: what kernels read by address is 64 anyway.

On Windows a legacy generator permutes in C long, and before NumPy 2 whatever has no dtype is C long
too. Both are imitated here, for everything that trains or predicts.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from functools import partial

import numpy as np
import pytest

import fastmlp
from fastmlp import MLP, SGD, Adam, kernels, reference
from fastmlp.optimizers import OptimizerState


class Narrow(np.random.RandomState):
    """A RandomState as it is where C long has 32 bits."""

    def __deepcopy__(self, memo):
        """Stay narrow: RandomState copies itself as its own class."""
        copied = Narrow()
        copied.set_state(self.get_state())
        return copied

    def permutation(self, x):
        """Return the same permutation in 32 bits."""
        found = super().permutation(x)
        return found.astype(np.int32) if np.ndim(x) == 0 else found


def narrow(make):
    """Return a function of NumPy that makes 32 bits of integers whose dtype nobody names."""

    def made(*arguments, **keywords):
        array = make(*arguments, **keywords)
        plain = "dtype" not in keywords and not any(
            isinstance(a, np.ndarray | np.generic | type | np.dtype) for a in arguments
        )
        # of a single number NumPy itself may ask for the bounds of what it draws
        narrow = plain and array.ndim > 0 and array.dtype == np.int64
        return array.astype(np.int32) if narrow else array

    return made


@pytest.fixture
def narrowed(monkeypatch):
    """Return what makes NumPy's integers narrow."""

    def begin() -> None:
        for name in ("arange", "array", "asarray"):
            monkeypatch.setattr(np, name, narrow(getattr(np, name)))
        assert np.arange(3).dtype == np.array([1]).dtype == np.int32

    return begin


RNG = np.random.default_rng(0)
X = RNG.standard_normal((700, 40)).astype(np.float32)
Y = RNG.integers(0, 3, 700)
ZEROS = RNG.integers(1, 256, (700, 40)).astype(np.uint8) * (RNG.random((700, 40)) < 0.2)


def network(rng, sizes=(40, 12, 3), **settings) -> MLP:
    return MLP(sizes, **{"activation": "relu", "rng": rng, "threads": 2} | settings)


def state(net: MLP) -> list[np.ndarray]:
    return [*net.weights, *net.biases, *(np.array(v) for v in figures(net.history))]


def figures(history) -> list[list[float]]:
    return [values for name, values in sorted(history.as_dict().items()) if name != "seconds"]


def fit(generator, data=X, labels=Y, settings=None, **options) -> list[np.ndarray]:
    net = network(generator(3), **settings or {})
    net.fit(data, labels, **{"epochs": 2, "batch_size": 16, "progress": False} | options)
    return [*state(net), net.predict_proba(data[:50])]


def sparse(generator) -> list[np.ndarray]:
    from scipy.sparse import csr_array

    return fit(generator, csr_array(ZEROS), settings={"input_scale": 255.0})


def chunks(generator) -> list[np.ndarray]:
    net = network(generator(3))
    net.fit([(X[:300], Y[:300]), (X[300:], Y[300:])], epochs=2, batch_size=32, progress=False)
    return state(net)


def many(generator) -> list[np.ndarray]:
    nets = [network(generator(seed)) for seed in (1, 2)]
    fastmlp.fit_many(nets, X, Y, epochs=2, validation_split=0.2)
    return [array for net in nets for array in state(net)]


def judged(generator) -> list[np.ndarray]:
    net = network(generator(3))
    labels = np.asarray(list(Y))
    loss, gradients = net.loss_and_gradients(X, labels, l2=0.01)
    found = [loss, *gradients.weights, *net.forward(X), net.predict(X), net.predict(X[:3])]
    return [*map(np.array, found), np.array(list(net.evaluate(X, labels).values()))]


def operation(generator, backend) -> list[np.ndarray]:
    rng, a = np.random.default_rng(1), network(0).architecture
    weights = [rng.standard_normal(pair).astype(np.float32) for pair in a.layers]
    biases = [np.zeros(n_out, np.float32) for _, n_out in a.layers]
    result = backend.train_epoch(
        X, np.asarray(list(Y)), weights, biases, a, SGD(0.1), OptimizerState(),
        order=generator(2).permutation(700),
    )  # fmt: skip
    return [*weights, *biases, result.losses]


def single_operations(generator, backend) -> list[np.ndarray]:
    net = network(generator(3))
    labels, logits = np.asarray(list(Y)), X[:, :3].copy()
    a, weights, biases = net.architecture, net.weights, net.biases
    loss, delta = backend.softmax_cross_entropy(logits, labels)
    total, found = backend.loss_and_gradients(X, labels, weights, biases, a)
    values = [*weights, *biases]
    backend.optimizer_step(SGD(0.1), values, [*found.weights, *found.biases], OptimizerState())
    return [np.array([loss, total]), delta, *values, *backend.forward(X, weights, biases, a)]


def kept_in_files(generator) -> list[np.ndarray]:
    files = pytest.importorskip("safetensors") and pytest.importorskip("onnx")
    net = network(generator(3))
    options = {"batch_size": 32, "validation_split": 0.2, "progress": False}
    net.fit(X, np.asarray(list(Y)), epochs=1, optimizer="adam", **options)
    with tempfile.TemporaryDirectory() as folder:
        places = [os.path.join(folder, name) for name in ("n.npz", "n.safetensors", "n.onnx")]
        net.save(places[0])
        net.to_safetensors(places[1])
        net.to_onnx(places[2])
        again, other = MLP.load(places[0]), MLP.from_safetensors(places[1])
        graph = files.load(places[2]).SerializeToString()
    again.fit(X, np.asarray(list(Y)), epochs=1, **options)
    return [*state(again), other.predict_proba(X[:50]), np.frombuffer(graph, np.uint8)]


def diagnosed(generator) -> list[np.ndarray]:
    net = network(generator(3))
    labels = np.asarray(list(Y))
    matrix = fastmlp.diagnostics.confusion_matrix(labels, net.predict(X))
    found = fastmlp.diagnostics.calibration(labels, net.predict_proba(X))
    return [matrix, *fastmlp.diagnostics.precision_recall(matrix), *found]


def splits(generator) -> list[np.ndarray]:
    parts = fastmlp.datasets.train_test_split(X, Y, stratify=True, rng=generator(0))
    return [*parts, fastmlp.datasets.one_hot(np.asarray(list(Y)), 3)]


def rate_finder(generator) -> list[np.ndarray]:
    finder = fastmlp.callbacks.LearningRateFinder(steps=20)
    found = finder.run(network(generator(3)), X, Y)
    return [np.array(found.learning_rates), np.array(found.losses)]


def estimator(generator, name, **settings) -> list[np.ndarray]:
    estimators = pytest.importorskip("fastmlp.sklearn")
    model = getattr(estimators, name)(
        hidden_layer_sizes=(12,), max_iter=3, random_state=generator(0), **settings
    )
    targets = X[:, :2] if name == "MLPRegressor" else Y
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # three epochs are not enough, which is said
        model.fit(X, targets)
    found = [*model.coefs_, model.predict(X)]
    if settings.get("solver") != "lbfgs" and not settings.get("early_stopping"):
        model.partial_fit(X, targets)
    return [*found, *model.coefs_]


def on_a_cluster(generator) -> list[np.ndarray]:
    distributed, da = pytest.importorskip("distributed"), pytest.importorskip("dask.array")
    from fastmlp.distributed import fit, fit_lbfgs

    nets = [network(generator(3)) for _ in range(2)]
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        data = [da.from_array(array, chunks=len(array)) for array in (X, Y)]
        fit(nets[0], *data, client=client, epochs=2, batch_size=600, progress=False)
        fit_lbfgs(nets[1], *data, client=client, max_iter=3, progress=False)
    return [array for net in nets for array in state(net)]


FITS = {
    "mini-batches": {},
    "held out": {"validation_split": 0.2},
    "held out by class": {"early_stopping": True, "class_weight": "balanced"},
    "weighted": {"sample_weight": np.linspace(0, 2, 700), "dropout": 0.3},
    "wide batches": {"batch_size": 600, "optimizer": Adam()},
    "full batch": {"batch_size": None, "validation_split": 0.2},
    "one sample": {"batch_size": 1, "validation_split": 0.2, "epochs": 1},
    "one sample, decayed": {"batch_size": 1, "l2": 1e-3, "epochs": 1},
    "converted": {"data": X.astype(np.float16)},
    "converted, wide": {"data": X.astype(np.float16), "batch_size": 600},
    "mostly zeros": {"data": ZEROS, "settings": {"input_scale": 255.0}},
    "NumPy alone": {"settings": {"backend": "numpy"}, "validation_split": 0.2},
    "labels as a list": {"labels": Y.tolist()},
    "one-hot rows": {"labels": np.eye(3, dtype=np.int32)[Y]},
    "several labels": {"labels": np.eye(3, dtype=np.int32)[Y], "settings": {"output": "sigmoid"}},
}
ENTRIES = {
    **{f"fit: {name}": partial(fit, **options) for name, options in FITS.items()},
    "fit: sparse matrix": sparse,
    "fit: chunks": chunks,
    "fit_many": many,
    "loss_and_gradients, forward, predict, evaluate": judged,
    "kernels.train_epoch": partial(operation, backend=kernels),
    "reference.train_epoch": partial(operation, backend=reference),
    "kernels, one operation at a time": partial(single_operations, backend=kernels),
    "reference, one operation at a time": partial(single_operations, backend=reference),
    "save, load, export": kept_in_files,
    "diagnostics": diagnosed,
    "datasets": splits,
    "LearningRateFinder": rate_finder,
    "MLPClassifier: adam": partial(estimator, name="MLPClassifier"),
    "MLPClassifier: stopping": partial(estimator, name="MLPClassifier", early_stopping=True),
    "MLPClassifier: lbfgs": partial(estimator, name="MLPClassifier", solver="lbfgs"),
    "MLPRegressor: sgd": partial(
        estimator, name="MLPRegressor", solver="sgd", learning_rate_init=1e-3
    ),
    "MLPRegressor: lbfgs": partial(estimator, name="MLPRegressor", solver="lbfgs"),
    "distributed.fit, fit_lbfgs": on_a_cluster,
}


@pytest.mark.parametrize("entry", ENTRIES)
def test_narrow_integers_leave_the_same_bits(entry, narrowed):
    wide = ENTRIES[entry](np.random.RandomState)
    narrowed()
    found = ENTRIES[entry](Narrow)
    assert len(found) == len(wide)
    assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(found, wide, strict=True))
