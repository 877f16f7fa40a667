"""Functions of 64-bit integers as LLVM IR: what control flow and threads are made of.

An `Integer` is a value that a compiled function works with; Python's operators emit instructions.
Nothing here runs at training time. Written so, the executor compiles in a tenth of the time that
type inference from Python would take, and needs nothing but LLVM to be loaded again.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from .flow import I8, I32, I64, VOID, call_by_name, const, ir, new_function
from .target import is_arm

__all__ = ["WORD", "Function", "Integer", "Integers", "Variable", "emit_functions", "function"]

WORD = 8
Function = Callable[..., Any]


class Integer:
    """A 64-bit integer, or a truth value, of the function that is being emitted."""

    def __init__(self, builder: ir.IRBuilder, value: Any) -> None:
        self._b = builder
        self.value = value

    def _with(self, other: Any, emit: Callable[[Any, Any], Any]) -> Integer:
        return Integer(self._b, emit(self.value, _value(other)))

    def __add__(self, other: Any) -> Integer:
        return self._with(other, self._b.add)

    def __sub__(self, other: Any) -> Integer:
        return self._with(other, self._b.sub)

    def __mul__(self, other: Any) -> Integer:
        return self._with(other, self._b.mul)

    def __mod__(self, other: Any) -> Integer:
        """Return the remainder; neither may be negative."""
        return self._with(other, self._b.urem)

    __radd__, __rmul__ = __add__, __mul__

    def _compared(self, sign: str, other: Any) -> Integer:
        return self._with(other, lambda a, b: self._b.icmp_signed(sign, a, b))

    def __invert__(self) -> Integer:
        """Return the opposite of a truth value."""
        return Integer(self._b, self._b.not_(self.value))

    def __lt__(self, other: Any) -> Integer:
        return self._compared("<", other)

    def equals(self, other: Any) -> Integer:
        """Return whether both are the same."""
        return self._compared("==", other)

    def differs(self, other: Any) -> Integer:
        """Return whether they are not the same."""
        return self._compared("!=", other)


def _value(x: Any) -> Any:
    return const(x) if isinstance(x, int) else x.value


def _stack(builder: ir.IRBuilder, kind: ir.Type) -> Any:
    """Return where a value of that kind has room for as long as the function runs."""
    with builder.goto_entry_block():
        return builder.alloca(kind)


class Variable:
    """An integer that changes."""

    def __init__(self, builder: ir.IRBuilder, first: Any) -> None:
        self._b = builder
        self._place = _stack(builder, I64)
        self.set(first)

    def set(self, value: Any) -> None:
        """Give it another value."""
        self._b.store(_value(value), self._place)

    def get(self) -> Integer:
        """Return what it is now."""
        return Integer(self._b, self._b.load(self._place))


class Integers:
    """Emit a function of integers through `builder`."""

    def __init__(self, builder: ir.IRBuilder) -> None:
        self.b = builder
        self.module = builder.module

    def variable(self, first: Any) -> Variable:
        """Return an integer that changes, at first `first`."""
        return Variable(self.b, first)

    # memory

    def _pointer(self, address: Any) -> Any:
        return self.b.inttoptr(address.value, I64.as_pointer())

    def read(self, row: Any, place: int) -> Integer:
        """Return word `place` of a row."""
        return Integer(self.b, self.b.load(self._pointer(row + WORD * place)))

    def write(self, row: Any, place: int, value: Any) -> None:
        """Write word `place` of a row."""
        self.b.store(_value(value), self._pointer(row + WORD * place))

    def load(self, address: Any) -> Integer:
        """Read what other threads write; what its writer wrote before is there as well."""
        return Integer(self.b, self.b.load_atomic(self._pointer(address), "acquire", WORD))

    def store(self, address: Any, value: Any) -> None:
        """Write what other threads read, behind all that this thread wrote before."""
        self.b.store_atomic(_value(value), self._pointer(address), "release", WORD)

    def compare_and_swap(self, address: Any, expected: Any, value: Any) -> Integer:
        """Write `value` if `expected` is there, in one go, and return whether it was."""
        old, new, place = _value(expected), _value(value), self._pointer(address)
        found = self.b.cmpxchg(place, old, new, "acq_rel", "acquire")
        return Integer(self.b, self.b.extract_value(found, 1))

    # control flow

    @contextmanager
    def count(self, first: Any, end: Any) -> Iterator[Integer]:
        """Emit ``for number in range(first, end)`` around the block."""
        number = self.variable(first)
        with self.repeat(lambda: number.get() < end):
            yield number.get()
            number.set(number.get() + 1)

    @contextmanager
    def repeat(self, condition: Callable[[], Integer]) -> Iterator[None]:
        """Emit ``while condition()`` around the block."""
        blocks = [self.b.append_basic_block(name) for name in ("look", "body", "after")]
        look, body, after = blocks
        self.b.branch(look)
        self.b.position_at_end(look)
        self.b.cbranch(condition().value, body, after)
        self.b.position_at_end(body)
        yield
        self.b.branch(look)
        self.b.position_at_end(after)

    def when(self, condition: Integer) -> Any:
        """Emit ``if condition`` around the block."""
        return self.b.if_then(condition.value)

    # calls

    def call(self, address: Any, *arguments: Any) -> None:
        """Call the function at an address; it returns nothing."""
        kind = ir.FunctionType(VOID, [I64] * len(arguments))
        place = self.b.inttoptr(address.value, kind.as_pointer())
        self.b.call(place, [argument.value for argument in arguments])

    def call_system(self, name: str, *arguments: Any) -> None:
        """Call a function of the C library by name; its plain numbers are 32 bits wide."""
        values = [I32(x) if isinstance(x, int) else x.value for x in arguments]
        call_by_name(self.b, name, I32, values)

    def pause(self) -> None:
        """Let the core's other thread go first for a moment, some 40 cycles.

        ARM's `yield` does nothing on most processors; an instruction barrier waits.
        """
        if self.module.triple.startswith(("x86_64", "i686")):  # mutant not: waiting without pauses
            # mutant pass: waiting without pauses
            call_by_name(self.b, "llvm.x86.sse2.pause", VOID, [])
        elif is_arm(self.module.triple):
            call_by_name(self.b, "llvm.aarch64.isb", VOID, [I32(15)])

    @contextmanager
    def subnormals_as_zero(self) -> Iterator[None]:
        """Have the thread take subnormal numbers for zero within the block, then as it was before.

        An arithmetic operation on one takes some 150 cycles on Intel's processors: a moment that
        has decayed for 800 steps makes a step 5 times as long. x86 has bits 15 (results) and 6
        (operands) of MXCSR for it, ARM bit 24 of FPCR.
        """
        triple = self.module.triple
        if triple.startswith(("x86_64", "i686")):
            place = _stack(self.b, I32)
            self._control("llvm.x86.sse.stmxcsr", place)
            before = self.b.load(place)
            self.b.store(self.b.or_(before, I32(1 << 15 | 1 << 6)), place)
            self._control("llvm.x86.sse.ldmxcsr", place)
            yield
            self.b.store(before, place)
            self._control("llvm.x86.sse.ldmxcsr", place)
        elif is_arm(triple):
            before = call_by_name(self.b, "llvm.aarch64.get.fpcr", I64, [])
            flushed = self.b.or_(before, const(1 << 24))
            call_by_name(self.b, "llvm.aarch64.set.fpcr", VOID, [flushed])
            yield
            call_by_name(self.b, "llvm.aarch64.set.fpcr", VOID, [before])
        else:
            yield

    def _control(self, name: str, place: Any) -> None:
        call_by_name(self.b, name, VOID, [self.b.bitcast(place, I8.as_pointer())])

    def give_way(self) -> None:
        """Ask the system whether another thread is due."""
        self.call_system("SwitchToThread" if sys.platform == "win32" else "sched_yield")


def function(emit: Function) -> Function:
    """Make ``emit(x, *arguments)`` a compiled function of its own, which emitters call likewise."""
    count = emit.__code__.co_argcount - 1

    @wraps(emit)
    def call(x: Integers, *arguments: Any) -> Integer:
        name = f"fastmlp_{emit.__name__}"
        callee = x.module.globals.get(name) or _emit(x.module, name, emit, count)
        return Integer(x.b, x.b.call(callee, [_value(a) for a in arguments]))

    call.parameters = count  # type: ignore[attr-defined]
    return call


def _emit(module: ir.Module, name: str, emit: Function, count: int) -> ir.Function:
    made, builder = new_function(module, name, I64, count)
    result = emit(Integers(builder), *(Integer(builder, value) for value in made.args))
    builder.ret(const(0) if result is None else result.value)
    return made


def emit_functions(module: ir.Module, functions: dict[str, Function]) -> None:
    """Emit functions into a module under names by which they are found and called from outside."""
    for name, emitted in functions.items():
        _emit(module, name, emitted, emitted.parameters).linkage = ""  # type: ignore[attr-defined]
