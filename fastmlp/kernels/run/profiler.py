"""What every operation of a step takes, measured while steps are taken.

A program that is to be profiled runs its shares through `run_timed`, which reads a clock after each
operation. Others never come here: for them it is one comparison a share.
"""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numba import types

from ..jit.cache import jit
from ..jit.precompile import compiled
from ..jit.registry import call
from ..program.listing import Line, lines
from .atomics import LINE
from .executor import (
    CLOCKS,
    FIRST_MOVE,
    FIRST_OPERATION,
    KERNEL,
    LAST_MOVE,
    LAST_OPERATION,
    LOOP,
    LOOPS,
    MOVE,
    MOVES,
    OPERATION,
    OPERATIONS,
    RECORD,
    SHARES,
    SPANS,
    START,
    STEP,
    TIMES,
    TURN,
    TURNS,
    VALUE,
    WORD,
    read,
    write,
)
from .training import Training

__all__ = ["Timing", "time_steps"]

_WINDOWS = sys.platform == "win32"
_MONOTONIC = 6 if sys.platform == "darwin" else 1
_types: Any = types  # whose classes a type checker takes for what they make
if _WINDOWS:
    _clock = _types.ExternalFunction("QueryPerformanceCounter", _types.int32(_types.int64))
else:
    _clock = _types.ExternalFunction("clock_gettime", _types.int32(_types.int32, _types.int64))


@jit()
def now(place):
    """Return the clock's ticks; the system writes them to `place`."""
    if _WINDOWS:
        _clock(place)
        return read(place, 0)
    _clock(_MONOTONIC, place)
    return read(place, 0) * 1_000_000_000 + read(place, 1)


@jit()
def run_timed(program, phase, share, step):
    """As `executor.run_operations`; adds up what each operation takes."""
    operations, loops, moves = read(program, OPERATIONS), read(program, LOOPS), read(program, MOVES)
    times, clock = read(program, TIMES), read(program, CLOCKS) + share * LINE
    span = read(program, SPANS) + WORD * (phase * (read(program, SHARES) + 1) + share)
    before = now(clock)
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
                after = now(clock)
                write(times, i, read(times, i) + after - before)
                before = after


@cache
def _address() -> int:
    """Return the address of `run_timed`, compiled."""
    (result,) = compiled(run_timed).overloads.values()
    return int(result.library.get_pointer_to_function(result.fndesc.llvm_cfunc_wrapper_name))


def _tick() -> float:
    """Return the seconds of a tick of the clock."""
    if not _WINDOWS:
        return 1e-9
    frequency = ctypes.c_int64()
    kernel32: Any = ctypes.windll.kernel32  # type: ignore[attr-defined]
    kernel32.QueryPerformanceFrequency(ctypes.byref(frequency))
    return 1.0 / frequency.value


@dataclass
class Timing:
    """What an operation takes.

    Attributes
    ----------
    line : Line
        The operation.
    seconds : float
        In a step, all turns.
    """

    line: Line
    seconds: float


def time_steps(training: Training, order: np.ndarray, rates: np.ndarray) -> list[Timing]:
    """Take steps, and return what each operation of a whole batch's step takes on average.

    Parameters
    ----------
    training : Training
    order : ndarray of int64
        Of samples, whole batches of them.
    rates : ndarray of float64, one per step
    """
    if not training._executables:
        training.train(order[: training.batch_size], rates[:1])
    (listed, executable), *_ = training._executables.items()
    times = executable.time(_address())
    training.train(order, rates)
    key = ("step", training.batch_size)
    phases = training._sections[listed][key]
    found = zip(
        lines(phases, training.parameters.dtype.itemsize),
        times[executable.places[key]],
        strict=True,
    )
    return [Timing(line, float(ticks) * _tick() / len(rates)) for line, ticks in found]
