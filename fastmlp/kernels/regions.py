"""Compiled functions that are reached by their address.

A driver calls its regions through a table of addresses. Linked into it, each would be optimised a
second time (and a third time by the parallel loop around it), and regions that a job never enters
would be compiled all the same.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic

from ._simd import ir
from .threads import start_threads

__all__ = ["argument_types", "call_region", "compiled", "region_addresses"]

_READ = types.Array(types.int64, 1, "C", readonly=True)
_INTEGERS, _FLOATS = types.Array(types.int64, 1, "C"), types.Array(types.float64, 1, "C")
# What the parameters of that name are, wherever they stand; all others are integers.
_PARAMETERS = {
    "R": _READ, "K": _READ, "S": _INTEGERS, "q": _INTEGERS, "bounds": _INTEGERS,
    "layers": types.Array(types.int64, 2, "C"), "penalties": _FLOATS, "penalty": _FLOATS,
}  # fmt: skip


@intrinsic
def _call_region(typingctx, address, arguments):
    """Call the region at `address` with a tuple of arrays and integers."""
    kinds = [a if isinstance(a, types.Array) else types.int64 for a in arguments]

    def codegen(context, builder, sig, args):
        values = [context.get_value_type(kind) for kind in kinds]
        kind = ir.FunctionType(context.get_value_type(types.none), values)
        pointer = builder.inttoptr(args[0], kind.as_pointer())
        builder.call(pointer, [builder.extract_value(args[1], i) for i in range(len(kinds))])
        return context.get_dummy_value()

    return types.void(types.int64, types.BaseTuple.from_types(kinds)), codegen


call_region: Any = _call_region


@cache
def argument_types(function: Any) -> tuple[Any, ...]:
    """Return what a driver or region is called with, by the names of its parameters."""
    names = inspect.signature(function.py_func).parameters
    return tuple(_PARAMETERS.get(name, types.int64) for name in names)


def compiled(function: Any) -> Any:
    """Compile a driver or region, or load it, and return Numba's result."""
    if function.targetoptions.get("parallel"):
        start_threads()  # or Numba would load its threading layer in its own way
    arguments = argument_types(function)
    function.compile(arguments)
    return function.overloads[arguments]


@cache
def _address(region: Any) -> int:
    """Return a region's address: asked of LLVM once, under a lock that all threads share."""
    result = compiled(region)
    return int(result.library.get_pointer_to_function(result.fndesc.llvm_cfunc_wrapper_name))


def region_addresses(regions: Sequence[Any | None]) -> np.ndarray:
    """Return the addresses of compiled regions; 0 for None, a region that is not entered."""
    table = np.array([0 if region is None else _address(region) for region in regions], np.int64)
    table.flags.writeable = False
    return table
