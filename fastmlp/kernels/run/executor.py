"""The only compiled control flow: it runs programs, and knows no network.

A program is laid out as tables of 64-bit integers, whose addresses stand in a header; the names
below are places in the header and in the rows of the tables. `run_serial` goes through steps,
phases and shares on one thread. `run_parallel` lets several threads claim the shares of a phase:
a delayed thread blocks no other, free threads take its work. The order of sums is the program's,
so both leave the same bits.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np
from numba import prange, types
from numba.extending import intrinsic

from ..emit.simd import I64, ir
from ..jit.cache import jit
from ..jit.registry import call
from ..program.operation import At, Operation, Program, Slot
from .atomics import LINE, compare_and_swap, load, shared_memory, spin_wait, store

__all__ = ["Executable", "run_parallel", "run_serial", "take_part"]

WORD = 8
(RECORDS, VALUE_SLOTS, VALUE_OFFSETS, N_VALUES, BASES, OPERATIONS, MOVES, N_MOVES, LOOPS, SPANS,
 SHARES, SEGMENTS, N_SEGMENTS, SYNC, TIMED, TIMES, CLOCKS) = range(17)  # fmt: skip
HEADER = 17
# an operation: its kernel, its record, its first move and the one behind its last
KERNEL, RECORD, FIRST_MOVE, LAST_MOVE = range(4)
OPERATION = 4 * WORD
# a move: which value of a record, the array's slot and the distance, where it starts in this run,
# and how far it goes with every step and turn
VALUE, MOVE_SLOT, MOVE_OFFSET, START, STEP, TURN = range(6)
MOVE = 6 * WORD
# a loop: its first operation, the one behind its last, how often
FIRST_OPERATION, LAST_OPERATION, TURNS = range(3)
LOOP = 3 * WORD
# a segment: its first phase, the one behind its last, its first step, the one behind its last
FIRST_PHASE, LAST_PHASE, FIRST_STEP, LAST_STEP = range(4)
SEGMENT = 4 * WORD
# shared memory of threads, a line each: whether somebody leads; the phase announced, counted from
# 1; which phase and step that is; for each share when it was claimed last, and when done
SEQUENCE, PLACE, CLAIMS = LINE, 2 * LINE, 3 * LINE
OVER = -1  # announced when nothing follows


@intrinsic
def _emit_read(typingctx, address, place):
    """Return word `place` of a row."""

    def codegen(context, builder, sig, args):
        at = builder.add(args[0], builder.mul(args[1], I64(WORD)))
        return builder.load(builder.inttoptr(at, I64.as_pointer()))

    return types.int64(types.int64, types.int64), codegen


@intrinsic
def _emit_write(typingctx, address, place, value):
    """Write word `place` of a row."""

    def codegen(context, builder, sig, args):
        at = builder.add(args[0], builder.mul(args[1], I64(WORD)))
        builder.store(args[2], builder.inttoptr(at, I64.as_pointer()))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


@intrinsic
def _emit_call_timed(typingctx, address, program, phase, share, step):
    """Call the function at `address` that runs a share and notes what it takes."""

    def codegen(context, builder, sig, args):
        kind = ir.FunctionType(context.get_value_type(types.none), [I64] * 4)
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), args[1:])
        return context.get_dummy_value()

    return types.void(*[types.int64] * 5), codegen


call_timed: Any = _emit_call_timed
read: Any = _emit_read
write: Any = _emit_write


@jit()
def enter_bases(program):
    """Enter the arrays' addresses into all records."""
    records, bases = read(program, RECORDS), read(program, BASES)
    slots, offsets = read(program, VALUE_SLOTS), read(program, VALUE_OFFSETS)
    for i in range(read(program, N_VALUES)):
        write(records, i, read(bases, read(slots, i)) + read(offsets, i))
    moves = read(program, MOVES)
    for i in range(read(program, N_MOVES)):
        move = moves + i * MOVE
        write(move, START, read(bases, read(move, MOVE_SLOT)) + read(move, MOVE_OFFSET))


