"""Programs laid out in memory for the executor, and the executor called.

`emit.executor` is the compiled control flow; the tables that it reads are made here.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from ...contract.parameters import aligned_zeros
from ..emit import executor as emitted
from ..emit.flow import WORD
from ..jit.compiler import machine_code
from ..jit.registry import groups_of, kernel_addresses
from ..jit.threading_layer import run_on_threads
from ..program.operation import At, Operation, Program, Slot

__all__ = ["Executable", "Layout", "layout_of"]


@cache
def _code() -> Callable[[str], int]:
    return machine_code("executor", emitted.emit)


@cache  # llvmlite looks for it anew each time, for 5 us
def function_address(name: str) -> int:
    """Return where a function of the executor begins."""
    return _code()(f"fastmlp_{name}")


@cache
def serial_driver() -> Callable[[int], None]:
    """Return what runs the program at an address on this thread; the GIL is free meanwhile."""
    return ctypes.CFUNCTYPE(None, ctypes.c_int64)(function_address("run_serial"))


def shared_memory(lines: int) -> np.ndarray:
    """Return so many lines of memory, zeros."""
    return aligned_zeros(emitted.LINE // WORD * lines, np.dtype(np.int64))


class Layout:
    """A program's tables as the executor reads them, for any number of executables.

    `addresses` are those of kernels; it raises where there is none. By a section's key `phases`
    are the number of its first phase and of the one behind its last, and `places` a slice of its
    operations. By their places in the header, `tables` are arrays; those of places in the records
    count from where the records begin.
    """

    def __init__(self, program: Program, addresses: Mapping[str, int]) -> None:
        self.shares, self.slots = program.shares, len(Slot) + program.more_slots
        self.phases: dict[Hashable, tuple[int, int]] = {}
        self.places: dict[Hashable, slice] = {}
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
            self.phases[key] = first, len(spans) // (self.shares + 1)
            self.places[key] = slice(begin, len(operations))
        self.tables = {
            **_records(operations, addresses), emitted.LOOPS: _table(loops, emitted.LOOP),
            emitted.SPANS: np.array(spans, np.int64),
        }  # fmt: skip


def layout_of(
    program: Program, dtype: str, activations: Iterable[str] = (), rule: str = "sgd"
) -> Layout:
    """Return the layout of a program, whose kernels are compiled if need be, for these activations
    and the optimizer's rule.
    """
    groups = groups_of(program.kernels(), activations, rule)
    return Layout(program, kernel_addresses(dtype, *groups))


def _records(
    operations: Sequence[Operation], addresses: Mapping[str, int]
) -> dict[int, np.ndarray]:
    """Return the tables of operations, of their records' values, and of those that move."""
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
    return {
        emitted.VALUE_SLOTS: np.array(slots, np.int64),
        emitted.VALUE_OFFSETS: np.array(offsets, np.int64),
        emitted.OPERATIONS: _table(rows, emitted.OPERATION),
        emitted.MOVES: _table(moves, emitted.MOVE),
    }


class Executable:
    """A program laid out in memory, with kernels' addresses, ready to be run again and again.

    `bases` are the addresses of every slot's array, or its number, to be filled in before a run: as
    ctypes' integers, since NumPy takes twice as long to enter one. `turns` says, live, how often
    each loop runs, in their order. ``run_alone(address)`` runs it on this thread.
    """

    def __init__(self, layout: Layout) -> None:
        self.shares, self.places, self._phases = layout.shares, layout.places, layout.phases
        bases, values = np.zeros(layout.slots, np.int64), layout.tables[emitted.VALUE_SLOTS].size
        self.bases: Any = (ctypes.c_int64 * layout.slots).from_buffer(bases)  # type: ignore[arg-type]
        self._sync = shared_memory(emitted.CLAIMS // emitted.LINE + self.shares)
        records = np.zeros(max(1, values), np.int64)
        operations, moves, loops = (
            layout.tables[place].copy()
            for place in (emitted.OPERATIONS, emitted.MOVES, emitted.LOOPS)
        )
        moves[:, emitted.VALUE] += records.ctypes.data
        operations[:, emitted.RECORD] += records.ctypes.data
        self.turns = loops[:, emitted.TURNS]
        self._tables: dict[int, np.ndarray] = {}  # held: their addresses are in the header
        self._header = np.zeros(emitted.HEADER, np.int64)
        self._enter_tables(
            layout.tables | {
                emitted.RECORDS: records, emitted.BASES: bases, emitted.OPERATIONS: operations,
                emitted.MOVES: moves, emitted.LOOPS: loops, emitted.SYNC: self._sync,
            }
        )  # fmt: skip
        self._header[emitted.N_VALUES], self._header[emitted.N_MOVES] = values, len(moves)
        self._header[emitted.SHARES] = self.shares
        self.address, self.run_alone = self._header.ctypes.data, serial_driver()

    def _enter_tables(self, tables: dict[int, np.ndarray]) -> None:
        self._tables |= tables
        for place, table in tables.items():
            self._header[place] = table.ctypes.data

    def enter(self, segments: Iterable[tuple[Hashable, int, int]]) -> None:
        """Say what the next runs do: sections by their keys, each from a step to another."""
        rows = [(*self._phases[key], first, last) for key, first, last in segments]
        self._enter_tables({emitted.SEGMENTS: _table(rows, emitted.SEGMENT)})
        self._header[emitted.N_SEGMENTS] = len(rows)

    def time(self) -> np.ndarray:
        """Have operations timed, and return what ticks of the clock are added to: an element an
        operation, in their order.
        """
        times = np.zeros(len(self._tables[emitted.OPERATIONS]), np.int64)
        self._enter_tables({emitted.TIMES: times, emitted.CLOCKS: shared_memory(self.shares)})
        return times

    def clear(self) -> None:
        """Make the threads' shared memory ready for another run."""
        self._sync[:] = 0

    def run(self, threads: int) -> None:
        """Run on up to so many threads, as many as are free; the bits are the same."""
        if threads < 2 or not run_on_threads(
            function_address("take_parts"), self.address, self.shares, threads, self.clear
        ):
            self.run_alone(self.address)


def _table(rows: Sequence[tuple[int, ...]], row_bytes: int) -> np.ndarray:
    return np.array(rows, np.int64).reshape(len(rows), row_bytes // WORD)
