"""Processor class -> vector width and tile shape: the only table of machine constants."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache

__all__ = ["Target", "current_target", "processor"]


@dataclass(frozen=True)
class Target:
    """What the microkernels need to know of a processor.

    Attributes
    ----------
    name : str
        The processor class, as `fastmlp info` prints it.
    vector_bytes : int
        Width of a vector register in bytes.
    tile_rows : int
        Rows of the tile (MR). Divides 16, to which every buffer is padded.
    tile_vectors : int
        Vectors in a row of the tile; narrower edges have their own kernels.
    fma : bool
        Whether a fused multiply-add instruction exists. Without one ``llvm.fma`` would become
        a library call per lane, so multiply and add are emitted instead.
    """

    name: str
    vector_bytes: int
    tile_rows: int
    tile_vectors: int
    fma: bool


# MR x NV accumulators, NV vectors of B and one broadcast have to fit the registers:
# 8 x 2 + 3 of 32 on AVX-512; 4 x 3 + 4 of 16 on AVX2; both are at the measured FMA peak.
_TARGETS = {
    "avx512": Target("avx512", 64, 8, 2, True),
    "avx2": Target("avx2", 32, 4, 3, True),
    "neon": Target("neon", 16, 4, 4, True),
    "generic": Target("generic", 16, 4, 2, False),
}
_AVX512_NAMES = ("avx512", "znver4", "znver5", "icelake", "sapphirerapids", "graniterapids")
_AVX2_NAMES = ("haswell", "broadwell", "skylake", "znver1", "znver2", "znver3", "alderlake")


@cache
def _host() -> tuple[str, dict[str, bool]]:
    """Name and features of this processor; LLVM takes 0.2 ms to tell."""
    import llvmlite.binding as llvm

    return llvm.get_host_cpu_name(), dict(llvm.get_host_cpu_features())


def processor() -> tuple[str, str]:
    """Return the name and the features of the processor that is compiled for, in LLVM's words.

    The host's, or those of ``NUMBA_CPU_NAME`` and ``NUMBA_CPU_FEATURES``. A name alone has the
    features that LLVM knows of it.
    """
    name = os.environ.get("NUMBA_CPU_NAME", "")
    listed = os.environ.get("NUMBA_CPU_FEATURES")
    if name in ("", "host"):
        name, features = _host()
        flags = (f"{'+' if there else '-'}{flag}" for flag, there in sorted(features.items()))
        return name, ",".join(flags) if listed is None else listed
    return name, listed or ""


def _features() -> tuple[str, dict[str, bool]]:
    """Name and features of the processor that is compiled for, with these overrides."""
    name = os.environ.get("NUMBA_CPU_NAME", "")
    listed = os.environ.get("NUMBA_CPU_FEATURES")
    if listed is not None:
        flags = [flag.strip() for flag in listed.split(",") if flag.strip()]
        return name, {flag.lstrip("+-"): flag.startswith("+") for flag in flags}
    if name in ("", "host"):
        return _host()
    avx512 = any(part in name for part in _AVX512_NAMES)
    avx2 = avx512 or any(name.startswith(part) for part in _AVX2_NAMES)
    return name, {"avx512f": avx512, "avx2": avx2, "fma": avx2}


def current_target() -> Target:
    """Return the table row of the processor that is compiled for.

    Returns
    -------
    Target
        The row of ``NUMBA_CPU_NAME`` and ``NUMBA_CPU_FEATURES`` where they are set, else of the
        host. A processor that is not in the table gets the generic row.
    """
    _, features = _features()
    if features.get("avx512f"):
        return _TARGETS["avx512"]
    if features.get("avx2") and features.get("fma"):
        return _TARGETS["avx2"]
    if features.get("neon"):
        return _TARGETS["neon"]
    return _TARGETS["generic"]