@jit()
def run_operations(program, phase, share, step):
    """Run the operations of a share."""
    operations, loops, moves = read(program, OPERATIONS), read(program, LOOPS), read(program, MOVES)
    span = read(program, SPANS) + WORD * (phase * (read(program, SHARES) + 1) + share)
    for number in range(read(span, 0), read(span, 1)):
        loop = loops + number * LOOP
        for turn in range(read(loop, TURNS)):
            for i in range(read(loop, FIRST_OPERATION), read(loop, LAST_OPERATION)):
                operation = operations + i * OPERATION
                for m in range(read(operation, FIRST_MOVE), read(operation, LAST_MOVE)):
                    move = moves + m * MOVE
                    value = read(move, START) + step * read(move, STEP) + turn * read(move, TURN)
                    write(read(move, VALUE), 0, value)
                call(read(operation, KERNEL), read(operation, RECORD))


@jit()
def run_share(program, phase, share, step):
    """Run one share of a phase, by way of `profiler` where times are wanted."""
    timed = read(program, TIMED)
    if timed != 0:
        call_timed(timed, program, phase, share, step)
    else:
        run_operations(program, phase, share, step)


@jit()
def run_serial(program, shares):
    """Run a program on this thread alone."""
    enter_bases(program)
    segments = read(program, SEGMENTS)
    for number in range(read(program, N_SEGMENTS)):
        segment = segments + number * SEGMENT
        for step in range(read(segment, FIRST_STEP), read(segment, LAST_STEP)):
            for phase in range(read(segment, FIRST_PHASE), read(segment, LAST_PHASE)):
                for share in range(shares):
                    run_share(program, phase, share, step)


@jit()
def work_on(program, sync, sequence, own, shares):
    """Work on every share of the phase announced that nobody has claimed, one's own first."""
    for k in range(shares):
        share = (own + k) % shares
        claim = sync + CLAIMS + share * LINE
        if compare_and_swap(claim, sequence - 1, sequence):
            # who holds a share knows that its phase is not over
            run_share(program, load(sync + PLACE), share, load(sync + PLACE + WORD))
            store(claim + WORD, sequence)


@jit()
def lead(program, sync, own, shares):
    """Announce one phase after the other, take part, and wait until every share is done."""
    enter_bases(program)
    segments, sequence = read(program, SEGMENTS), 0
    for number in range(read(program, N_SEGMENTS)):
        segment = segments + number * SEGMENT
        for step in range(read(segment, FIRST_STEP), read(segment, LAST_STEP)):
            for phase in range(read(segment, FIRST_PHASE), read(segment, LAST_PHASE)):
                sequence += 1
                store(sync + PLACE, phase)
                store(sync + PLACE + WORD, step)
                store(sync + SEQUENCE, sequence)
                work_on(program, sync, sequence, own, shares)
                spins = 0
                for share in range(shares):
                    while load(sync + CLAIMS + share * LINE + WORD) != sequence:
                        spins = spin_wait(spins)
    store(sync + SEQUENCE, OVER)


@jit()
def take_part(program, own, shares):
    """Do one thread's part: the first to come leads, the others follow what it announces."""
    sync = read(program, SYNC)
    if compare_and_swap(sync, 0, 1):
        lead(program, sync, own, shares)
        return
    last = 0
    while last != OVER:
        spins, sequence = 0, load(sync + SEQUENCE)
        while sequence == last:
            spins, sequence = spin_wait(spins), load(sync + SEQUENCE)
        last = sequence
        if sequence != OVER:
            work_on(program, sync, sequence, own, shares)


@jit(parallel=True)
def run_parallel(program, shares):
    """Run a program on as many threads as Numba may use."""
    for own in prange(shares):
        take_part(program, np.int64(own), shares)


