"""The only compiled control flow: it runs programs, and knows no network.

A program is laid out as tables of 64-bit integers, whose addresses stand in a header; the names
below are places in the header and in the rows of the tables. `run_serial` goes through steps,
phases and shares on one thread. With `take_part` several threads claim the shares of a phase: a
delayed thread blocks no other, free threads take its work. The order of sums is the program's, so
both leave the same bits.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import Any

from .integers import WORD, Integer, Integers, function

__all__ = ["run_operations", "run_serial", "run_timed", "spin_wait", "take_part", "take_parts"]

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
LINE = 128  # bytes: neighbouring lines of 64 are fetched together
# shared memory of threads, a line each: whether somebody leads; the phase announced, counted from
# 1; which phase and step that is; for each share when it was claimed last, and when done
SEQUENCE, PLACE, CLAIMS = LINE, 2 * LINE, 3 * LINE
# mutant 2: a phase that never comes
OVER = -1  # announced when nothing follows
# mutant 4001: how often it looks before it gives way
SPINS = 4000  # looks, some 50 us, before the system is asked whether another thread is due
_MONOTONIC = 6 if sys.platform == "darwin" else 1


@function
def spin_wait(x: Integers, spins: Any) -> Integer:
    """Return how often somebody has looked for what is not there yet, after a pause."""
    x.pause()
    looks = x.variable(spins + 1)
    with x.when(~(spins < SPINS)):
        x.give_way()
        looks.set(0)
    return looks.get()


@function
def enter_bases(x: Integers, program: Any) -> None:
    """Enter the arrays' addresses into all records."""
    records, bases, moves = (x.read(program, place) for place in (RECORDS, BASES, MOVES))
    slots, offsets = x.read(program, VALUE_SLOTS), x.read(program, VALUE_OFFSETS)
    with x.count(0, x.read(program, N_VALUES)) as i:
        at = i * WORD
        base = x.read(bases + x.read(slots + at, 0) * WORD, 0)
        x.write(records + at, 0, base + x.read(offsets + at, 0))
    with x.count(0, x.read(program, N_MOVES)) as i:
        move = moves + i * MOVE
        base = x.read(bases + x.read(move, MOVE_SLOT) * WORD, 0)
        x.write(move, START, base + x.read(move, MOVE_OFFSET))


def _operations(x: Integers, program: Any, phase: Any, share: Any, step: Any, then: Any) -> None:
    """Run the operations of a share, each of them followed by `then`."""
    operations, loops, moves = (x.read(program, place) for place in (OPERATIONS, LOOPS, MOVES))
    place = phase * (x.read(program, SHARES) + 1) + share
    span = x.read(program, SPANS) + place * WORD
    with ExitStack() as inner:
        loop = loops + inner.enter_context(x.count(x.read(span, 0), x.read(span, 1))) * LOOP
        turn = inner.enter_context(x.count(0, x.read(loop, TURNS)))
        first, last = x.read(loop, FIRST_OPERATION), x.read(loop, LAST_OPERATION)
        i = inner.enter_context(x.count(first, last))
        operation = operations + i * OPERATION
        with x.count(x.read(operation, FIRST_MOVE), x.read(operation, LAST_MOVE)) as m:
            move = moves + m * MOVE
            far = step * x.read(move, STEP) + turn * x.read(move, TURN)
            x.write(x.read(move, VALUE), 0, x.read(move, START) + far)
        x.call(x.read(operation, KERNEL), x.read(operation, RECORD))
        then(i)


@function
def run_operations(x: Integers, program: Any, phase: Any, share: Any, step: Any) -> None:
    """Run the operations of a share."""
    _operations(x, program, phase, share, step, lambda i: None)


@function
def now(x: Integers, place: Any) -> Integer:
    """Return the clock's ticks; the system writes them to `place`."""
    if sys.platform == "win32":
        x.call_system("QueryPerformanceCounter", place)
        return x.read(place, 0)
    x.call_system("clock_gettime", _MONOTONIC, place)
    return x.read(place, 0) * 1_000_000_000 + x.read(place, 1)


@function
def run_timed(x: Integers, program: Any, phase: Any, share: Any, step: Any) -> None:
    """As `run_operations`; adds up what each operation takes."""
    times, clock = x.read(program, TIMES), x.read(program, CLOCKS) + share * LINE
    before = x.variable(now(x, clock))

    def note(i: Integer) -> None:
        after = now(x, clock)
        place = times + i * WORD
        x.write(place, 0, x.read(place, 0) + after - before.get())
        before.set(after)

    _operations(x, program, phase, share, step, note)


