"""The kernels, by name: their argument records, and their addresses once they are compiled.

Kernels that are needed together are a group: one module for LLVM, compiled and cached per dtype.
Programs hold the kernels' addresses and the executor calls them, so no kernel is ever compiled a
second time into a caller.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property, partial
from typing import Any, Literal

import numpy as np
from llvmlite import ir

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
from ..emit.target import Target, current_target
from ..emit.vector_math import Vec
from .compiler import machine_code

__all__ = [
    "KERNELS",
    "KINDS",
    "SPLIT",
    "Kernel",
    "call_kernel",
    "groups_of",
    "kernel_addresses",
    "launch",
    "variant",
]

_KERNEL = ctypes.CFUNCTYPE(None, ctypes.c_int64)
KINDS = ("u8", "f32", "f64")  # of inputs
SPLIT = {1: "bf16", 2: "bf16x2"}  # how kernels over so many parts end
Cases = Literal["all", "activations", "derivatives", "rule"]


@dataclass(frozen=True)
class Kernel:
    """A kernel: what emits it, and with which others it is compiled.

    Attributes
    ----------
    emit : callable
    family : str
    cases : {"all", "activations", "derivatives", "rule"}
        Which cases of its switch are compiled: all, or those of the network's activations (forward
        or backward) or of the optimizer's rule. All of a family have the same.
    """

    emit: Emitter
    family: str
    cases: Cases = "all"

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """The fields of its argument record, in their order."""
        return fields_of(self.emit)


_PACKED = {
    "packed_forward": Kernel(gemm.packed_forward, "packed forward", "activations"),
    "packed_backward": Kernel(gemm.packed_backward, "packed backward", "derivatives"),
    "packed_update": Kernel(gemm.packed_update, "packed update", "rule"),
    "pack_columns_left": Kernel(packing.pack_columns_left, "packing"),
    "pack_columns_right": Kernel(packing.pack_columns_right, "packing"),
    "pack_rows_right": Kernel(packing.pack_rows_right, "packing"),
}
# there are these for every kind of lists of non-zeros, of inputs, and of inputs with few values
_OF_LISTS = {
    "sparse_forward": Kernel(sparse.forward, "lists of"),
    "by_feature": Kernel(sparse.by_feature, "lists of"),
    "prefetch": Kernel(sparse.prefetch, "lists of"),
    "sparse_gradient": Kernel(sparse.gradient, "gradient of"),
}
_OF_INPUTS = {
    "gather": Kernel(elementwise.gather, "gather"),
    "list_rows": Kernel(csr.list_rows, "listing"),
    "index_count": Kernel(csr.index_count, "index"),
    "index_fill": Kernel(csr.index_fill, "index"),
}
_OF_VALUES = {"encode": Kernel(csr.encode, "index")}


def _variants(kernels: dict[str, Kernel], name: str, **options: Any) -> dict[str, Kernel]:
    """Return kernels with options, whose names and families end with `name`."""
    return {
        f"{kernel}_{name}": Kernel(partial(of.emit, **options), f"{of.family} {name}", of.cases)
        for kernel, of in kernels.items()
    }


KERNELS: dict[str, Kernel] = {
    "forward": Kernel(gemm.forward, "forward", "activations"),
    "backward": Kernel(gemm.backward, "backward", "derivatives"),
    "transpose": Kernel(gemm.transpose, "backward", "derivatives"),
    **_PACKED,
    "add": Kernel(elementwise.add, "groups"),
    "softmax_labels": Kernel(losses.softmax_labels, "labels"),
    "softmax_targets": Kernel(losses.softmax_targets, "targets"),
    "elementwise_loss": Kernel(losses.elementwise_loss, "targets"),
    "output": Kernel(losses.output, "outputs"),
    "penalties": Kernel(regularization.penalties, "penalties"),
    "reduce_penalties": Kernel(regularization.reduce_penalties, "penalties"),
    "update": Kernel(gemm.update, "update", "rule"),
    "bias_update": Kernel(elementwise.bias_update, "update", "rule"),
    "optimizer": Kernel(elementwise.optimizer, "optimizer", "rule"),
    "feature_update": Kernel(sparse.feature_update, "feature update", "rule"),
    "vector_forward": Kernel(gemv.vector_forward, "vector forward", "activations"),
    "vector_backward": Kernel(gemv.vector_backward, "vector update"),
    "vector_update": Kernel(gemv.vector_update, "vector update"),
    "step_row": Kernel(elementwise.step_row, "vector update"),
    "dropout": Kernel(regularization.dropout, "dropout"),
    "gradient_squares": Kernel(regularization.gradient_squares, "whole gradient"),
    "clip": Kernel(regularization.clip, "whole gradient"),
    "limit_columns": Kernel(regularization.limit_columns, "whole gradient"),
    "matrix_product": Kernel(matrix_product.matrix_product, "products"),
    "activate_rows": Kernel(rows.activate_rows, "rows activated", "activations"),
    "optimizer_items": Kernel(rows.optimizer_items, "items stepped", "rule"),
    "finite": Kernel(rows.finite, "finite"),
    **{
        f"{name}_of_rows": Kernel(partial(getattr(losses, name), padded=False), f"rows of {name}")
        for name in ("softmax_labels", "softmax_targets", "elementwise_loss", "output")
    },
}
for _parts, _name in SPLIT.items():
    _split = {**_PACKED, "split_rows_left": Kernel(packing.split_rows_left, "packing")}
    KERNELS |= _variants(_split, _name, parts=_parts)
for _kind in sparse.LISTS:
    KERNELS |= _variants(_OF_LISTS, _kind, kind=_kind)
for _kind in KINDS:
    KERNELS |= _variants(
        _OF_INPUTS if _kind == "u8" else _OF_INPUTS | _OF_VALUES, _kind, kind=_kind
    )
_FAMILIES = frozenset(kernel.family for kernel in KERNELS.values())


def variant(kernel: Kernel, activations: Iterable[str], rule: str) -> str:
    """Return the group of a kernel that has the cases which a network needs.

    Parameters
    ----------
    kernel : Kernel
    activations : iterable of str
        Of the hidden layers; the identity is the last one's.
    rule : str
        The optimizer's.
    """
    if kernel.cases == "all":
        return kernel.family
    if kernel.cases == "rule":
        return f"{kernel.family}:{rule}"
    names = {"identity", *activations}
    if kernel.cases == "derivatives":
        names.add(min(SLOPES))  # where dropout has saved f'(z) itself
    return f"{kernel.family}:{'+'.join(sorted(names))}"


def groups_of(names: Iterable[str], activations: Iterable[str], rule: str) -> list[str]:
    """Return the groups that hold the kernels of these names.

    Parameters
    ----------
    names : iterable of str
    activations : iterable of str
        Of the hidden layers; no others are compiled.
    rule : str
        The optimizer's; no other is compiled.
    """
    activations = tuple(activations)
    return sorted({variant(KERNELS[name], activations, rule) for name in names})


def _kept(group: str) -> frozenset[int] | None:
    """Return the codes of the cases that a group has; None for all."""
    family, colon, names = group.partition(":")
    if family in _FAMILIES and not colon:
        return None
    codes = {**ACTIVATIONS, **OPTIMIZERS} if family in _FAMILIES else {}
    if not all(name in codes for name in names.split("+")):
        raise ValueError(f"group: expected a family of kernels, or family:cases, got {group!r}")
    return frozenset({*(codes[name] for name in names.split("+")), STORE, ADD})


def vectors_through(dtype: str, target: Target, kept: frozenset[int] | None) -> Any:
    """Return what makes the `Vec` of a builder, with only the `kept` cases of a switch."""

    def new(builder: ir.IRBuilder) -> Vec:
        size = 4 if dtype == "float32" else 8
        v = Vec(builder, dtype, target.vector_bytes // size, target.fma)
        v.kept = kept
        return v

    return new


def _emit_group(dtype: str, group: str, module: ir.Module) -> None:
    family, _, _ = group.partition(":")
    new = vectors_through(dtype, current_target(), _kept(group))
    for name, kernel in KERNELS.items():
        if kernel.family == family:
            emit_kernel(module, f"fastmlp_{name}", kernel.emit, new)


@cache
def _group_addresses(dtype: str, group: str) -> dict[str, int]:
    """Compile (or load) a group of kernels and return their addresses by name."""
    family, _, _ = group.partition(":")
    _kept(group)  # raises if there is no such group
    code = machine_code(f"{group} {dtype}", partial(_emit_group, dtype, group))
    names = [name for name, kernel in KERNELS.items() if kernel.family == family]
    return {name: code.address(f"fastmlp_{name}") for name in names}


def call_kernel(address: int, record: int) -> None:
    """Call the kernel at an address with the record at another; the GIL is free meanwhile."""
    _KERNEL(address)(record)


def launch(name: str, dtype: str, **values: int) -> None:
    """Call one kernel by name, its record's fields by name; the GIL is free meanwhile.

    Raises
    ------
    KeyError
        If there is no kernel of that name.
    TypeError
        If a field is missing or unknown.
    """
    fields = KERNELS[name].fields
    if set(values) != set(fields):
        missing, unknown = sorted(set(fields) - set(values)), sorted(set(values) - set(fields))
        raise TypeError(
            f"{name}: expected the fields {', '.join(fields)}; missing {missing}, unknown {unknown}"
        )
    record = np.array([int(values[field]) for field in fields], np.int64)
    addresses = kernel_addresses(dtype, KERNELS[name].family)
    call_kernel(addresses[name], record.ctypes.data)


class Addresses(dict[str, int]):
    """Addresses of kernels by name.

    Raises
    ------
    LookupError
        For a kernel that is not among them: an error over a jump to nowhere.
    """

    def __missing__(self, name: str) -> int:
        known = "is in no group that was compiled" if name in KERNELS else "is no kernel"
        raise LookupError(f"{name}: {known}")


@cache
def kernel_addresses(dtype: str, *groups: str) -> Addresses:
    """Compile (or load) groups of kernels and return their addresses by name.

    See `groups_of`. Asking for a kernel of no group raises.

    Raises
    ------
    ValueError
        If there is no such family or case.
    """
    addresses = Addresses()
    for group in groups:
        addresses |= _group_addresses(dtype, group)
    return addresses