class Executable:
    """A program laid out in memory, with kernels' addresses, ready to be run again and again.

    Parameters
    ----------
    program : Program
    addresses : mapping from kernel to address
        That raises where there is none.

    Attributes
    ----------
    bases : ndarray of int64
        The address of every slot's array, or its number; to be filled in before a run.
    """

    def __init__(self, program: Program, addresses: dict[str, int]) -> None:
        self.shares = program.shares
        self.bases = np.zeros(len(Slot), np.int64)
        self._phases: dict[Hashable, tuple[int, int]] = {}
        self.places: dict[Hashable, slice] = {}  # of a section's operations
        spans: list[int] = []
        loops: list[tuple[int, int, int]] = []
        operations: list[Operation] = []
        for key, phases in program.sections.items():
            first, begin = len(spans) // (self.shares + 1), len(operations)
            for phase in phases:
                spans.append(len(loops))
                for share in phase.shares:
                    for loop in share.loops:
                        start = len(operations)
                        operations += loop.operations
                        loops.append((start, len(operations), loop.turns))
                    spans.append(len(loops))
            self._phases[key] = first, len(spans) // (self.shares + 1)
            self.places[key] = slice(begin, len(operations))
        self._sync = shared_memory(CLAIMS // LINE + self.shares)
        self._lay_out(operations, addresses, spans, loops)

    def _lay_out(
        self,
        operations: Sequence[Operation],
        addresses: dict[str, int],
        spans: list[int],
        loops: list[tuple[int, int, int]],
    ) -> None:
        slots: list[int] = []
        offsets: list[int] = []
        moves: list[tuple[int, ...]] = []
        rows: list[tuple[int, ...]] = []
        for operation in operations:
            first = len(moves)
            record = len(slots)
            for value in operation.values:
                if isinstance(value, At):
                    if value.step or value.turn:
                        place = len(slots) * WORD
                        moves.append((place, value.slot, value.offset, 0, value.step, value.turn))
                    slots.append(value.slot)
                    offsets.append(value.offset)
                else:
                    slots.append(0)
                    offsets.append(value)
            rows.append((addresses[operation.kernel], record * WORD, first, len(moves)))
        records = np.zeros(max(1, len(slots)), np.int64)
        move_table = _table(moves, MOVE)
        move_table[:, VALUE] += records.ctypes.data
        row_table = _table(rows, OPERATION)
        row_table[:, RECORD] += records.ctypes.data
        self._tables = {
            RECORDS: records, VALUE_SLOTS: np.array(slots, np.int64),
            VALUE_OFFSETS: np.array(offsets, np.int64), BASES: self.bases, OPERATIONS: row_table,
            MOVES: move_table, LOOPS: _table(loops, LOOP), SPANS: np.array(spans, np.int64),
            SYNC: self._sync,
        }  # fmt: skip
        self._header = np.zeros(HEADER, np.int64)
        for place, table in self._tables.items():
            self._header[place] = table.ctypes.data
        self._header[N_VALUES], self._header[N_MOVES] = len(slots), len(moves)
        self._header[SHARES] = self.shares
        self.address = self._header.ctypes.data

    def enter(self, segments: Iterable[tuple[Hashable, int, int]]) -> None:
        """Say what the next runs do: sections by their keys, each from a step to another.

        Raises
        ------
        KeyError
            If the program has no such section.
        """
        rows = [(*self._phases[key], first, last) for key, first, last in segments]
        self._segments = _table(rows, SEGMENT)
        self._header[SEGMENTS] = self._segments.ctypes.data
        self._header[N_SEGMENTS] = len(rows)

    def time(self, function: int) -> np.ndarray:
        """Let the function at an address run shares, and return what it adds ticks of its clock to:
        an element an operation, in their order.
        """
        times, clocks = (
            np.zeros(len(self._tables[OPERATIONS]), np.int64),
            shared_memory(self.shares),
        )
        self._tables |= {TIMES: times, CLOCKS: clocks}
        self._header[TIMES], self._header[CLOCKS] = times.ctypes.data, clocks.ctypes.data
        self._header[TIMED] = function
        return times

    def clear(self) -> None:
        """Make the threads' shared memory ready for another run."""
        self._sync[:] = 0


def _table(rows: Sequence[tuple[int, ...]], row_bytes: int) -> np.ndarray:
    return np.array(rows, np.int64).reshape(len(rows), row_bytes // WORD)
