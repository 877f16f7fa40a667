"""Other processors: the whole table of cases, compiled for AVX2 and for a plain x86-64."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

PROGRAM = """
import numpy as np
from fastmlp import kernels, reference
from fastmlp.kernels._target import current_target
from fastmlp.verification import TOLERANCE, Sizes, all_cases, difference, outcome

target = current_target()
print(target.name, target.vector_bytes, target.fma)
for dtype, tolerance in TOLERANCE.items():
    for case in all_cases():
        for sizes in (Sizes(37, 21, 11), Sizes(65, 33, 17)):
            made = case.make(np.random.default_rng(0), dtype, sizes)
            gap = difference(outcome(kernels, case, made), outcome(reference, case, made))
            assert gap <= tolerance, (str(case), dtype, sizes, gap)
"""
TARGETS = {
    "avx2 32 True": {"NUMBA_CPU_NAME": "haswell"},
    "generic 16 False": {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": "+sse2"},
}


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="another processor")
@pytest.mark.parametrize("expected", TARGETS)
def test_parity_on_an_older_processor(expected):
    from fastmlp.kernels._target import current_target

    if expected.startswith("avx2") and current_target().name not in ("avx2", "avx512"):
        pytest.skip("this processor has no AVX2")
    environment = {**os.environ, **TARGETS[expected]}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == expected
