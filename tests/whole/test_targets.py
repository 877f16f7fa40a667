"""Other processors: the whole table of cases, and lists of zeros, compiled for each class."""

from __future__ import annotations

import itertools
import os
import platform
import subprocess
import sys

import pytest

from fastmlp.verification import TOLERANCE, all_cases, shapes

FULL = bool(os.environ.get("FASTMLP_FULL_TESTS"))
PROGRAM = """
import sys
import numpy as np
from fastmlp import kernels, reference
from fastmlp.kernels.emit.target import current_target
from fastmlp.verification import TOLERANCE, Sizes, all_cases, difference, outcome, shapes

target, full, dtype = current_target(), sys.argv[1] == "full", sys.argv[2]
some, compared, tolerance = (Sizes(37, 21, 11), Sizes(65, 33, 17)), 0, TOLERANCE[dtype]
for case in all_cases():
    for sizes in list(shapes(case)) if full else some:
        compared += 1
        made = case.make(np.random.default_rng(0), dtype, sizes)
        gap = difference(outcome(kernels, case, made), outcome(reference, case, made))
        assert gap <= tolerance, (str(case), dtype, sizes, gap)

from fastmlp import MLP, SGD, Adam

rng = np.random.default_rng(0)
y = rng.integers(0, 10, 700)
zeros = rng.integers(1, 256, (700, 130)) * (rng.random((700, 130)) < 0.2)
for kind in ("uint8", "float32", "float64") if full else ("uint8", "float64"):
    X = zeros.astype(kind) / (1 if kind == "uint8" else 255)
    for hidden in (3, 17, 33, 70, 150) if full else (17, 150):
        # for Adam a gradient near 0 is as good as a large one: few steps
        for batch, n, optimizer in ((1, 70, SGD(0.01)), (32, 150, SGD(0.05, momentum=0.9)),
                                    (32, 70, Adam(0.001)), (600, 700, SGD(0.05)),
                                    (None, 700, SGD(0.05))):
            found = []
            for backend, threads in (("numpy", 1), ("numba", 1), ("numba", 3)):
                net = MLP((130, hidden, 10), rng=1, dtype=dtype, backend=backend,
                          threads=threads, input_scale=255.0 if kind == "uint8" else None)
                history = net.fit(X[:n], y[:n], epochs=1, batch_size=batch, l2=0.01,
                                  optimizer=optimizer)
                found.append([*net.weights, *net.biases, np.array(history.loss)])
            gap = difference(found[1], found[0])
            assert gap <= 20 * tolerance, (kind, dtype, hidden, batch, gap)
            assert difference(found[1], found[2]) == 0, (kind, dtype, hidden, batch)
print(compared, target.name, target.vector_bytes, target.fma)
"""
TARGETS = {
    "avx512 64 True": {"NUMBA_CPU_NAME": "skylake-avx512"},
    "avx2 32 True": {"NUMBA_CPU_NAME": "haswell"},
    "generic 16 False": {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": "+sse2"},
}


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="another processor")
@pytest.mark.parametrize(
    ("expected", "dtype"),
    [("generic 16 False", "float32")]
    + [
        pytest.param(target, dtype, marks=pytest.mark.slow)
        for target, dtype in itertools.product(TARGETS, TOLERANCE)
        if (target, dtype) != ("generic 16 False", "float32")
    ],
)
def test_parity_on_an_older_processor(expected, dtype, count):
    from fastmlp.kernels.emit.target import current_target

    able = {"avx512": ("avx512",), "avx2": ("avx2", "avx512")}.get(expected.split()[0])
    if able is not None and current_target().name not in able:
        pytest.skip(f"this processor has no {expected.split()[0]}")
    environment = {**os.environ, "NUMBA_CPU_FEATURES": "", **TARGETS[expected]}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "full" if FULL else "some", dtype], env=environment,
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    compared, found = done.stdout.strip().split(maxsplit=1)
    assert found == expected
    every = sum(len(list(shapes(case))) for case in all_cases())
    assert int(compared) == every or not FULL
    count("operations compared for an older processor", int(compared), every)


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="another processor")
def test_a_processor_that_llvm_does_not_know_trains(tmp_path):
    """LLVM ends the process, or calls what nobody has, for one of which it knows nothing."""
    program = "import fastmlp as f; f.MLP((9, 8, 3), rng=0, threads=2).fit([[1] * 9] * 9, [1] * 9)"
    told = {"NUMBA_CPU_NAME": "not-known-yet", "FASTMLP_CACHE_DIR": str(tmp_path)}
    environment = {**os.environ, "NUMBA_CPU_FEATURES": "", **told}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="another processor")
@pytest.mark.parametrize(
    ("name", "features", "expected"),
    [
        ("skylake-avx512", None, "avx512"), ("znver4", None, "avx512"), ("znver3", None, "avx2"),
        ("skylake", None, "avx2"), ("nehalem", None, "generic"), ("x86-64", None, "generic"),
        ("not-known-yet", None, "generic"), ("generic", None, "generic"),
        ("haswell", "", "avx2"), ("haswell", "+avx2", "avx2"),
        ("haswell", "+avx2,-fma", "generic"), ("haswell", "-avx2", "generic"),
        ("x86-64", "+avx2, +fma", "avx2"), ("skylake-avx512", "-avx512f", "avx2"),
        # no instructions of AVX-512 for shorter vectors
        ("haswell", "+avx512f", "avx2"), ("knl", None, "avx2"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_not_used(monkeypatch, name, features, expected):
    from fastmlp.kernels.emit.target import current_target

    monkeypatch.setenv("NUMBA_CPU_NAME", name)
    monkeypatch.delenv("NUMBA_CPU_FEATURES", raising=False)
    if features is not None:
        monkeypatch.setenv("NUMBA_CPU_FEATURES", features)
    target = current_target()
    assert target.name == expected
    assert target.fma == (expected != "generic")
