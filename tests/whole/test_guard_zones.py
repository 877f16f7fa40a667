"""Out-of-range memory access is impossible: every array lies against a page nobody may touch.

This file, run as a program, gives NumPy an allocator whose every buffer ends where an
inaccessible page begins, or begins where one ends, goes through all cases and says which one it
is at; one byte read or written too far, or after its memory was given back, ends the process.
"""

from __future__ import annotations

import ast
import ctypes
import faulthandler
import importlib
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fastmlp import kernels

PAGE = 4096
FULL = bool(os.environ.get("FASTMLP_FULL_TESTS"))
SLOW = 600 if FULL else 300
STEP = {"end": (5, 1), "begin": (75, 5)}  # of the shapes: usually, and in full
KEPT: list[Guards] = []


class Guards:
    """NumPy's allocator of array data (NEP 49), with guard pages on both sides of a buffer."""

    SET_HANDLER = 304  # place of PyDataMem_SetHandler in NumPy's table of functions

    MALLOC = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
    CALLOC = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t)
    REALLOC = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
    FREE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)

    class Handler(ctypes.Structure):
        pass

    def __init__(self, *, at_end: bool) -> None:
        self.at_end = at_end
        self.count = 0
        self._mapped: dict[int, tuple[int, int, int]] = {}
        libc = ctypes.CDLL(None, use_errno=True)
        size, pointer = ctypes.c_size_t, ctypes.c_void_p
        self._mmap, self._protect, self._munmap = libc.mmap, libc.mprotect, libc.munmap
        self._mmap.restype = pointer
        self._mmap.argtypes = (pointer, size, *[ctypes.c_int] * 3, ctypes.c_long)
        self._protect.argtypes = (pointer, size, ctypes.c_int)
        self._munmap.argtypes = (pointer, size)
        self._handler = self.Handler(
            b"guards", 1, None, self.MALLOC(self._malloc), self.CALLOC(self._calloc),
            self.REALLOC(self._realloc), self.FREE(self._free),
        )  # fmt: skip

    def _malloc(self, _: int | None, size: int) -> int:
        room = -(-size // PAGE) * PAGE
        private_anonymous = 0x22
        base = self._mmap(None, room + 2 * PAGE, 0, private_anonymous, -1, 0)
        assert base not in (None, ctypes.c_void_p(-1).value), "no more maps"
        if room:
            assert self._protect(base + PAGE, room, 3) == 0
        # a size is a multiple of the element's: so is the address
        address = base + PAGE + (room - size if self.at_end else 0)
        self._mapped[address] = (base, room + 2 * PAGE, size)
        self.count += 1
        return address

    def _calloc(self, _: int | None, count: int, size: int) -> int:
        return self._malloc(None, count * size)

    def _realloc(self, _: int | None, old: int | None, size: int) -> int:
        new = self._malloc(None, size)
        if old:
            ctypes.memmove(new, old, min(size, self._mapped[old][2]))
            self._free(None, old, 0)
        return new

    def _free(self, _: int | None, address: int | None, size: int) -> None:
        if address:
            base, length, _ = self._mapped.pop(address)
            self._munmap(base, length)

    def install(self) -> None:
        """All arrays of this context from now on are guarded."""
        get = ctypes.pythonapi.PyCapsule_GetPointer
        get.restype, get.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
        new = ctypes.pythonapi.PyCapsule_New
        new.restype = ctypes.py_object
        new.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
        core = np._core if hasattr(np, "_core") else np.core  # before NumPy 2
        table = get(core.multiarray._ARRAY_API, None)
        address = ctypes.cast(table, ctypes.POINTER(ctypes.c_void_p))[self.SET_HANDLER]
        install = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(address)
        install(new(ctypes.addressof(self._handler), b"mem_handler", None))
        assert np.zeros(3).ctypes.data % PAGE == (PAGE - 24 if self.at_end else 0)


Guards.Handler._fields_ = [
    ("name", ctypes.c_char * 127), ("version", ctypes.c_uint8), ("ctx", ctypes.c_void_p),
    ("malloc", Guards.MALLOC), ("calloc", Guards.CALLOC), ("realloc", Guards.REALLOC),
    ("free", Guards.FREE),
]  # fmt: skip


def guard_everything() -> None:
    """Have every buffer end (or begin) at a guard page, those that begin on a page too."""
    from fastmlp.contract import parameters

    KEPT.append(Guards(at_end=at_end()))
    KEPT[0].install()
    for found in pkgutil.walk_packages(kernels.__path__, "fastmlp.kernels."):
        importlib.import_module(found.name)
    whole = parameters.aligned_zeros  # whole cache lines by themselves
    places = [each for each in sys.modules.values() if getattr(each, "aligned_zeros", 0) is whole]
    assert len(places) >= 7
    for module in places:
        module.aligned_zeros = np.zeros


def at_end() -> bool:
    """Tell where the guards are that count: what reads too far does so mostly behind the end."""
    return sys.argv[2] == "end"


def at(*what: object) -> None:
    print(*what, file=sys.stderr, flush=True)


# the programs


def operations() -> None:
    """The table of cases, on every shape of the parity tests."""
    guard_everything()
    from fastmlp import reference
    from fastmlp.verification import TOLERANCE, all_cases, difference, outcome, shapes

    for dtype, tolerance in TOLERANCE.items():
        for case in all_cases():
            for sizes in list(shapes(case))[:: STEP[sys.argv[2]][FULL]]:
                at(case, dtype, sizes)
                made = case.make(np.random.default_rng(0), dtype, sizes)
                gap = difference(outcome(kernels, case, made), outcome(reference, case, made))
                assert gap <= tolerance, gap


def networks() -> None:
    """Every kind of work: training, evaluation and prediction from every kind of data."""
    guard_everything()
    from scipy import sparse

    from fastmlp import MLP, SGD, Adam

    rng = np.random.default_rng(0)
    for n_in in (1, 17, 130) if at_end() else (33,):
        n = 70
        zeros = rng.integers(1, 256, (n, n_in)) * (rng.random((n, n_in)) < 0.2)
        few = (zeros % 5).astype("float32")
        many = zeros * rng.random((n, n_in))
        kinds = {
            "uint8": zeros.astype("uint8"), "bool": zeros > 0, "int16": zeros.astype("int16"),
            "float32": rng.normal(size=(n, n_in)).astype("float32"),
            "float64": rng.normal(size=(n, n_in)),
            "float32 codes": few, "float32 values": many.astype("float32"),
            "float64 codes": few.astype("float64"), "float64 values": many,
            "csr": sparse.csr_matrix(many), "csc": sparse.csc_matrix(few),
            "fortran": np.asfortranarray(many), "backwards": many[::-1, ::-1],
            "every other": np.repeat(many, 2, axis=0)[::2],
        }  # fmt: skip
        for kind, X in kinds.items():
            for number, (hidden, n_out, dtype) in enumerate(
                [((17,), 3, "float32"), ((5, 33), 1, "float64"), ((70,), 16, "float32"),
                 ((31,), 10, "float64"), ((), 2, "float32")]
            ):  # fmt: skip
                y = np.arange(n) % n_out
                for batch_size in (1, 8, 33, None):
                    at(kind, n_in, hidden, n_out, dtype, batch_size)
                    net = MLP((n_in, *hidden, n_out), rng=1, dtype=dtype, input_scale=3.0,
                              activation=("relu", "sigmoid", "gelu")[number % 3],
                              output="identity" if n_out == 1 else "softmax",
                              threads=1 + number % 3)  # fmt: skip
                    plain = number % 2 or batch_size == 1
                    net.fit(X, y, epochs=1, batch_size=batch_size,
                            optimizer=SGD(0.01) if plain else Adam(0.01),
                            l2=0.0 if plain else 0.01,
                            **({}, {}, {"clip_norm": 0.5, "l1": 0.001}, {},
                               {"max_norm": 1.0})[number],
                            dropout=0.2 if number == 3 and hidden else 0.0,
                            validation_data=(X, y))  # fmt: skip
                    for rows in (1, 3, 4, 5, n):
                        net.predict(X[:rows])
                    net.loss_and_gradients(X, y, sample_weight=np.ones(n))
                    net.forward(X[:19])


def large_batches() -> None:
    """Full batches in groups, batches in chunks, rows that are converted piece by piece."""
    guard_everything()
    from fastmlp import MLP, Adam

    rng = np.random.default_rng(0)
    zeros = (rng.integers(1, 256, (1100, 33)) * (rng.random((1100, 33)) < 0.2)).astype("uint8")
    y = np.arange(1100) % 3
    for X in (zeros, zeros.astype("float32") + 1, zeros.astype("int32"), zeros.astype("float64")):
        for n in (513, 1025, 1100):
            for width in (9, 8000):
                at(X.dtype, n, width)
                net = MLP((33, width, 3), rng=1, threads=2)
                net.fit(X[-n:], y[-n:], epochs=1, batch_size=None if n < 1100 else 700,
                        optimizer=Adam(0.001), l2=0.01)  # fmt: skip
                net.evaluate(X[-n:], y[-n:])


def estimators() -> None:
    """What the estimators' epochs call beside: one sample a step under a penalty, L-BFGS."""
    guard_everything()
    import warnings

    from scipy import sparse

    from fastmlp.kernels.run.decayed import DecayedTraining
    from fastmlp.sklearn import MLPClassifier, MLPRegressor

    taken, steps = [], DecayedTraining.steps
    DecayedTraining.steps = lambda self, *arguments: taken.append(1) or steps(self, *arguments)
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(0)
    for n_in in (1, 17, 130) if at_end() else (33,):
        dense = rng.normal(size=(70, n_in))
        zeros = dense * (rng.random(dense.shape) < 0.2)
        for X in (dense, zeros, zeros.astype("float32"), sparse.csr_matrix(zeros)):
            for hidden in ((), (3,), (17, 33)):
                for number, solver in enumerate(("sgd", "sgd", "adam", "lbfgs")):
                    options = {
                        "solver": solver, "hidden_layer_sizes": hidden, "max_iter": 2, "alpha": 0.1,
                        "momentum": 0.0 if number == 0 else 0.9, "random_state": 0,
                        "learning_rate_init": 0.01, "batch_size": 1 if number == 0 else 9,
                    }  # fmt: skip
                    at(X.dtype, X.shape, hidden, solver, number)
                    labels = np.arange(70) % (2 + number)
                    model = MLPClassifier(**options).fit(X, labels)
                    model.predict_proba(X)
                    MLPRegressor(**options).fit(X, rng.normal(size=(70, 1 + number))).predict(X)
    assert taken


def sums_in_parts() -> None:
    """Gradients that are summed group by group in one place, and stepped from in another."""
    guard_everything()
    from fastmlp import MLP, Adam
    from fastmlp.kernels.run.partial import BLOCK, GroupSums, Update
    from fastmlp.optimizers import OptimizerState
    from fastmlp.regularization import Regularization

    rng = np.random.default_rng(0)
    for dtype in ("float32", "float64"):
        for n_in, hidden, n_out in ((1, (3,), 2), (17, (), 3), (130, (33, 17), 10)):
            net = MLP((n_in, *hidden, n_out), rng=1, dtype=dtype)
            p, r = net._parameters, Regularization(l2=0.01, l1=0.001, clip_norm=1.0)
            p_state = OptimizerState()
            p_state.slots = p.slot_views(2)
            update = Update(p, Adam(0.01), p_state, r)
            workspace = GroupSums.workspace(p, r)
            zeros = rng.integers(1, 9, (700, n_in)) * (rng.random((700, n_in)) < 0.2)
            for kind in ("uint8", "int16", "float32", "float64"):
                for is_sparse in (False, True):
                    for n in (1, 37, 700):
                        at(dtype, n_in, hidden, n_out, kind, is_sparse, n)
                        groups = GroupSums(
                            p, zeros[:n].astype(kind), np.arange(n) % n_out, None, regularization=r,
                            group_samples=2 * BLOCK, sparse=is_sparse,
                        )  # fmt: skip
                        for first in range(0, n, 2 * BLOCK):
                            order = np.arange(first, min(n, first + 2 * BLOCK))
                            out = np.zeros(p.size, dtype)
                            groups.sums(order, out, workspace)
                            update.gradient[: out.size] += out
                        update.step(float(n), 0.01)
                        assert p.finite


def _add(vectors: int, shift: int) -> None:
    guard_everything()
    from fastmlp.kernels.jit.registry import launch

    ours, theirs = np.ones(64), np.ones(64)
    launch(
        "add", "float64", dst=ours.ctypes.data + shift, src=theirs.ctypes.data, vectors=vectors,
        pieces=1, distance=0,
    )  # fmt: skip
    assert (ours == 2).all()


def whole_vectors() -> None:
    from fastmlp.kernels.emit.target import current_target

    _add(512 // current_target().vector_bytes, 0)


def a_vector_too_many() -> None:
    from fastmlp.kernels.emit.target import current_target

    _add(512 // current_target().vector_bytes + 1, 0)


def a_byte_too_far() -> None:
    from fastmlp.kernels.emit.target import current_target

    _add(512 // current_target().vector_bytes, 1 if at_end() else -1)


def after_its_end() -> None:
    guard_everything()
    address = np.ones(10).ctypes.data
    ctypes.string_at(address, 1)


def run(program, place: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONMALLOC": "malloc"}
    return subprocess.run(
        [sys.executable, __file__, program.__name__, place], env=environment,
        capture_output=True, text=True, timeout=SLOW, check=False,
    )  # fmt: skip


pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="guard pages are set up for Linux")


PROGRAMS = operations, networks, large_batches, estimators, sums_in_parts, whole_vectors
# at the end, the long ones go through five times as many shapes
QUICK = (
    (operations, "begin"),
    (large_batches, "end"),
    (sums_in_parts, "end"),
    (whole_vectors, "end"),
)


@pytest.mark.parametrize(
    ("program", "place"),
    [pytest.param(*case, marks=() if case in QUICK else pytest.mark.slow)
     for case in ((p, place) for p in PROGRAMS for place in ("end", "begin"))],
)  # fmt: skip
def test_no_access_out_of_range(program, place, count):
    done = run(program, place)
    assert done.returncode == 0, f"{done.returncode}: {done.stderr[-3000:]}"
    calls = len(done.stderr.splitlines())
    some, every = STEP[place]
    more = some // every if program is operations and not FULL else 1
    count("calls between guard zones", calls, calls * more)


@pytest.mark.parametrize("place", ["end", "begin"])
@pytest.mark.parametrize("program", [a_vector_too_many, a_byte_too_far, after_its_end])
def test_an_access_out_of_range_ends_the_process(program, place):
    if program is a_vector_too_many and place == "begin":
        pytest.skip("the guard that counts is behind the last page")
    assert run(program, place).returncode < 0


def test_compiled_code_has_no_arrays():
    """What runs is kernels and an executor, which take addresses: nothing is compiled
    from Python, whose arrays would need another check.
    """
    found = [
        path.name
        for path in sorted(Path(kernels.__file__).parent.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom) and "numba" in ast.unparse(node)
    ]
    assert set(found) == {"threading_layer.py"}


if __name__ == "__main__":
    faulthandler.enable()
    globals()[sys.argv[1]]()
    os._exit(0)  # the allocator goes before the arrays do
