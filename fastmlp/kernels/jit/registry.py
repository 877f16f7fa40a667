"""The kernels, by name: their argument records, and their addresses once they are compiled.

Numba compiles and caches one small function per dtype and group of kernels that are needed
together; its one intrinsic emits them into the function's module and writes their addresses out.
Programs hold these addresses and the executor calls them, so no kernel is ever compiled a second
time into a caller.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, partial
from types import FunctionType
from typing import Any, Literal

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..emit import (
    csr,
    elementwise,
    gemm,
    gemv,
    losses,
    matrix_product,
    regularization,
    rows,
    sparse,
)
from ..emit.activations import ACTIVATIONS, SLOPES
from ..emit.optimizers import ADD, OPTIMIZERS, STORE
from ..emit.records import Emitter, emit_kernel, fields_of
from ..emit.simd import I64, VOID
from ..emit.target import Target, current_target
from ..emit.vector_math import Vec
from .cache import jit

__all__ = [
    "KERNELS",
    "KINDS",
    "Kernel",
    "call",
    "kernel_addresses",
    "kernel_group",
    "launch",
    "variant",
]

KINDS = ("u8", "f32", "f64")  # of inputs
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

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of its argument record, in their order."""
        return fields_of(self.emit)

    @property
    def formula(self) -> str:
        """The first sentence of the emitter's docstring."""
        emit: Any = self.emit
        while isinstance(emit, partial):
            emit = emit.func
        return " ".join((emit.__doc__ or "").split("\n\n")[0].split()).split(". ")[0]


def _of_lists(coded: bool) -> dict[str, Kernel]:
    """Return the kernels that go through lists of non-zeros, of coded values or of plain ones."""
    kind = "codes" if coded else "values"
    family = f"lists of {kind}"
    return {
        f"sparse_forward_{kind}": Kernel(partial(sparse.forward, coded=coded), family),
        f"by_feature_{kind}": Kernel(partial(sparse.by_feature, coded=coded), family),
        f"prefetch_{kind}": Kernel(partial(sparse.prefetch, coded=coded), family),
        f"sparse_gradient_{kind}": Kernel(
            partial(sparse.gradient, coded=coded), f"gradient of {kind}"
        ),
    }


def _of_input(kind: str) -> dict[str, Kernel]:
    """Return the kernels that read inputs of one kind."""
    index = f"index {kind}"
    kernels = {
        f"gather_{kind}": Kernel(getattr(elementwise, f"gather_{kind}"), f"gather {kind}"),
        f"list_rows_{kind}": Kernel(partial(csr.list_rows, kind=kind), f"listing {kind}"),
        f"index_count_{kind}": Kernel(partial(csr.index_count, kind=kind), index),
        f"index_fill_{kind}": Kernel(partial(csr.index_fill, kind=kind), index),
    }
    if kind != "u8":
        kernels[f"encode_{kind}"] = Kernel(partial(csr.encode, kind=kind), index)
    return kernels


KERNELS: dict[str, Kernel] = {
    "forward": Kernel(gemm.forward, "forward", "activations"),
    "map_activation": Kernel(elementwise.map_activation, "activation maps", "activations"),
    "backward": Kernel(gemm.backward, "backward", "derivatives"),
    "transpose": Kernel(gemm.transpose, "backward", "derivatives"),
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
    "output_of_rows": Kernel(losses.output_of_rows, "rows of outputs"),
    **{
        f"{name}_of_rows": Kernel(partial(getattr(losses, name), padded=False), f"rows of {name}")
        for name in ("softmax_labels", "softmax_targets", "elementwise_loss")
    },
    **_of_lists(True),
    **_of_lists(False),
    **{name: kernel for kind in KINDS for name, kernel in _of_input(kind).items()},
}
_PLACES = {name: i for i, name in enumerate(KERNELS)}  # in what a group writes its addresses to
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


def _kept(group: str) -> frozenset[int] | None:
    """Return the codes of the cases that a group has; None for all.

    Raises
    ------
    ValueError
        If there is no such family or case.
    """
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


def _emit_group(
    dtype: str, group: str, context: Any, builder: ir.IRBuilder, sig: Any, args: Any
) -> Any:
    family, _, _ = group.partition(":")
    new = vectors_through(dtype, current_target(), _kept(group))
    for name, kernel in KERNELS.items():
        if kernel.family == family:
            function = emit_kernel(builder.module, f"fastmlp_{name}_{dtype}", kernel.emit, new)
            slot = builder.add(args[0], ir.Constant(I64, 8 * _PLACES[name]))
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
        A family of kernels, or ``"family:case+case"`` for some cases only.

    Raises
    ------
    ValueError
        If there is no such family or case.
    """
    _kept(group)

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
def _call(typingctx, address, record):
    """Call the kernel at `address` with the record at `record`."""

    def codegen(context, builder, sig, args):
        kind = ir.FunctionType(VOID, [I64])
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), [args[1]])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


# A type checker would take the typing context for an argument.
call: Any = _call


@jit()
def _launch(address, record):
    call(address, record)


def fill_record(name: str, values: dict[str, int]) -> np.ndarray:
    """Return a kernel's record with these values.

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
    return np.array([int(values[field]) for field in fields], np.int64)


def launch(name: str, dtype: str, **values: int) -> None:
    """Call one kernel by name, its record's fields by name; the GIL is free meanwhile."""
    record = fill_record(name, values)
    addresses = kernel_addresses(dtype, KERNELS[name].family)
    _launch(addresses[name], record.ctypes.data)


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

    See `kernel_group`. Asking for a kernel of no group raises.
    """
    table = np.zeros(len(KERNELS), np.int64)
    for group in groups:
        kernel_group(dtype, group)(table.ctypes.data)
    return Addresses({name: int(table[place]) for name, place in _PLACES.items() if table[place]})
