"""What threads have between them, with the core and with the system, as LLVM IR."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .flow import I8, I32, I64, VOID, WORD, Flow, const, ir
from .target import is_arm

__all__ = ["Threads"]


class Threads(Flow):
    """Emit what threads read of each other, and how they wait."""

    def load(self, address: Any) -> Any:
        """Read what other threads write; what its writer wrote before is there as well."""
        return self.b.load_atomic(self.pointer(address, I64), "acquire", WORD)

    def store(self, address: Any, value: Any) -> None:
        """Write what other threads read, behind all that this thread wrote before."""
        self.b.store_atomic(value, self.pointer(address, I64), "release", WORD)

    def compare_and_swap(self, address: Any, expected: Any, value: Any) -> Any:
        """Write `value` if `expected` is there, in one go, and return whether it was."""
        place = self.pointer(address, I64)
        found = self.b.cmpxchg(place, expected, value, "acq_rel", "acquire")
        return self.b.extract_value(found, 1)

    def call_at(self, address: Any, *arguments: Any) -> None:
        """Call the function at an address; it returns nothing."""
        kind = ir.FunctionType(VOID, [I64] * len(arguments))
        self.b.call(self.pointer(address, kind), arguments)

    def pause(self) -> None:
        """Let the core's other thread go first for a moment, some 40 cycles.

        ARM's `yield` does nothing on most processors; an instruction barrier waits.
        """
        if self.module.triple.startswith(("x86_64", "i686")):  # mutant not: waiting without pauses
            self.call("llvm.x86.sse2.pause", VOID, [])  # mutant pass: waiting without pauses
        elif is_arm(self.module.triple):
            self.call("llvm.aarch64.isb", VOID, [I32(15)])

    def give_way(self) -> None:
        """Ask the system whether another thread is due."""
        self.call("SwitchToThread" if sys.platform == "win32" else "sched_yield", I32, [])

    @contextmanager
    def subnormals_as_zero(self) -> Iterator[None]:
        """Have the thread take subnormal numbers for zero within the block, then as it was before.

        An arithmetic operation on one takes some 150 cycles on Intel's processors: a moment that
        has decayed for 800 steps makes a step 5 times as long. x86 has bits 15 (results) and 6
        (operands) of MXCSR for it, ARM bit 24 of FPCR.
        """
        b, triple = self.b, self.module.triple
        if triple.startswith(("x86_64", "i686")):
            with b.goto_entry_block():
                place = b.alloca(I32)
            pointer = b.bitcast(place, I8.as_pointer())
            self.call("llvm.x86.sse.stmxcsr", VOID, [pointer])
            before = b.load(place)
            b.store(b.or_(before, I32(1 << 15 | 1 << 6)), place)
            self.call("llvm.x86.sse.ldmxcsr", VOID, [pointer])
            yield
            b.store(before, place)
            self.call("llvm.x86.sse.ldmxcsr", VOID, [pointer])
        elif is_arm(triple):
            before = self.call("llvm.aarch64.get.fpcr", I64, [])
            self.call("llvm.aarch64.set.fpcr", VOID, [b.or_(before, const(1 << 24))])
            yield
            self.call("llvm.aarch64.set.fpcr", VOID, [before])
        else:
            yield
