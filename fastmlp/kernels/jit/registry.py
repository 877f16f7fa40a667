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
    packed_gemm,
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
Cases = Literal["all", "activations", "derivatives", "rule"]


@dataclass(frozen=True)
class Kernel:
    """A kernel: what emits it, and with which others it is compiled, its family.

    Which `cases` of its switch are compiled: all, or those of the network's activations (forward
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
    "packed_forward": Kernel(packed_gemm.packed_forward, "packed forward", "activations"),
    "packed_backward": Kernel(packed_gemm.packed_backward, "packed backward", "derivatives"),
    "packed_update": Kernel(packed_gemm.packed_update, "packed update", "rule"),
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


def groups_of(names: Iterable[str], activations: Iterable[str], rule: str) -> list[str]:
    """Return the groups that hold the kernels of these names, as ``family`` or ``family:cases``.

    Parameters
    ----------
    names : iterable of str
    activations : iterable of str
        Of the hidden layers; no others are compiled but the last one's, the identity.
    rule : str
        The optimizer's; no other is compiled.
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
    code = machine_code(f"{group} {dtype}", partial(_emit_group, dtype, group))
    return {name: code.address(f"fastmlp_{name}") for name in _family(group.partition(":")[0])}


@cache
def kernel_addresses(dtype: str, *groups: str) -> dict[str, int]:
    """Compile (or load) groups of kernels, see `groups_of`, and return their addresses by name."""
    addresses: dict[str, int] = {}
    for group in groups:
        addresses |= _group_addresses(dtype, group)
    return addresses


def launch(name: str, dtype: str, **values: int) -> None:
    """Call one kernel by name, its record's fields by name; the GIL is free meanwhile.

    Raises
    ------
    TypeError
        If a field is missing or unknown.
    """
    kernel = KERNELS[name]
    if values.keys() != set(kernel.fields):
        raise TypeError(f"{name}: expected the fields {kernel.fields}, got {tuple(values)}")
    record = np.array([int(values[field]) for field in kernel.fields], np.int64)
    KERNEL(kernel_addresses(dtype, kernel.family)[name])(record.ctypes.data)
