"""Hostile arrays: each works and agrees with the reference, or the argument is named."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import warnings
from contextlib import suppress

import numpy as np
import pytest

from fastmlp import MLP, SGD, DivergenceError
from fastmlp.verification import TOLERANCE, difference

N, N_IN, CLASSES = 60, 20, 4
BATCHES = (1, 16, 1000, None)
RNG = np.random.default_rng(0)
PLAIN = RNG.normal(size=(N, N_IN))
LABELS = RNG.integers(0, CLASSES, N)
TINY, HUGE = {"float32": 1e-40, "float64": 1e-310}, {"float32": 1e30, "float64": 1e300}


def trained(backend, X, y, dtype="float64", *, threads=2, batch_size=16, **options):
    net = MLP((X.shape[1], 9, options.pop("n_out", CLASSES)), rng=1, dtype=dtype, backend=backend,
              threads=threads, **options)  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of divergence
        history = net.fit(X, y, epochs=2, batch_size=batch_size, optimizer=SGD(0.05))
    return [np.array(history.loss), *net.weights, *net.biases, net.predict_proba(X)]


def assert_like_the_reference(X, y, dtype="float64", **options) -> None:
    ours, theirs = (
        trained("numba", X, y, dtype, **options),
        trained("numpy", X, y, dtype, **options),
    )
    assert difference(ours, theirs) <= 20 * TOLERANCE[dtype]
    again = trained("numba", X, y, dtype, **options, threads=1)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(ours, again, strict=True))


# values


@pytest.mark.parametrize("backend", ["numba", "numpy"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4"])
def test_what_is_not_finite_is_refused(value, dtype, backend):
    net = MLP((N_IN, 5, CLASSES), rng=1, backend=backend)
    X = PLAIN.astype(dtype)
    X[37, 11] = value
    before = [w.copy() for w in net.weights]
    for call in (lambda: net.fit(X, LABELS, epochs=1), lambda: net.predict(X),
                 lambda: net.loss_and_gradients(X, LABELS)):  # fmt: skip
        with pytest.raises(ValueError, match=r"^X: .*row 37, column 11"):
            call()
    with pytest.raises(ValueError, match=r"^sample_weight: "):
        net.fit(PLAIN, LABELS, sample_weight=np.full(N, value))
    with pytest.raises(ValueError, match=r"^y: "):
        net.fit(PLAIN, np.full(N, value))
    assert all((a == b).all() for a, b in zip(before, net.weights, strict=True))


@pytest.mark.parametrize("batch_size", BATCHES)
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("kind", ["subnormal", "huge", "constant", "zero", "negative zero"])
def test_extreme_values(kind, dtype, batch_size):
    values = {"subnormal": TINY[dtype], "huge": HUGE[dtype], "constant": None, "zero": 0.0,
              "negative zero": -0.0}  # fmt: skip
    X = PLAIN.copy() if values[kind] is None else np.sign(PLAIN) * values[kind]
    if kind == "constant":
        X[:] = X[0]
    options = {"activation": "tanh"} if kind == "huge" else {}
    assert_like_the_reference(X.astype(dtype), LABELS, dtype, batch_size=batch_size, **options)


@pytest.mark.parametrize("backend", ["numba", "numpy"])
@pytest.mark.parametrize("batch_size", BATCHES)
def test_divergence_is_visible(backend, batch_size):
    X = np.full((N, N_IN), 1e300)
    net = MLP((N_IN, 5, 1), rng=1, dtype="float64", activation="relu", output="identity",
              backend=backend)  # fmt: skip
    with pytest.raises(DivergenceError, match="epoch 1"):
        net.fit(X, LABELS.astype(float), epochs=3, batch_size=batch_size)


# sizes


@pytest.mark.parametrize("batch_size", BATCHES)
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(
    ("n", "n_in", "n_out"),
    [(1, N_IN, CLASSES), (N, 1, CLASSES), (N, N_IN, 1), (1, 1, 1), (20, 10000, 3),
     pytest.param(20, 3, 10000, marks=pytest.mark.slow)],
)  # fmt: skip
def test_extreme_sizes(n, n_in, n_out, dtype, batch_size):
    X = np.random.default_rng(1).normal(size=(n, n_in)).astype(dtype)
    y = np.arange(n) % n_out
    options = {"output": "sigmoid"} if n_out == 1 else {}
    assert_like_the_reference(X, y, dtype, batch_size=batch_size, n_out=n_out, **options)
    mostly_zero = X * (np.random.default_rng(2).random(X.shape) < 0.1).astype(dtype)
    assert_like_the_reference(mostly_zero, y, dtype, batch_size=batch_size, n_out=n_out, **options)


@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_nothing_and_one_class(backend):
    net = MLP((N_IN, 5, CLASSES), rng=1, backend=backend)
    nothing = np.zeros((0, N_IN))
    with pytest.raises(ValueError, match=r"^X: "):
        net.fit(nothing, [])
    with pytest.raises(ValueError, match=r"^X: "):
        net.evaluate(nothing, [])
    assert net.predict(nothing).shape == (0,)
    assert net.predict_proba(nothing).shape == (0, CLASSES)
    net.fit(PLAIN, np.full(N, 2), epochs=30, optimizer=SGD(0.5))
    assert (net.predict(PLAIN) == 2).all()


# layouts and dtypes


def hostile_layouts(x: np.ndarray, folder):
    wide = np.zeros((2 * N, 3 * N_IN), x.dtype)
    wide[::2, ::3] = x
    yield "strided", wide[::2, ::3]
    yield "fortran", np.asfortranarray(x)
    yield "rows backwards", x[::-1].copy()[::-1]
    yield "columns backwards", x[:, ::-1].copy()[:, ::-1]
    yield "big-endian", x.astype(x.dtype.newbyteorder(">"))
    yield "object", x.astype(object)
    raw = np.zeros(x.nbytes + 1, np.uint8)
    odd = raw[1:].view(x.dtype).reshape(x.shape)
    odd[...] = x
    yield "not aligned", odd
    np.save(folder / "x.npy", x)
    yield "memory map", np.load(folder / "x.npy", mmap_mode="r")
    frozen = x.copy()
    frozen.flags.writeable = False
    yield "read-only", frozen


@pytest.mark.parametrize(
    "dtype", ["uint8", "float32", pytest.param("float64", marks=pytest.mark.slow)]
)
def test_layouts(dtype, tmp_path):
    x = (PLAIN * 20).clip(0, 255).astype(dtype)
    for batch_size in BATCHES:
        wanted = trained("numba", x, LABELS, batch_size=batch_size)
        for name, X in hostile_layouts(x, tmp_path):
            gap = difference(trained("numba", X, LABELS, batch_size=batch_size), wanted)
            assert gap <= TOLERANCE["float64"], (name, batch_size)


OTHER_BLAS = """
import numpy as np
from fastmlp import MLP
from fastmlp.sklearn import MLPClassifier

