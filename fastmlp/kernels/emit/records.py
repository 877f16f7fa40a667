"""Argument records: every kernel takes the address of one, and its fields are named once.

A kernel is emitted by a function ``emit(v, q)`` whose decorator names the fields of its record.
In the emitter ``q.w`` is the value of field w. From the same names come the layout in memory (a
64-bit integer a field, in their order), the checks when a record is filled in, and listings.
The executor's functions and tiles, the inner parts of kernels, take their fields as arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from .flow import I64, VOID, Flow, ir

__all__ = [
    "Emitter",
    "emit_function",
    "emit_kernel",
    "fields_of",
    "record",
    "subroutine",
]

Emitter = Callable[..., None]


def record(fields: str) -> Callable[[Emitter], Emitter]:
    """Name the fields of the record that an emitter's kernel takes."""

    def decorate(emit: Emitter) -> Emitter:
        emit.fields = tuple(fields.split())  # type: ignore[attr-defined]
        return emit

    return decorate


def fields_of(emit: Emitter) -> tuple[str, ...]:
    """Return the fields that an emitter's decorator names."""
    inner: Any = getattr(emit, "func", emit)  # a partial's
    fields: tuple[str, ...] = inner.fields
    return fields


def emit_function(module: ir.Module, name: str, emit: Emitter, over: Callable[..., Any]) -> Any:
    """Emit ``emit(v, q)`` as a function of the fields, as arguments, and return it. `over` makes
    the `v` of a builder.
    """
    fields = fields_of(emit)
    function = ir.Function(module, ir.FunctionType(VOID, [I64] * len(fields)), name)
    function.attributes.add("nounwind")
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    emit(over(builder), SimpleNamespace(**dict(zip(fields, function.args, strict=True))))
    builder.ret_void()
    return function


def emit_kernel(module: ir.Module, name: str, emit: Emitter, over: Callable[..., Any]) -> Any:
    """Emit ``emit(v, q)`` as a function of a record's address, a kernel, and return it."""

    @record("address")
    def kernel(v: Any, q: Any) -> None:
        words = {field: v.word(q.address, i) for i, field in enumerate(fields_of(emit))}
        emit(v, SimpleNamespace(**words))

    return emit_function(module, name, kernel, over)


def subroutine(v: Flow, name: str, emit: Emitter) -> Callable[..., None]:
    """Return what calls a function of this name, emitted once per module: ``call(q, **fields)``.

    Fields that are not given are those of the record `q`.
    """
    names, function = fields_of(emit), v.module.globals.get(name)
    if function is None:
        function = emit_function(v.module, name, emit, v.over)
        function.linkage = "internal"
        function.attributes.add("noinline")

    def call(q: Any, **values: Any) -> None:
        v.b.call(function, [values[n] if n in values else getattr(q, n) for n in names])
        if not values.keys() <= set(names):
            raise TypeError(f"{name}: expected some of the fields {names}, got {sorted(values)}")

    return call
