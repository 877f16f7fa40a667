"""Memory, integers and control flow as LLVM IR.

Control flow is written as it is in Python: a ``with`` block is emitted into a loop or a condition,
and the body of a ``for``, which none may leave by ``break``, once for every case.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from typing import Any, Self, TypeVar

from llvmlite import ir

__all__ = [
    "BOOL",
    "F32",
    "F64",
    "I8",
    "I16",
    "I32",
    "I64",
    "VOID",
    "WORD",
    "Flow",
    "const",
    "constant",
    "ir",
]

I64, I32, I16, I8, BOOL = (ir.IntType(n) for n in (64, 32, 16, 8, 1))
VOID = ir.VoidType()
F32, F64 = ir.FloatType(), ir.DoubleType()
WORD = 8  # bytes of a 64-bit integer
Name = TypeVar("Name")


def const(value: Any) -> Any:
    """Return a 64-bit integer as LLVM has it: of a plain number a constant."""
    return ir.Constant(I64, value) if isinstance(value, int) else value


def constant(kind: Any, value: float) -> ir.Constant:
    """Return a constant of a type, of a vector's in every lane."""
    lanes = getattr(kind, "count", None)
    return ir.Constant(kind, value if lanes is None else [value] * lanes)


class Flow:
    """Emit memory accesses, integers and control flow through `builder`."""

    def __init__(self, builder: ir.IRBuilder) -> None:
        self.b, self.module = builder, builder.module
        self.kept: frozenset[int] | None = None  # codes of the `cases` that there are; None: all

    def over(self, builder: ir.IRBuilder) -> Self:
        """Return what emits the same through another builder."""
        other = copy(self)
        other.b, other.module = builder, builder.module
        return other

    # addresses are integers, offsets bytes

    def at(self, address: Any, offset: Any = 0, step: Any = None) -> Any:
        """Return `address` + `offset` bytes, or `offset` times `step` bytes."""
        if step is not None:
            offset = self.times(offset, step)
        return address if offset == 0 else self.b.add(address, const(offset))

    def pointer(self, address: Any, kind: Any) -> Any:
        """Turn an address into a pointer to `kind`."""
        return self.b.inttoptr(address, kind.as_pointer())

    def word(self, row: Any, place: int = 0) -> Any:
        """Return word `place` of a row, a 64-bit integer."""
        return self.b.load(self.pointer(self.at(row, WORD * place), I64))

    def set_word(self, value: Any, row: Any, place: int = 0) -> None:
        """Write word `place` of a row."""
        self.b.store(value, self.pointer(self.at(row, WORD * place), I64))

    def call(self, name: str, result: Any, arguments: Sequence[Any]) -> Any:
        """Call a function of LLVM's own or of the system by its whole name."""
        kind = ir.FunctionType(result, [argument.type for argument in arguments])
        known = self.module.globals.get(name)
        return self.b.call(known or ir.Function(self.module, kind, name), arguments)

    # integers

    def times(self, number: Any, step: Any) -> Any:
        """Return the product of two 64-bit integers, either of which may be a plain number."""
        return self.b.mul(const(number), const(step))

    def ceil(self, n: Any, size: Any) -> Any:
        """Return how many of `size`, which may be a plain number, it takes to hold n."""
        size = const(size)
        return self.b.udiv(self.b.sub(self.b.add(n, size), const(1)), size)

    def least(self, a: Any, b: Any) -> Any:
        """Return the smaller of two integers."""
        return self.b.select(self.b.icmp_signed("<", a, b), a, b)

    # control flow

    @contextmanager
    def loop(
        self, count: Any, state: Sequence[Any], *, unroll: bool = True
    ) -> Iterator[tuple[Any, list[Any]]]:
        """Emit ``for t in range(count)`` around the block, which is given t and the list of values
        that it carries, at first `state`, to change; behind the block they are the last ones.

        Without `unroll` LLVM keeps one copy of the body: where it fills the registers, a second
        one may spill.
        """
        b = self.b
        before = b.block
        head = b.function.append_basic_block("loop")
        after = b.function.append_basic_block("after")
        b.cbranch(b.icmp_signed(">", count, const(0)), head, after)
        b.position_at_end(head)
        phis = [b.phi(value.type) for value in (const(0), *state)]
        values = phis[1:]
        yield phis[0], values
        following = b.add(phis[0], const(1))
        for phi, first, next_ in zip(phis, (const(0), *state), (following, *values), strict=True):
            phi.add_incoming(first, before)
            phi.add_incoming(next_, b.block)
        last = b.block
        back = b.cbranch(b.icmp_signed("<", following, count), head, after)
        if not unroll:
            back.set_metadata("llvm.loop", self._never_unrolled())
        b.position_at_end(after)
        values[:] = self._joined((before, state), (last, values[:]))

    def _joined(self, *ends: tuple[Any, Sequence[Any]]) -> list[Any]:
        """Return the values of whichever of two blocks came before."""
        joined = []
        for values in zip(*(values for _, values in ends), strict=True):
            joined.append(self.b.phi(values[0].type))
            for (block, _), value in zip(ends, values, strict=True):
                joined[-1].add_incoming(value, block)
        return joined

    @contextmanager
    def repeat(
        self, state: Sequence[Any], goes_on: Callable[[list[Any]], Any]
    ) -> Iterator[list[Any]]:
        """Emit ``while goes_on(values)`` around the block, which is given the values, at first
        `state`, to change; behind the block they are the last ones.
        """
        b, before = self.b, self.b.block
        look, body, after = (b.append_basic_block(name) for name in ("look", "body", "after"))
        b.branch(look)
        b.position_at_end(look)
        phis = [b.phi(value.type) for value in state]
        b.cbranch(goes_on(phis), body, after)
        b.position_at_end(body)
        values = phis[:]
        yield values
        for phi, first, following in zip(phis, state, values, strict=True):
            phi.add_incoming(first, before)
            phi.add_incoming(following, b.block)
        b.branch(look)
        b.position_at_end(after)
        values[:] = phis

    @contextmanager
    def each(self, count: Any, step: Any = None) -> Iterator[Any]:
        """Emit a loop around the block, over the numbers below `count`, times `step` if there is
        one.
        """
        with self.loop(count, []) as (t, _):
            yield t if step is None else self.times(t, step)

    @contextmanager
    def between(self, first: Any, end: Any) -> Iterator[Any]:
        """Emit ``for number in range(first, end)`` around the block."""
        with self.each(self.b.sub(end, first)) as t:
            yield self.b.add(first, t)

    def groups(
        self, n: Any, size: int, state: list[Any] | None = None
    ) -> Iterator[tuple[Any, int]]:
        """Emit the body of a ``for`` for n things, `size` at a time, and for what is left one by
        one: it is given the first one's number, and how many they are. It may change `state`.
        """
        b, carried = self.b, [] if state is None else state
        whole = b.udiv(n, const(size))
        done = b.mul(whole, const(size))
        for begin, count, at_once in ((const(0), whole, size), (done, b.sub(n, done), 1)):
            with self.loop(count, carried[:]) as (t, values):
                carried[:] = values
                yield b.add(begin, b.mul(t, const(at_once))), at_once
                values[:] = carried
            carried[:] = values

    @contextmanager
    def blocks(self, n: Any, size: Any, least: int = 0) -> Iterator[tuple[Any, Any]]:
        """Emit a loop around the block over blocks of n things, of which there are at least so
        many: the first one's number, and how many they are, `size` at most.
        """
        count = self.ceil(n, size)
        if least:
            few = self.b.icmp_signed("<", count, const(least))
            count = self.b.select(few, const(least), count)
        with self.each(count, size) as first:
            left = self.b.sub(n, first)
            yield first, self.least(left, const(size))

    def _never_unrolled(self) -> Any:
        """Return the metadata of a loop; its first operand is itself, which tells loops apart."""
        disable = self.b.module.add_metadata(["llvm.loop.unroll.disable"])
        loop = self.b.module.add_metadata([self.b.function.name, disable])
        loop.operands = (loop, disable)
        return loop

    def when(self, condition: Any) -> Any:
        """Emit ``if condition`` around the block."""
        return self.b.if_then(condition)

    def either(self, condition: Any) -> Iterator[bool]:
        """Emit the body of a ``for`` twice: for where `condition` is true, and for where not."""
        with self.b.if_else(condition) as sides:
            for side, block in zip((True, False), sides, strict=True):
                with block:
                    yield side

    def choose(
        self, condition: Any, yes: Callable[[], list[Any]], no: Callable[[], list[Any]]
    ) -> list[Any]:
        """Emit ``yes() if condition else no()`` and return the chosen list of values."""
        ends = []
        for side in self.either(condition):
            values = (yes if side else no)()
            ends.append((self.b.block, values))
        return self._joined(*ends)

    def cases(self, code: Any, codes: Mapping[Name, int], *, every: bool = False) -> Iterator[Name]:
        """Emit the body of a ``for`` for each of some names, to be run where `code` is the name's.
        Another code does nothing, nor does one that is not `kept`, unless `every` case is wanted.
        """
        b = self.b
        after = b.function.append_basic_block("chosen")
        switch = b.switch(code, after)
        for name, value in codes.items():
            if every or self.kept is None or value in self.kept:
                block = b.function.append_basic_block(f"case{value}")
                switch.add_case(const(value), block)
                b.position_at_end(block)
                yield name
                b.branch(after)
        b.position_at_end(after)