def unaligned(x):
    odd = np.zeros(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    odd[...] = x
    return odd

rng = np.random.default_rng(0)
x, rows = rng.random((120, 11)) * 99, np.eye(3)[rng.integers(0, 3, 120)]
for kind in ("?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8"):
    plain, wide = x.astype(kind), np.zeros((240, 33), kind)
    wide[::2, ::3] = plain
    for backend in ("numba", "numpy"):
        found = []
        for X, y in ((plain, rows), (unaligned(plain), unaligned(rows)), (wide[::2, ::3], rows)):
            net = MLP((11, 7, 3), rng=0, backend=backend)
            net.fit(X, y, epochs=1, batch_size=32)
            numbers = list(net.evaluate(X, y).values())
            found.append(np.r_[net.predict_proba(X).ravel(), net.predict(X[:1]), numbers])
        assert all(np.allclose(other, found[0], rtol=0, atol=1e-5) for other in found[1:])
    model = MLPClassifier((5,), solver="lbfgs", max_iter=400, alpha=1.0, random_state=0)
    labels = rows.argmax(axis=1)
    model.fit(unaligned(plain), labels)
    assert (model.predict(unaligned(plain[:1])) == model.predict(plain)[:1]).all()
"""


@pytest.mark.parametrize("core", ["Core2", pytest.param("Prescott", marks=pytest.mark.slow)])
def test_no_other_processors_blas_ends_the_process(core):
    """OpenBLAS reads numbers that are not aligned by instructions that end the process."""
    environment = {**os.environ, "OPENBLAS_CORETYPE": core}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", OTHER_BLAS], env=environment, capture_output=True,
        text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("batch_size", BATCHES)
def test_strides_of_zero(batch_size):
    same_rows = np.broadcast_to(PLAIN[:1], (N, N_IN))
    same_columns = np.broadcast_to(PLAIN[:, :1], (N, N_IN))
    for X in (same_rows, same_columns):
        assert_like_the_reference(X, np.broadcast_to(LABELS[:1], N), batch_size=batch_size)


def test_labels_of_any_dtype():
    wanted = trained("numba", PLAIN, LABELS % 2, n_out=2)
    every_other = np.repeat(LABELS % 2, 2)[::2]
    backwards = (LABELS % 2)[::-1].copy()[::-1]
    kinds = [np.dtype(kind) for kind in ("?", "i1", "u8", ">i4", "f2", ">f8", "O")]
    for y in (*((LABELS % 2).astype(kind) for kind in kinds), every_other, backwards,
              list(LABELS % 2), (LABELS % 2)[:, None]):  # fmt: skip
        assert difference(trained("numba", PLAIN, y, n_out=2), wanted) == 0


@pytest.mark.parametrize(
    "y",
    [
        LABELS.astype(str), LABELS + 1j, np.array([None] * N), LABELS - 1, LABELS + 1,
        LABELS + 0.5, LABELS[:-1], np.zeros((N, 3)), np.zeros((N, 2, 2)),
        LABELS.astype("datetime64[s]"), np.full(N, 2**63, np.uint64),
    ],
)  # fmt: skip
def test_labels_that_are_refused(y):
    for backend in ("numba", "numpy"):
        with pytest.raises((TypeError, ValueError), match=r"^y: "):
            MLP((N_IN, 5, CLASSES), rng=1, backend=backend).fit(PLAIN, y)


@pytest.mark.parametrize(
    "X",
    [
        PLAIN.astype(str), PLAIN + 1j, np.full((N, N_IN), None), PLAIN[0], PLAIN[:, :-1],
        PLAIN[None], PLAIN.astype("int64").astype("datetime64[s]"), [[1.0], [1.0, 2.0]],
    ],
)  # fmt: skip
def test_data_that_are_refused(X):
    for backend in ("numba", "numpy"):
        with pytest.raises((TypeError, ValueError), match=r"^X: "):
            MLP((N_IN, 5, CLASSES), rng=1, backend=backend).fit(X, LABELS)


@pytest.mark.parametrize("form", ["csr", "csc"])
@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_sparse_matrices_that_lie(form, backend):
    sparse = pytest.importorskip("scipy.sparse")
    dense = PLAIN * (PLAIN > 1)
    net = MLP((N_IN, 5, CLASSES), rng=1, backend=backend)

    def lie(what, place, value):
        X = sparse.csr_matrix(dense).asformat(form)
        getattr(X, what)[place] = value
        return X

    first_step = int(np.flatnonzero(np.diff(lie("data", 0, 1).indptr))[0]) + 1
    for X in (lie("indices", 3, 10**6), lie("indices", 3, -1), lie("indptr", -1, 10**6),
              lie("indices", 3, N_IN if form == "csr" else N), lie("indptr", 0, 1),
              lie("indptr", first_step, -5)):  # fmt: skip
        for call in (lambda X=X: net.fit(X, LABELS, epochs=1), lambda X=X: net.predict(X)):
            with pytest.raises(ValueError, match=r"^X: expected ind"):
                call()


@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("batch_size", [1, 16, None])
def test_data_that_change_meanwhile(batch_size, zeros, count):
    """Another thread writes into X: numbers are then anybody's guess, the process goes on."""
    X = np.random.default_rng(0).random((600, 64), np.float32)
    X *= X < 0.1 if zeros else 1
    y, over = np.arange(600) % CLASSES, threading.Event()

    def change() -> None:
        rng = np.random.default_rng(1)
        while not over.is_set():
            X[:] = rng.random(X.shape, np.float32) * (rng.random(X.shape) < rng.random())
            y[:] = rng.choice([0, 10**6])

    other = threading.Thread(target=change)
    other.start()
    try:
        for seed in range(15):
            net = MLP((64, 32, CLASSES), rng=seed, threads=2)
            with suppress(ValueError):  # y as it was when it was checked
                net.fit(X, y, epochs=4, batch_size=batch_size, validation_split=0.2)
            assert all(np.isfinite(w).all() for w in net.weights)
    finally:
        over.set()
        other.join()
    count("fits while another thread writes into X and y", 15)
