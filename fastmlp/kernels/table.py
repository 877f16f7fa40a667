"""The kernels of one dtype, compiled once, as a table of their addresses.

Numba compiles and caches one small function per dtype and group of kernels that are needed
together; its one intrinsic emits them into the function's module and writes the addresses out.
The drivers call through the table, so no kernel is ever compiled a second time into a driver
(linking them in tripled the compile time), and one driver serves both dtypes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cache, partial
from types import FunctionType
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from . import listing, microkernel, online, outputs, restraint, rows, sparse
from ._jit import jit
from ._simd import I64, VOID
from ._target import Target, current_target
from .activations import ACTIVATIONS
from .optimizers import ADD, OPTIMIZERS, STORE
from .vector_math import Vec

__all__ = [
    "KERNELS",
    "NUMBER",
    "call",
    "dense_kernels",
    "emit_function",
    "forward_group",
    "kernel_addresses",
    "kernel_group",
    "launch",
]

Emitter = Callable[[Vec, list[Any]], None]
MAX_WIDTH = 4  # the widest tile of any target, in vectors
KINDS = ("u8", "f32", "f64")  # of inputs
PIECEWISE_LINEAR = frozenset({"identity", "relu", "leaky_relu"})  # the others are long
PANEL = 8  # vectors of a row that one pass over lists of non-zeros keeps in registers at most


def _sparse_kernels() -> dict[str, tuple[int, Emitter | None]]:
    """Return the kernels that only data with many zeros need, compiled when they are."""
    listed: dict[str, tuple[int, Emitter | None]] = {}
    for name, count, emitter in (
        ("sparse_forward_codes", 15, partial(sparse.forward, coded=True)),
        ("sparse_forward_values", 15, partial(sparse.forward, coded=False)),
        ("sparse_gradient_codes", 14, partial(sparse.gradient, coded=True)),
        ("sparse_gradient_values", 14, partial(sparse.gradient, coded=False)),
        ("feature_update", 12, sparse.feature_update),
    ):
        for width in range(1, PANEL + 1):

            def emit(v: Vec, args: list[Any], emitter: Any = emitter, width: int = width) -> None:
                emitter(v, args, width=width)

            listed[f"{name}_{width}"] = (count, emit)
    for kind in KINDS:
        listed[f"index_count_{kind}"] = (5, partial(listing.index_count, kind=kind))
        listed[f"index_fill_{kind}"] = (10, partial(listing.index_fill, kind=kind))
    for kind in ("f32", "f64"):
        listed[f"encode_{kind}"] = (7, partial(listing.encode, kind=kind))
    listed["list_rows"] = (10, listing.list_rows)
    listed["prefetch_codes"] = (7, partial(sparse.prefetch, coded=True))
    listed["prefetch_values"] = (7, partial(sparse.prefetch, coded=False))
    listed["by_feature_codes"] = (19, partial(sparse.by_feature, coded=True))
    listed["by_feature_values"] = (19, partial(sparse.by_feature, coded=False))
    return listed


def dense_kernels(target: Target) -> dict[str, tuple[int, Emitter | None]]:
    """Return name -> (number of arguments, emitter); None where the target has no such tile."""
    listed: dict[str, tuple[int, Emitter | None]] = {}
    for name, count, tile in (
        ("tile_forward", 10, microkernel.tile_forward),
        ("tile_backward", 9, microkernel.tile_backward),
        ("tile_update", 10, microkernel.tile_update),
    ):
        for width in range(1, MAX_WIDTH + 1):

            def emit(v: Vec, args: list[Any], tile: Any = tile, width: int = width) -> None:
                tile(v, target.tile_rows, width, args)

            listed[f"{name}_{width}"] = (count, emit if width <= target.tile_vectors else None)
    for width in online.WIDTHS:

        def emit_row(v: Vec, args: list[Any], width: int = width) -> None:
            online.vector_forward(v, width, args)

        listed[f"vector_forward_{width}"] = (8, emit_row)
    for name, count, module in (
        ("softmax_labels", 10, outputs), ("softmax_targets", 11, outputs),
        ("elementwise_loss", 12, outputs), ("output", 7, outputs),
        ("gather_u8", 8, rows), ("gather_f32", 8, rows), ("gather_f64", 8, rows),
        ("bias_update", 8, rows), ("optimizer", 6, rows), ("add", 3, rows),
        ("map_activation", 6, rows), ("transpose_block", 4, rows),
        ("dropout", 10, restraint), ("penalties", 7, restraint),
        ("gradient_squares", 7, restraint), ("clip", 6, restraint),
        ("limit_columns", 5, restraint), ("step_row", 4, rows),
        ("vector_backward", 8, online), ("vector_update", 6, online),
    ):  # fmt: skip
        listed[name] = (count, getattr(module, name))
    return listed


_DENSE, _SPARSE = dense_kernels(current_target()), _sparse_kernels()
KERNELS = {**_DENSE, **_SPARSE}
NUMBER = {name: i for i, name in enumerate(KERNELS)}


# Kernels that are compiled together, by how their names begin; all others are "common".
_FAMILIES = {
    "forward": ("tile_forward", "map_activation"),
    "online forward": ("vector_forward",),
    "online": ("vector_backward", "vector_update", "step_row"),
    "update": ("tile_update", "bias_update", "optimizer"),
    "feature update": ("feature_update",),
    "dropout": ("dropout",),
    "whole gradient": ("gradient_squares", "clip", "limit_columns"),
    "targets": ("softmax_targets", "elementwise_loss"),
    "listing": ("list_rows",),
    "lists of codes": ("sparse_forward_codes", "by_feature_codes", "prefetch_codes"),
    "lists of values": ("sparse_forward_values", "by_feature_values", "prefetch_values"),
    "gradient of codes": ("sparse_gradient_codes",),
    "gradient of values": ("sparse_gradient_values",),
    **{f"gather {kind}": (f"gather_{kind}",) for kind in KINDS},
    **{
        f"index {kind}": (f"index_count_{kind}", f"index_fill_{kind}", f"encode_{kind}")
        for kind in KINDS
    },
}
# What a family may be cut down to: the cases of its kernels' switch.
_VARIANTS: dict[str, frozenset[int]] = {
    "linear": frozenset(ACTIVATIONS[name] for name in PIECEWISE_LINEAR),
    **{rule: frozenset({code, STORE, ADD}) for rule, code in OPTIMIZERS.items()},
}


def forward_group(family: str, activations: Iterable[str]) -> str:
    """Return the group of a family of forward kernels that has these activations."""
    return f"{family}:linear" if set(activations) <= PIECEWISE_LINEAR else family


def _family(kernel: str) -> str:
    for family, beginnings in _FAMILIES.items():
        if kernel.startswith(beginnings):
            return family
    return "common"


_FAMILY = {name: _family(name) for name in KERNELS}


def emit_function(
    module: ir.Module, name: str, count: int, emit: Emitter, dtype: str, target: Target,
    kept: frozenset[int] | None = None,
) -> Any:  # fmt: skip
    """Emit one kernel into a module, internal to it, and return the function; only the `kept`
    cases of its switch where they are given.
    """
    function = ir.Function(module, ir.FunctionType(VOID, [I64] * count), f"fastmlp_{name}_{dtype}")
    function.linkage = "internal"
    function.attributes.add("noinline")
    function.attributes.add("nounwind")
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    size = 4 if dtype == "float32" else 8
    v = Vec(builder, dtype, target.vector_bytes // size, target.fma)
    v.kept = kept
    emit(v, list(function.args))
    builder.ret_void()
    return function


def _emit_group(
    dtype: str, group: str, context: Any, builder: ir.IRBuilder, sig: Any, args: Any
) -> Any:
    target = current_target()
    family, _, variant = group.partition(":")
    for name, (count, emit) in KERNELS.items():
        if emit is not None and _FAMILY[name] == family:
            function = emit_function(
                builder.module, name, count, emit, dtype, target, _VARIANTS.get(variant)
            )
            slot = builder.add(args[0], ir.Constant(I64, 8 * NUMBER[name]))
            address = builder.ptrtoint(function, I64)
            builder.store(address, builder.inttoptr(slot, I64.as_pointer()))
    return context.get_dummy_value()


@cache
def kernel_group(dtype: str, group: str) -> Any:
    """Return the function that writes the addresses of a group of kernels into a table.

    Parameters
    ----------
    dtype : str
    group : str
        A family of kernels, or ``"family:variant"`` for some cases only.

    Raises
    ------
    ValueError
        If there is no such family or variant: its kernels' addresses would stay 0.
    """
    family, _, variant = group.partition(":")
    if family not in {"common", *_FAMILIES} or variant not in {"", *_VARIANTS}:
        raise ValueError(f"group: expected a family of kernels, or family:variant, got {group!r}")

    def emit(typingctx, table):
        return types.void(types.int64), partial(_emit_group, dtype, group)

    def write(table):
        emit_kernels(table)  # type: ignore[name-defined]  # noqa: F821

    # Numba's cache tells functions apart by name, but not what stands in their closures
    name = re.sub(r"\W", "_", f"{group}_{dtype}")
    names = {"emit_kernels": intrinsic(emit), "__name__": __name__}
    function = FunctionType(write.__code__, names, name)
    function.__qualname__ = name
    return jit()(function)


@intrinsic
def _call(typingctx, address, arguments):
    """Call the kernel at `address` with a tuple of int64 arguments."""
    if not isinstance(arguments, types.BaseTuple):
        return None
    count = len(arguments)
    widened = types.UniTuple(types.int64, count)

    def codegen(context, builder, sig, args):
        kind = ir.FunctionType(VOID, [I64] * count)
        pointer = builder.inttoptr(args[0], kind.as_pointer())
        builder.call(pointer, [builder.extract_value(args[1], i) for i in range(count)])
        return context.get_dummy_value()

    return types.void(types.int64, widened), codegen


# A type checker would take the typing context for an argument.
call: Any = _call


@jit()
def _launch(address, arguments):
    call(address, arguments)


def launch(name: str, dtype: str, *arguments: int) -> None:
    """Call one kernel by name with integer arguments; the GIL is free meanwhile."""
    if len(arguments) != KERNELS[name][0]:
        raise TypeError(f"{name}: expected {KERNELS[name][0]} arguments, got {len(arguments)}")
    address = int(kernel_addresses(dtype, _FAMILY[name])[NUMBER[name]])
    if address == 0:
        raise ValueError(f"{name}: this processor's table has no such kernel")
    _launch(address, tuple(int(argument) for argument in arguments))


@cache
def kernel_addresses(dtype: str, *groups: str) -> np.ndarray:
    """Compile (or load) groups of kernels and return their addresses, by `NUMBER`.

    Those of other kernels are 0. See `kernel_group`.
    """
    table = np.zeros(len(KERNELS), np.int64)
    for group in groups:
        kernel_group(dtype, group)(table.ctypes.data)
    table.flags.writeable = False
    return table
