"""Processor class -> vector width and tile shape: the only table of machine constants."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from functools import cache

import llvmlite.binding as llvm

__all__ = [
    "Target",
    "current_target",
    "is_arm",
    "multiplies_bfloat16",
    "native",
    "process_triple",
    "processor",
]


@dataclass(frozen=True)
class Target:
    """What the microkernels need to know of a processor."""

    name: str  # the processor class, as `fastmlp info` prints it
    vector_bytes: int  # of a register
    tile_rows: int  # of the tile (MR); divides 16, to which every buffer is padded
    tile_vectors: int  # in a row of the tile; narrower edges have their own kernels
    # whether a fused multiply-add instruction exists: without one ``llvm.fma`` would become a
    # library call per lane, so multiply and add are emitted instead
    fma: bool


# MR x NV accumulators, NV vectors of B and one broadcast have to fit the registers:
# 8 x 2 + 3 of 32 on AVX-512; 4 x 3 + 4 of 16 on AVX2; both are at the measured FMA peak.
_TARGETS = {
    "avx512": Target("avx512", 64, 8, 2, True),
    "avx2": Target("avx2", 32, 4, 3, True),
    "neon": Target("neon", 16, 4, 4, True),
    "generic": Target("generic", 16, 4, 2, False),
}
# what every 64-bit processor of its kind has: LLVM tells no features of Apple's, and ends the
# process where a name that it does not know leaves it without the 64 bits
_X86, _ARM = "+64bit,+cmov,+cx8,+sse2", "+neon"
# for an ARM that LLVM cannot name: instructions that all have, in an order that keeps the tile in
# registers, which that for "generic" does not
_ARM_NAME = "cortex-a72"
_WITNESS = """
declare <16 x float> @llvm.fma.v16f32(<16 x float>, <16 x float>, <16 x float>)
define <16 x float> @multiply_add(<16 x float> %a, <16 x float> %b, <16 x float> %c) {
  %d = call <16 x float> @llvm.fma.v16f32(<16 x float> %a, <16 x float> %b, <16 x float> %c)
  ret <16 x float> %d
}
define <8 x i32> @add(<8 x i32> %a, <8 x i32> %b) {
  %c = add <8 x i32> %a, %b
  ret <8 x i32> %c
}
declare <4 x i64> @llvm.smin.v4i64(<4 x i64>, <4 x i64>)
define <4 x i64> @least(<4 x i64> %a, <4 x i64> %b) {
  %c = call <4 x i64> @llvm.smin.v4i64(<4 x i64> %a, <4 x i64> %b)
  ret <4 x i64> %c
}
"""


@cache
def process_triple() -> str:
    """Return LLVM's name of the machine.

    Asked once, while a backend is loaded and signals are held: llvmlite frees a string twice that
    Ctrl-C meets on its way, and the process ends.
    """
    return str(llvm.get_process_triple())


@cache
def native() -> llvm.Target:
    """Return LLVM's code generator for this machine, ready."""
    with suppress(RuntimeError):  # later versions do it by themselves
        llvm.initialize()
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_triple(process_triple())


def is_arm(triple: str) -> bool:
    """Tell whether LLVM's name of a machine is that of a 64-bit ARM."""
    return triple.startswith(("aarch64", "arm64"))


@cache
def _host() -> tuple[str, str]:
    """Name and features of this processor; LLVM takes 0.2 ms to tell."""
    features = ""
    with suppress(RuntimeError):  # of some processors it cannot
        features = llvm.get_host_cpu_features().flatten()
    return llvm.get_host_cpu_name(), features


def _told() -> tuple[str, str] | None:
    """Return the processor that is asked for; None where that is the host with its features."""
    name, features = os.environ.get("NUMBA_CPU_NAME", ""), os.environ.get("NUMBA_CPU_FEATURES")
    if name in ("", "host"):
        if features is None:
            return None
        name = _host()[0]
    return name, (features or "").replace(" ", "")


def processor() -> tuple[str, str]:
    """Return the name and the features of the processor that is compiled for, in LLVM's words.

    The host's, or those of ``NUMBA_CPU_NAME`` and ``NUMBA_CPU_FEATURES``. To a name, LLVM adds the
    features that it knows of it. AVX-512 that has no instructions for shorter vectors, or does not
    name them, is left out: LLVM 20 ends the process over it.
    """
    told = _told()
    name, features = told or _host()
    if is_arm(process_triple()):
        return _ARM_NAME if name == "generic" else name, ",".join(filter(None, (_ARM, features)))
    features = ",".join(filter(None, (_X86, features)))
    flags = features.split(",")
    whole = "+avx512f" not in flags or "+avx512vl" in flags
    if told and whole:
        whole = _row_compiled(name, features) != "part of avx512"
    return name, features if whole else f"{features},-avx512f"


@cache
def _row_compiled(name: str, features: str) -> str:
    """Return which row's instructions LLVM emits for an x86 processor, or "part of avx512": a list
    of names would not say what a later one has.
    """
    machine = native().create_target_machine(cpu=name, features=features, opt=0)
    code = machine.emit_assembly(llvm.parse_assembly(_WITNESS))
    if re.search(r"vfmadd.*%zmm", code):
        return "avx512" if re.search(r"vpminsq.*%ymm", code) else "part of avx512"
    both = all(re.search(rf"{instruction}.*%ymm", code) for instruction in ("vfmadd", "vpadd"))
    return "avx2" if both else "generic"


@cache
def _row_listed(features: str) -> str:
    """Return the row of an x86 processor that LLVM tells all features of."""
    flags = set(features.split(","))
    if {"+avx512f", "+avx512vl"} <= flags:
        return "avx512"
    return "avx2" if {"+avx2", "+fma"} <= flags else "generic"


def current_target() -> Target:
    """Return the table row of what LLVM makes of `processor`.

    Every 64-bit ARM has NEON; what has no row of its own gets the generic one.
    """
    if is_arm(process_triple()):
        return _TARGETS["neon"]
    return _TARGETS[_row_compiled(*processor()) if _told() else _row_listed(_host()[1])]


def multiplies_bfloat16() -> bool:
    """Tell whether the processor that is compiled for multiplies pairs of bfloat16 (AVX-512).

    A processor that is asked for by its name has to have ``+avx512bf16`` among its features: LLVM
    does not tell what it knows of a name, and ends the process over an instruction that is not
    there.
    """
    wide = current_target().vector_bytes == 64
    return wide and "+avx512bf16" in processor()[1].split(",")
