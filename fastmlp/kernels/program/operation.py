"""What a program is made of: operations, in loops, in shares, in phases.

An operation is a kernel and the values of its record. A value is a number, or an address ``At``:
an array's slot, a distance, and how far it moves with every step and every turn of a loop. The
arrays' own addresses are entered when a program is run, so it is made once and stays valid.

A share is what one thread does from beginning to end; the shares of a phase run at the same time.
After a phase all threads wait for each other. A section is a list of phases that is run as a whole,
once for every step.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import IntEnum, auto
from typing import NamedTuple

from ..jit.registry import KERNELS

__all__ = ["NOWHERE", "At", "Loop", "Operation", "Phase", "Program", "Share", "Slot", "cut"]


class Slot(IntEnum):
    """The arrays of a program, and numbers that are known only when it is run."""

    NONE = 0  # the address 0: an optional array that is not there
    PARAMETERS = auto()  # weights and biases, the optimizer's state behind them
    GRADIENT = auto()  # sums over samples, laid out as the parameters; one after the other
    WORKSPACE = auto()  # activations, deltas, transposed weights
    PACKED = auto()  # the first layer's weights in panels
    COUNTS = auto()  # of non-zeros by feature
    LISTED = auto()  # non-zeros by feature
    X = auto()
    LD_X = auto()  # a number: bytes from row to row of X
    SCALE = auto()  # the divisor of X
    ROWS = auto()  # where samples lie in X
    NUMBERS = auto()  # 0, 1, 2, ...
    ORDER = auto()  # where samples lie in y
    Y = auto()
    WEIGHT = auto()  # of samples
    LOSSES = auto()
    CORRECT = auto()
    OUT = auto()
    FINITE = auto()  # whether X is finite
    HYPER = auto()  # two rows of hyperparameters a step
    CLIPPED = auto()  # the same, a copy for every share
    WORDS = auto()  # that seed dropout, for every step and hidden layer
    PLACE = auto()  # a number: where in its batch the first sample is
    PENALTIES = auto()  # of blocks of rows and vectors of columns
    PENALTY = auto()  # of steps
    LIMITS = auto()  # l1, l2 / 2, the norms' limits
    NORMS = auto()  # sums of squares of the gradient
    INDEX_STARTS = auto()
    INDEX_CUTS = auto()
    INDEX_COLUMNS = auto()
    INDEX_VALUES = auto()
    INDEX_TABLE = auto()
    # of calls of a single operation (`calls`), beside X and OUT
    BIAS = auto()
    DELTA = auto()
    DERIVATIVE = auto()
    N_ROWS = auto()  # numbers
    N_COLUMNS = auto()
    FACTOR = auto()  # the bits of a float64


class At(NamedTuple):
    """An address: ``base[slot] + offset + step * (the step's number) + turn * (the turn's)``."""

    slot: int  # of Slot, or one of a program's own behind them
    offset: int = 0
    step: int = 0
    turn: int = 0

    def __add__(self, distance: int) -> At:  # type: ignore[override]
        return At(self.slot, self.offset + distance, self.step, self.turn)

    def moving(self, step: int) -> At:
        """Return an address that moves so many bytes further with every step."""
        return At(self.slot, self.offset, self.step + step, self.turn)


Value = int | At
NOWHERE = At(Slot.NONE)


class Operation(NamedTuple):
    """A kernel and the values of its record, in the order of its fields."""

    kernel: str
    values: tuple[Value, ...]

    def named(self) -> dict[str, Value]:
        """Return the values by their fields' names."""
        # mutant False: `Share.add` has asked for all of them
        return dict(zip(KERNELS[self.kernel].fields, self.values, strict=True))


@dataclass
class Loop:
    """Operations that run one after the other, `turns` times."""

    turns: int
    operations: list[Operation] = field(default_factory=list)


class Share:
    """What one thread does in a phase."""

    def __init__(self) -> None:
        self.loops: list[Loop] = []
        self._open: Loop | None = None

    def add(self, kernel: str, **values: Value) -> None:
        """Add an operation; TypeError if these are not the fields of its kernel's record."""
        fields = KERNELS[kernel].fields
        try:
            operation = Operation(kernel, tuple([values[name] for name in fields]))
        except KeyError:
            operation = None
        if operation is None or len(values) != len(fields):
            raise TypeError(f"{kernel}: expected the fields {fields}, got {tuple(values)}")
        if self._open is None:
            self._open = Loop(1)
            self.loops.append(self._open)
        self._open.operations.append(operation)

    @contextmanager
    def times(self, turns: int) -> Iterator[None]:
        """Let the operations that are added within the block run so many times, in turns."""
        self._open = Loop(turns)
        self.loops.append(self._open)
        yield
        self._open = None


def cut(n: int, parts: int, part: int, unit: int = 1) -> tuple[int, int]:
    """Return where a part of n begins and ends, on multiples of `unit` but for the last one."""
    units = -(-n // unit)
    return min(n, units * part // parts * unit), min(n, units * (part + 1) // parts * unit)


@dataclass
class Phase:
    """The shares that run at the same time; after it all threads wait for each other."""

    name: str
    shares: list[Share]

    @classmethod
    def of(cls, name: str, count: int, build: Callable[[Share, int], None]) -> Phase:
        """Return a phase of `count` shares, each made by ``build(share, number)``."""
        shares = [Share() for _ in range(count)]
        for number, share in enumerate(shares):
            build(share, number)
        return cls(name, shares)


@dataclass
class Program:
    """Sections of phases, all of the same number of shares."""

    shares: int
    sections: dict[Hashable, list[Phase]]  # by keys such as ``("step", 64)``
    more_slots: int = 0  # that the program has of its own, behind those of `Slot`

    def kernels(self) -> set[str]:
        """Return the names of all kernels that it calls."""
        return {
            operation.kernel
            for phases in self.sections.values()
            for phase in phases
            for share in phase.shares
            for loop in share.loops
            for operation in loop.operations
        }
