"""The kernels, by name: their argument records, and their addresses once they are compiled.

Kernels that are needed together are a group: one module for LLVM, compiled and cached per dtype.
Programs hold the kernels' addresses and the executor calls them, so no kernel is ever compiled a
second time into a caller.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Literal

import numpy as np
from llvmlite import ir

from ...support.cached import cached_property
from ..emit import (
    csr,
    elementwise,
    gemm,
    gemv,
    losses,
    matrix_product,
    packing,
    regularization,
    rows,
    sparse,
)
from ..emit.activations import ACTIVATIONS, SLOPES
from ..emit.optimizers import ADD, OPTIMIZERS, STORE
from ..emit.records import Emitter, emit_kernel, fields_of
from ..emit.target import current_target
from ..emit.vector_math import Vec
from .compiler import machine_code

__all__ = [
    "KERNEL",
    "KERNELS",
    "KINDS",
    "SPLIT",
    "Kernel",
    "groups_of",
    "kernel_addresses",
    "launch",
]

KERNEL = ctypes.CFUNCTYPE(None, ctypes.c_int64)
KINDS = tuple(elementwise.INPUTS)
SPLIT = {1: "bf16", 2: "bf16x2"}  # how kernels over so many parts end


@dataclass(frozen=True)
class Kernel:
    """A kernel: what emits it, and the family that it is compiled with.

    `cases` of its switch are compiled: all, or those of the network's activations (forward or
    backward) or of the optimizer's rule.
    """

    emit: Emitter
    family: str
    cases: Literal["all", "activations", "derivatives", "rule"]

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """The fields of its argument record, in their order."""
        return fields_of(self.emit)


# families: their names, their cases, and what emits their kernels, which are called like it
_FAMILIES: tuple[tuple[Any, ...], ...] = (
    ("forward", "activations", gemm.forward),
    ("backward", "derivatives", gemm.backward, gemm.transpose),
    ("update", "rule", gemm.update, elementwise.bias_update),
    ("optimizer", "rule", elementwise.optimizer),
    ("groups", "all", elementwise.add),
    ("labels", "all", losses.softmax_labels),
    ("targets", "all", losses.softmax_targets, losses.elementwise_loss),
    ("outputs", "all", losses.output),
    ("dropout", "all", regularization.dropout),
    ("penalties", "all", regularization.penalties, regularization.reduce_penalties),
    ("whole gradient", "all", regularization.gradient_squares, regularization.clip,
     regularization.limit_columns),
    ("feature update", "rule", sparse.feature_update),
    ("vector forward", "activations", gemv.vector_forward),
    ("vector update", "all", gemv.vector_backward, gemv.vector_update, gemv.step_row),
    ("products", "all", matrix_product.matrix_product),
    ("rows activated", "activations", rows.activate_rows),
    ("items stepped", "rule", rows.optimizer_items),
    ("finite", "all", rows.finite),
)  # fmt: skip
_PACKED = (
    ("packed forward", "activations", gemm.packed_forward),
    ("packed backward", "derivatives", gemm.packed_backward),
    ("packed update", "rule", gemm.packed_update),
    ("packing", "all", packing.pack_columns_left, packing.pack_columns_right,
     packing.pack_rows_right),
)  # fmt: skip
_OF_ROWS = (
    ("labels", "all", losses.softmax_labels),
    ("targets", "all", losses.softmax_targets),
    ("losses", "all", losses.elementwise_loss),
    ("outputs", "all", losses.output),
)
_OF_LISTS = (
    ("lists of", "all", sparse.sparse_forward, sparse.by_feature, sparse.prefetch),
    ("gradient of", "all", sparse.sparse_gradient),
)
_OF_INPUTS = (
    ("gather", "all", elementwise.gather),
    ("listing", "all", csr.list_rows),
    ("index", "all", csr.index_count, csr.index_fill),
)


def _kernels(
    families: tuple[tuple[Any, ...], ...], ending: str = "", **options: Any
) -> dict[str, Kernel]:
    """Return the kernels of families; with options they, and their families, end with a name."""
    return {
        "_".join(filter(None, (emit.__name__, ending))): Kernel(
            partial(emit, **options), f"{family} {ending}".rstrip(), cases
        )
        for family, cases, *emitters in families
        for emit in emitters
    }


KERNELS: dict[str, Kernel] = _kernels(_FAMILIES + _PACKED)
KERNELS |= _kernels(_OF_ROWS, "of_rows", padded=False)
for _parts, _name in SPLIT.items():
    _split = (*_PACKED, ("packing", "all", packing.split_rows_left))
    KERNELS |= _kernels(_split, _name, parts=_parts)
for _kind in sparse.LISTS:
    KERNELS |= _kernels(_OF_LISTS, _kind, kind=_kind)
for _kind in KINDS:
    _few = () if _kind == "u8" else (("index", "all", csr.encode),)  # few values: encoded
    KERNELS |= _kernels(_OF_INPUTS + _few, _kind, kind=_kind)


def groups_of(names: Iterable[str], activations: Iterable[str], rule: str) -> list[str]:
    """Return the groups that hold the kernels of these names, as ``family`` or ``family:cases``.

    Compiled are the hidden layers' `activations`, the identity, and the optimizer's `rule` only.
    """
    forward = {"identity", *activations}
    backward = {*forward, min(SLOPES)}  # where dropout has saved f'(z) itself
    cases = {
        "all": "", "rule": f":{rule}", "activations": ":" + "+".join(sorted(forward)),
        "derivatives": ":" + "+".join(sorted(backward)),
    }  # fmt: skip
    kernels = [KERNELS[name] for name in names]
    return sorted({kernel.family + cases[kernel.cases] for kernel in kernels})


def _emit_group(dtype: str, group: str, module: ir.Module) -> None:
    family, _, names = group.partition(":")
    codes = {**ACTIVATIONS, **OPTIMIZERS}
    kept = frozenset({*(codes[name] for name in names.split("+")), STORE, ADD}) if names else None

    def over(builder: ir.IRBuilder) -> Vec:
        v = Vec(builder, dtype, current_target())
        v.kept = kept
        return v

    for name in _family(family):
        emit_kernel(module, f"fastmlp_{name}", KERNELS[name].emit, over)


def _family(family: str) -> list[str]:
    return [name for name, kernel in KERNELS.items() if kernel.family == family]


@cache
def _group_addresses(dtype: str, group: str) -> dict[str, int]:
    """Compile (or load) a group of kernels and return their addresses by name."""
    family, cased, cases = group.partition(":")
    names = _family(family)
    if not names or (cased and not cases):
        raise LookupError(f"{group!r}: no such group of kernels")
    address = machine_code(f"{group} {dtype}", partial(_emit_group, dtype, group))
    return {name: address(f"fastmlp_{name}") for name in names}


@cache
def kernel_addresses(dtype: str, *groups: str) -> dict[str, int]:
    """Compile (or load) groups of kernels, see `groups_of`, and return their addresses by name."""
    addresses: dict[str, int] = {}
    for group in groups:
        addresses |= _group_addresses(dtype, group)
    return addresses


def launch(name: str, dtype: str, **values: int) -> None:
    """Call one kernel by name, its record's fields by name; the GIL is free meanwhile."""
    kernel = KERNELS[name]
    if values.keys() != set(kernel.fields):
        raise TypeError(f"{name}: expected the fields {kernel.fields}, got {tuple(values)}")
    record = np.array([int(values[field]) for field in kernel.fields], np.int64)
    KERNEL(kernel_addresses(dtype, kernel.family)[name])(record.ctypes.data)