@function
def run_share(x: Integers, program: Any, phase: Any, share: Any, step: Any) -> None:
    """Run one share of a phase, by way of `run_timed` where times are wanted."""
    timed = x.read(program, TIMED)
    with x.when(timed.differs(0)):
        x.call(timed, program, phase, share, step)
    with x.when(timed.equals(0)):
        run_operations(x, program, phase, share, step)


def _phases(x: Integers, program: Any, use: Any) -> None:
    """Run ``use(phase, step)`` for the phases of all steps of all segments."""
    segments = x.read(program, SEGMENTS)
    with x.count(0, x.read(program, N_SEGMENTS)) as number:
        segment = segments + number * SEGMENT
        with (
            x.count(x.read(segment, FIRST_STEP), x.read(segment, LAST_STEP)) as step,
            x.count(x.read(segment, FIRST_PHASE), x.read(segment, LAST_PHASE)) as phase,
        ):
            use(phase, step)


@function
def run_serial(x: Integers, program: Any) -> None:
    """Run a program on this thread alone."""
    enter_bases(x, program)

    def use(phase: Integer, step: Integer) -> None:
        with x.count(0, x.read(program, SHARES)) as share:
            run_share(x, program, phase, share, step)

    with x.subnormals_as_zero():
        _phases(x, program, use)


@function
def work_on(x: Integers, program: Any, sync: Any, sequence: Any, own: Any) -> None:
    """Work on every share of the phase announced that nobody has claimed, one's own first."""
    shares = x.read(program, SHARES)
    with x.count(0, shares) as k:
        share = (own + k) % shares  # mutant -: in which order others' shares are claimed
        claim = sync + CLAIMS + share * LINE
        with x.when(x.compare_and_swap(claim, sequence - 1, sequence)):
            # who holds a share knows that its phase is not over
            run_share(x, program, x.load(sync + PLACE), share, x.load(sync + PLACE + WORD))
            x.store(claim + WORD, sequence)


@function
def lead(x: Integers, program: Any, sync: Any, own: Any) -> None:
    """Announce one phase after the other, take part, and wait until every share is done."""
    enter_bases(x, program)
    sequence = x.variable(0)

    def use(phase: Integer, step: Integer) -> None:
        sequence.set(sequence.get() + 1)
        announced = sequence.get()
        x.store(sync + PLACE, phase)
        x.store(sync + PLACE + WORD, step)
        x.store(sync + SEQUENCE, announced)
        work_on(x, program, sync, announced, own)
        spins = x.variable(0)
        with x.count(0, x.read(program, SHARES)) as share:
            done = sync + CLAIMS + share * LINE + WORD
            with x.repeat(lambda: x.load(done).differs(announced)):
                spins.set(spin_wait(x, spins.get()))

    _phases(x, program, use)
    x.store(sync + SEQUENCE, OVER)


@function
def follow(x: Integers, program: Any, sync: Any, own: Any) -> None:
    """Work on one phase after the other that is announced."""
    last = x.variable(0)
    with x.repeat(lambda: last.get().differs(OVER)):
        spins, sequence = x.variable(0), x.variable(x.load(sync + SEQUENCE))
        with x.repeat(lambda: sequence.get().equals(last.get())):
            spins.set(spin_wait(x, spins.get()))
            sequence.set(x.load(sync + SEQUENCE))
        last.set(sequence.get())
        with x.when(last.get().differs(OVER)):
            work_on(x, program, sync, last.get(), own)


@function
def take_part(x: Integers, program: Any, own: Any) -> None:
    """Do one thread's part: the first to come leads, the others follow what it announces."""
    sync = x.read(program, SYNC)
    leads = x.compare_and_swap(sync, 0, 1)  # mutant 2: any number but 0 says that somebody leads
    with x.subnormals_as_zero():
        with x.when(leads):
            lead(x, program, sync, own)
        with x.when(~leads):
            follow(x, program, sync, own)


@function
def take_parts(x: Integers, numbers: Any, counts: Any, steps: Any, program: Any) -> None:
    """Do the parts that Numba's threading layer gives a thread: counts[0] of them, whose numbers
    begin at numbers[0] and are steps[0] apart.
    """
    own = x.variable(x.read(numbers, 0))
    with x.count(0, x.read(counts, 0)):
        take_part(x, program, own.get())
        own.set(own.get() + x.read(steps, 0))
