"""Vectors as LLVM IR: memory, arithmetic and lanes.

A `Vectors` object is an IR builder bound to an element type and a vector length. Its methods emit
instructions; nothing here runs at training time. Addresses are 64-bit integers and offsets are
bytes, so that callers need no pointers, slices or reshapes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .flow import F32, F64, I8, I32, I64, VOID, Flow, const, constant, ir
from .target import Target

__all__ = ["Vectors"]


def _bytes_of(kind: Any) -> int:
    return kind.width // 8 if isinstance(kind, ir.IntType) else 4 if kind == F32 else 8


class Vectors(Flow):
    """Emit arithmetic on a processor's vectors of `dtype` through `builder`."""

    def __init__(self, builder: ir.IRBuilder, dtype: str, target: Target) -> None:
        super().__init__(builder)
        self.dtype, self.target = dtype, target
        single = dtype == "float32"
        self.scalar, self.suffix, self.size = (F32, "f32", 4) if single else (F64, "f64", 8)
        self.bytes = target.vector_bytes
        self.length = self.bytes // self.size
        self.type = ir.VectorType(self.scalar, self.length)
        self.int_type = ir.VectorType(ir.IntType(8 * self.size), self.length)

    # constants, memory

    def c(self, value: float) -> ir.Constant:
        """Return a vector with `value` in every lane."""
        return constant(self.type, float(value))

    def ic(self, value: int) -> ir.Constant:
        """Return an integer vector with `value` in every lane."""
        return constant(self.int_type, int(value))

    def rows(self, address: Any, stride: Any, count: int) -> list[Any]:
        """Return where `count` rows begin, `stride` bytes from one to the next."""
        return [self.at(address, const(i), stride) for i in range(count)]

    def load(self, address: Any, offset: Any = 0, length: int | None = None) -> Any:
        """Load a vector, of another `length` where told; it need not be aligned."""
        kind = ir.VectorType(self.scalar, length or self.length)
        value = self.b.load(self.pointer(self.at(address, offset), kind))
        value.align = self.size
        return value

    def load_row(self, address: Any, count: int) -> list[Any]:
        """Load some vectors, one behind the other."""
        return [self.load(address, j * self.bytes) for j in range(count)]

    def load_any(self, address: Any, kind: Any, count: int) -> Any:
        """Load `count` values of `kind` that lie anywhere: a vector, or the one."""
        kind = kind if count == 1 else ir.VectorType(kind, count)
        value = self.b.load(self.pointer(address, kind))
        value.align = 1
        return value

    def store(self, value: Any, address: Any, offset: Any = 0) -> None:
        """Store a vector of any length; it need not be aligned."""
        self.b.store(value, self.pointer(self.at(address, offset), value.type)).align = self.size

    def load_lanes(self, mask: Any, address: Any, offset: Any = 0) -> Any:
        """Load the lanes of a mask of any length, zeros in the others; nothing else is touched."""
        kind = ir.VectorType(self.scalar, mask.type.count)
        pointer = self.pointer(self.at(address, offset), kind)
        arguments = [pointer, I32(self.size), mask, constant(kind, 0.0)]
        name = f"llvm.masked.load.v{kind.count}{self.suffix}.p0"
        return self.call(name, kind, arguments)

    def store_lanes(self, value: Any, mask: Any, address: Any, offset: Any = 0) -> None:
        """Store the lanes of a mask; nothing else is touched."""
        pointer = self.pointer(self.at(address, offset), self.type)
        arguments = [value, pointer, I32(self.size), mask]
        self.call(f"llvm.masked.store.v{self.length}{self.suffix}.p0", VOID, arguments)

    def load_scalar(self, address: Any, offset: Any = 0, kind: Any = None) -> Any:
        """Load one element, or one value of `kind`."""
        return self.b.load(self.pointer(self.at(address, offset), kind or self.scalar))

    def store_scalar(self, value: Any, address: Any, offset: Any = 0) -> None:
        """Store one value."""
        self.b.store(value, self.pointer(self.at(address, offset), value.type))

    def load_item(self, address: Any, index: Any, kind: Any = None) -> Any:
        """Load element `index` of an array, or value `index` of `kind`; integers as 64 bits."""
        kind = kind or self.scalar
        value = self.load_scalar(address, self.times(index, _bytes_of(kind)), kind)
        narrow = isinstance(kind, ir.IntType) and kind != I64
        return self.b.zext(value, I64) if narrow else value

    def store_item(self, value: Any, address: Any, index: Any, kind: Any = None) -> None:
        """Store value `index` of an array; an integer as one of `kind`, where told."""
        if kind not in (None, value.type):
            value = self.b.trunc(value, kind)
        self.store_scalar(value, address, self.times(index, _bytes_of(value.type)))

    def splat(self, scalar: Any, length: int | None = None) -> Any:
        """Return a vector with `scalar`, of any type, in every lane; of `length` where told."""
        undefined = ir.Constant(ir.VectorType(scalar.type, length or self.length), ir.Undefined)
        first = self.b.insert_element(undefined, scalar, I32(0))
        return self.shuffle(first, undefined, [0] * undefined.type.count)

    def first(self, vector: Any) -> Any:
        """Return lane 0."""
        return self.b.extract_element(vector, I32(0))

    def shuffle(self, a: Any, b: Any, lanes: Sequence[int]) -> Any:
        """Return these lanes of two vectors, the second's numbered behind the first's."""
        return self.b.shuffle_vector(a, b, ir.Constant(ir.VectorType(I32, len(lanes)), list(lanes)))

    def lanes_below(self, count: Any, length: int | None = None) -> Any:
        """Return the mask of lanes whose number is less than the 64-bit integer `count`, of as many
        lanes as a vector has unless told.
        """
        limit = self.splat(self.b.trunc(count, I32) if self.size == 4 else count, length)
        lanes = ir.Constant(limit.type, list(range(limit.type.count)))
        return self.b.icmp_signed("<", lanes, limit)

    # arithmetic

    def intrinsic(self, name: str, arguments: Sequence[Any]) -> Any:
        """Call the LLVM intrinsic ``llvm.<name>`` for this vector type."""
        return self.call(f"llvm.{name}.v{self.length}{self.suffix}", self.type, arguments)

    def fma(self, x: Any, y: Any, z: Any) -> Any:
        """Return ``x * y + z``, with one rounding where the processor can."""
        if not self.target.fma:
            return self.b.fadd(self.b.fmul(x, y), z)
        return self.intrinsic("fma", [x, y, z])

    def greater(self, x: Any, y: Any) -> Any:
        """Return the mask ``x > y``; NaN is not greater."""
        return self.b.fcmp_ordered(">", x, y)

    def max(self, x: Any, y: Any) -> Any:
        """Return the larger; a NaN in `x` stays."""
        return self.b.select(self.b.fcmp_ordered("<", x, y), y, x)

    def min(self, x: Any, y: Any) -> Any:
        """Return the smaller; a NaN in `x` stays."""
        return self.b.select(self.b.fcmp_ordered(">", x, y), y, x)

    def negative(self, x: Any) -> Any:
        """Return ``-x``."""
        return self.b.fsub(self.c(-0.0), x)

    def cast(self, x: Any, element: Any) -> Any:
        """Return floating-point numbers, one or a vector of them, as such of another type."""
        lanes = getattr(x.type, "count", None)
        if element == (x.type if lanes is None else x.type.element):
            return x
        kind = element if lanes is None else ir.VectorType(element, lanes)
        return (self.b.fpext if element == F64 else self.b.fptrunc)(x, kind)

    def interleaved(
        self,
        count: Any,
        start: Sequence[Any],
        sets: int,
        add: Callable[[Any, list[Any]], list[Any]],
    ) -> list[Any]:
        """Emit ``sums = add(i, sums)`` for i in range(count), from `start` on, and return the sums.

        They are `sets` of sums, of which each takes its turn: several in flight hide the latency
        of the multiply-add. They are combined in a fixed order.
        """
        b, width = self.b, len(start)
        whole = b.udiv(count, const(sets))
        with self.loop(whole, [*start, *[self.c(0.0)] * (width * (sets - 1))]) as (t, sums):
            for n in range(sets):
                own = slice(n * width, (n + 1) * width)
                sums[own] = add(b.add(b.mul(t, const(sets)), const(n)), sums[own])
        while len(sums) > width:
            half = len(sums) // 2
            sums = [b.fadd(x, y) for x, y in zip(sums[:half], sums[half:], strict=True)]
        if sets > 1:
            done = b.mul(whole, const(sets))
            with self.loop(b.sub(count, done), sums) as (t, sums):
                sums[:] = add(b.add(done, t), sums[:])
        return sums

    # across lanes; a fixed tree, since a reduction without reassociation is sequential

    def reduce(self, vector: Any, combine: Callable[[Any, Any], Any]) -> Any:
        """Combine all lanes in a fixed tree; every lane holds the result."""
        step = self.length // 2
        while step:
            other = self.shuffle(vector, vector, [i ^ step for i in range(self.length)])
            vector = combine(vector, other)
            step //= 2
        return vector

    def transpose(self, rows: Sequence[Any]) -> list[Any]:
        """Transpose `length` vectors in log2(length) stages of shuffles."""
        result, step = list(rows), self.length // 2
        while step:
            low, high = self._exchange_lanes(step)
            for i in range(self.length):
                if not i & step:
                    a, c = result[i], result[i | step]
                    result[i], result[i | step] = (
                        self.shuffle(a, c, low),
                        self.shuffle(a, c, high),
                    )
            step //= 2
        return result

    def sum_rows(self, rows: Sequence[Any]) -> Any:
        """Return the vector whose lane i is the sum of the lanes of rows[i], in a fixed tree."""
        result, step = list(rows), self.length // 2
        while step:
            low, high = self._exchange_lanes(step)
            for i in range(step):
                a, c = result[i], result[i | step]
                result[i] = self.b.fadd(self.shuffle(a, c, low), self.shuffle(a, c, high))
            step //= 2
        return result[0]

    def _exchange_lanes(self, step: int) -> tuple[list[int], list[int]]:
        n = self.length
        low = [i if not i & step else n + (i ^ step) for i in range(n)]
        high = [i | step if not i & step else n + i for i in range(n)]
        return low, high

    def prefetch(self, address: Any, offset: int = 0, locality: int = 3) -> None:
        """Ask for the cache line at `address` + `offset`."""
        pointer = self.pointer(self.at(address, offset), I8)
        how = [I32(value) for value in (0, locality, 1)]
        self.call("llvm.prefetch.p0", VOID, [pointer, *how])
