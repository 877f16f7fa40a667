"""Threads that go through region after region together, launched once for many steps.

One thread leads: it announces a region and waits until every share of it is done. The others
follow: they watch for the announcement. A share is claimed before it is worked on, first one's
own, then any that nobody has claimed, so a thread that is late, or that the system has put
aside, holds nobody up, and a leader that is alone does everything. Which thread works on a share
changes no bit of it. Handing a region over takes the way of a cache line from core to core,
a tenth of what launching threads takes.

The team's memory, zeros at first, has lines that are written by different threads: how many have
come, the number of the region announced, what it is, and for each share the last region in which
it was claimed and the last in which it was done.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic

from ..parameters import aligned_zeros
from ._jit import jit
from ._simd import I64, ir

__all__ = [
    "announce",
    "announced",
    "arrive",
    "claim",
    "done",
    "end",
    "field",
    "team_memory",
    "wait",
]

LINE = 128  # bytes: neighbouring lines of 64 are fetched together
SEQUENCE, STEP, NUMBER, SHARES = LINE, 2 * LINE, 2 * LINE + 8, 3 * LINE
OVER = -1
_SPINS = 4000  # looks, some 50 us, before the system is asked whether another thread is due


def team_memory(shares: int) -> np.ndarray:
    """Return memory for a team that works on so many shares, on a cache line, zeros."""
    return aligned_zeros(LINE // 8 * (3 + shares), np.dtype(np.int64))


def _pointer(builder: Any, address: Any) -> Any:
    return builder.inttoptr(address, I64.as_pointer())


@intrinsic
def _emit_load(typingctx, address):
    """Read an integer; what its writer wrote before is there as well."""

    def codegen(context, builder, sig, args):
        return builder.load_atomic(_pointer(builder, args[0]), "acquire", 8)

    return types.int64(types.int64), codegen


@intrinsic
def _emit_store(typingctx, address, value):
    """Write an integer, behind all that this thread wrote before."""

    def codegen(context, builder, sig, args):
        builder.store_atomic(args[1], _pointer(builder, args[0]), "release", 8)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@intrinsic
def _emit_exchange(typingctx, address, expected, value):
    """Write `value` if `expected` is there, in one go, and tell whether it was."""

    def codegen(context, builder, sig, args):
        pointer = _pointer(builder, args[0])
        found = builder.cmpxchg(pointer, args[1], args[2], "acq_rel", "acquire")
        return builder.extract_value(found, 1)

    return types.boolean(types.int64, types.int64, types.int64), codegen


@intrinsic
def _emit_pause(typingctx):
    """Let the core's other thread go first for a moment, where the processor can."""

    def codegen(context, builder, sig, args):
        if builder.module.triple.startswith(("x86_64", "i686")):
            kind = ir.FunctionType(ir.VoidType(), [])
            name = "llvm.x86.sse2.pause"
            function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
            builder.call(function, [])
        return context.get_dummy_value()

    return types.void(), codegen


_load: Any = _emit_load
_store: Any = _emit_store
_exchange: Any = _emit_exchange
_pause: Any = _emit_pause
_give_way = types.ExternalFunction(
    "SwitchToThread" if sys.platform == "win32" else "sched_yield", types.int32()
)


@jit()
def look_again(spins):
    """Return how often somebody has looked for what is not there yet, after a pause."""
    _pause()
    if spins < _SPINS:
        return spins + 1
    _give_way()
    return 0


@jit()
def arrive(team):
    """Return whether the caller is the first to come: it leads."""
    return _exchange(team, 0, 1)


@jit()
def announce(team, sequence, step, number):
    """Let region `number` of a step begin, the one of `sequence`, counted from 1."""
    _store(team + STEP, step)
    _store(team + NUMBER, number)
    _store(team + SEQUENCE, sequence)


@jit()
def end(team):
    """Let all who follow go."""
    _store(team + SEQUENCE, OVER)


@jit()
def announced(team, last):
    """Wait for the region after `last`; return its sequence number, OVER at the end."""
    spins = 0
    while True:
        sequence = _load(team + SEQUENCE)
        if sequence != last:
            return sequence
        spins = look_again(spins)


@jit()
def claim(team, sequence, t):
    """Return whether share t of the region is the caller's; if so the region is not over before
    it says `done`.
    """
    return _exchange(team + SHARES + t * LINE, sequence - 1, sequence)


@jit()
def field(team, place):
    """Return what was announced; only for who holds a share."""
    return _load(team + place)


@jit()
def done(team, sequence, t):
    """Say that share t is done."""
    _store(team + SHARES + t * LINE + 8, sequence)


@jit()
def wait(team, sequence, shares):
    """Wait until every share of the region is done."""
    for t in range(shares):
        spins = 0
        while _load(team + SHARES + t * LINE + 8) != sequence:
            spins = look_again(spins)
