"""Integers in memory that several threads read and change: what a thread pool is made of.

Handing a phase over so takes the way of a cache line from core to core, a tenth of what launching
threads takes.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic

from ...contract.parameters import aligned_zeros
from ..emit.simd import I64, ir
from ..jit.cache import jit

__all__ = ["LINE", "compare_and_swap", "load", "shared_memory", "spin_wait", "store"]

LINE = 128  # bytes: neighbouring lines of 64 are fetched together
_SPINS = 4000  # looks, some 50 us, before the system is asked whether another thread is due


def shared_memory(lines: int) -> np.ndarray:
    """Return so many lines of memory, zeros."""
    return aligned_zeros(LINE // 8 * lines, np.dtype(np.int64))


def _pointer(builder: Any, address: Any) -> Any:
    return builder.inttoptr(address, I64.as_pointer())


@intrinsic
def _emit_load(typingctx, address):
    """Read an integer; what its writer wrote before is there as well."""

    def codegen(context, builder, sig, args):
        return builder.load_atomic(_pointer(builder, args[0]), "acquire", 8)

    return types.int64(types.int64), codegen


@intrinsic
def _emit_store(typingctx, address, value):
    """Write an integer, behind all that this thread wrote before."""

    def codegen(context, builder, sig, args):
        builder.store_atomic(args[1], _pointer(builder, args[0]), "release", 8)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@intrinsic
def _emit_compare_and_swap(typingctx, address, expected, value):
    """Write `value` if `expected` is there, in one go, and tell whether it was."""

    def codegen(context, builder, sig, args):
        pointer = _pointer(builder, args[0])
        found = builder.cmpxchg(pointer, args[1], args[2], "acq_rel", "acquire")
        return builder.extract_value(found, 1)

    return types.boolean(types.int64, types.int64, types.int64), codegen


@intrinsic
def _emit_pause(typingctx):
    """Let the core's other thread go first for a moment, where the processor can."""

    def codegen(context, builder, sig, args):
        if builder.module.triple.startswith(("x86_64", "i686")):
            kind = ir.FunctionType(ir.VoidType(), [])
            name = "llvm.x86.sse2.pause"
            function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
            builder.call(function, [])
        return context.get_dummy_value()

    return types.void(), codegen


load: Any = _emit_load
store: Any = _emit_store
compare_and_swap: Any = _emit_compare_and_swap
_pause: Any = _emit_pause
_give_way = types.ExternalFunction(
    "SwitchToThread" if sys.platform == "win32" else "sched_yield", types.int32()
)


@jit()
def spin_wait(spins):
    """Return how often somebody has looked for what is not there yet, after a pause."""
    _pause()
    if spins < _SPINS:
        return spins + 1
    _give_way()
    return 0
