"""Argument records: every kernel takes the address of one, and its fields are named once.

A kernel is emitted by a function ``emit(v, q)`` whose decorator names the fields of its record.
In the emitter ``q.w`` is the value of field w. From the same names come the layout in memory (a
64-bit integer a field, in their order), the checks when a record is filled in, and listings.
A tile, the inner part of several kernels, takes its fields as arguments instead of a record.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

from .flow import I64, VOID, ir, new_function
from .vector_math import Vec

__all__ = ["Emitter", "Renamed", "emit_kernel", "fields_of", "record", "subroutine"]

Emitter = Callable[..., None]


def record(fields: str) -> Callable[[Emitter], Emitter]:
    """Name the fields of the record that an emitter's kernel takes."""

    def decorate(emit: Emitter) -> Emitter:
        emit.fields = tuple(fields.split())  # type: ignore[attr-defined]
        return emit

    return decorate


def fields_of(emit: Emitter) -> tuple[str, ...]:
    """Return the fields that an emitter's decorator names."""
    while isinstance(emit, partial):
        emit = emit.func
    return emit.fields  # type: ignore[attr-defined]


def emit_kernel(module: ir.Module, name: str, emit: Emitter, new: Callable[..., Vec]) -> Any:
    """Emit the kernel of ``emit(v, q)`` into a module, where it can be called from outside, and
    return the function. `new` makes the `Vec` of a builder.
    """
    function, builder = new_function(module, name, VOID, 1)
    function.linkage = ""
    function.attributes.add("noinline")
    v = new(builder)
    (address,) = function.args
    values = {field: v.load_scalar(address, 8 * i, I64) for i, field in enumerate(fields_of(emit))}
    emit(v, SimpleNamespace(**values))
    builder.ret_void()
    return function


class Renamed:
    """A record some of whose fields have other names: theirs by the new ones."""

    def __init__(self, q: Any, names: dict[str, str]) -> None:
        self._q, self._names = q, names

    def __getattr__(self, name: str) -> Any:
        return getattr(self._q, self._names.get(name, name))


def subroutine(v: Vec, name: str, emit: Emitter) -> Callable[..., None]:
    """Return what calls a tile of this name, emitted once per module: ``call(q, **fields)``.

    Fields that are not given are those of the record `q`.
    """
    names = fields_of(emit)
    full = f"fastmlp_{name}_{v.suffix}"
    function = v.module.globals.get(full)
    if function is None:
        function, builder = new_function(v.module, full, VOID, len(names))
        function.attributes.add("noinline")
        emit(v.over(builder), SimpleNamespace(**dict(zip(names, function.args, strict=True))))
        builder.ret_void()

    def call(q: Any, **values: Any) -> None:
        v.b.call(function, [values[n] if n in values else getattr(q, n) for n in names])
        if not values.keys() <= set(names):
            raise TypeError(f"{name}: expected some of the fields {names}, got {sorted(values)}")

    return call
