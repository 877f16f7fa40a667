"""The only compiled control flow: it runs programs, and knows no network.

A program is laid out as tables of 64-bit integers, whose addresses stand in a header; the names
below are places in the header and in the rows of the tables. `run_serial` goes through steps,
phases and shares on one thread. With `take_part` several threads claim the shares of a phase: a
delayed thread blocks no other, free threads take its work. The order of sums is the program's, so
both leave the same bits.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from .flow import I32, WORD, const, ir
from .records import emit_function, record, subroutine
from .threads import Threads

__all__ = ["emit", "run_serial", "take_part", "take_parts", "work_on"]

(RECORDS, VALUE_SLOTS, VALUE_OFFSETS, N_VALUES, BASES, OPERATIONS, MOVES, N_MOVES, LOOPS, SPANS,
 SHARES, SEGMENTS, N_SEGMENTS, SYNC, TIMES, CLOCKS) = range(16)  # fmt: skip
HEADER = 16  # mutant 17: a word that nobody reads
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
# mutant 4: a line that nobody uses
SEQUENCE, PLACE, CLAIMS = LINE, 2 * LINE, 3 * LINE
# mutant 2: a phase that never comes
OVER = -1  # announced when nothing follows
# mutant 4001: how often it looks before it gives way
SPINS = 4000  # looks, some 50 us, before the system is asked whether another thread is due
# mutant 3: any word behind the system's two
BEFORE = 2  # in a clock's line, behind what the system writes: ticks before an operation
# mutant 7: of macOS, that these tests do not run on
_MONOTONIC = 6 if sys.platform == "darwin" else 1


def _enter_bases(x: Threads, program: Any) -> None:
    """Enter the arrays' addresses into all records."""
    records, slots, offsets, bases, moves = (
        x.word(program, place) for place in (RECORDS, VALUE_SLOTS, VALUE_OFFSETS, BASES, MOVES)
    )

    def base(slot: Any) -> Any:
        return x.word(x.at(bases, slot, WORD))

    with x.each(x.word(program, N_VALUES), WORD) as at:
        value = x.at(base(x.word(x.at(slots, at))), x.word(x.at(offsets, at)))
        x.set_word(value, x.at(records, at))
    with x.each(x.word(program, N_MOVES), MOVE) as at:
        move = x.at(moves, at)
        x.set_word(x.at(base(x.word(move, MOVE_SLOT)), x.word(move, MOVE_OFFSET)), move, START)


def _operations(x: Threads, q: Any, then: Callable[[Any], None]) -> None:
    """Run the operations of a share, each of them followed by `then`."""
    operations, loops, moves, spans, shares = (
        x.word(q.program, place) for place in (OPERATIONS, LOOPS, MOVES, SPANS, SHARES)
    )
    number = x.b.add(x.b.mul(q.phase, x.b.add(shares, const(1))), q.share)
    span = x.at(spans, number, WORD)
    with x.between(x.word(span), x.word(span, 1)) as k:
        loop = x.at(loops, k, LOOP)
        first, last = x.word(loop, FIRST_OPERATION), x.word(loop, LAST_OPERATION)
        with x.each(x.word(loop, TURNS)) as turn, x.between(first, last) as i:
            operation = x.at(operations, i, OPERATION)
            first_move, last_move = x.word(operation, FIRST_MOVE), x.word(operation, LAST_MOVE)
            with x.between(first_move, last_move) as m:
                move = x.at(moves, m, MOVE)
                address = x.at(x.word(move, START), q.step, x.word(move, STEP))
                x.set_word(x.at(address, turn, x.word(move, TURN)), x.word(move, VALUE))
            x.call_at(x.word(operation, KERNEL), x.word(operation, RECORD))
            then(i)


def _now(x: Threads, place: Any) -> Any:
    """Return the clock's ticks; the system writes them to `place`."""
    if sys.platform == "win32":
        # mutant pass: of Windows, that these tests do not run on
        x.call("QueryPerformanceCounter", I32, [place])
        return x.word(place)
    x.call("clock_gettime", I32, [I32(_MONOTONIC), place])
    # mutant 1000000001: a clock that goes wrong by a second in 32 years
    return x.b.add(x.times(x.word(place), 1_000_000_000), x.word(place, 1))


def _note_times(x: Threads, q: Any, times: Any) -> Callable[[Any], None]:
    """Return what adds up what each operation of a share takes, beginning now."""
    clock = x.at(x.word(q.program, CLOCKS), q.share, LINE)
    x.set_word(_now(x, clock), clock, BEFORE)

    def note(i: Any) -> None:
        after, place = _now(x, clock), x.at(times, i, WORD)
        took = x.b.sub(after, x.word(clock, BEFORE))
        x.set_word(x.b.add(x.word(place), took), place)
        x.set_word(after, clock, BEFORE)

    return note


@record("program phase share step")
def run_share(x: Threads, q: Any) -> None:
    """Run one share of a phase; where there is a table of times, take those of operations."""
    times = x.word(q.program, TIMES)
    for timed in x.either(x.b.icmp_signed("!=", times, const(0))):
        _operations(x, q, _note_times(x, q, times) if timed else lambda i: None)


def _phases(x: Threads, program: Any, use: Callable[..., None]) -> None:
    """Emit ``use(phase=..., step=...)`` for the phases of all steps of all segments."""
    with x.each(x.word(program, N_SEGMENTS), SEGMENT) as at:
        segment = x.at(x.word(program, SEGMENTS), at)
        first, last = x.word(segment, FIRST_PHASE), x.word(segment, LAST_PHASE)
        with (
            x.between(x.word(segment, FIRST_STEP), x.word(segment, LAST_STEP)) as step,
            x.between(first, last) as phase,
        ):
            use(phase=phase, step=step)


@record("program")
def run_serial(x: Threads, q: Any) -> None:
    """Run a program on this thread alone."""
    _enter_bases(x, q.program)

    def use(**place: Any) -> None:
        with x.each(x.word(q.program, SHARES)) as share:
            subroutine(x, "run_share", run_share)(q, share=share, **place)

    with x.subnormals_as_zero():
        _phases(x, q.program, use)


@record("program sync sequence own")
def work_on(x: Threads, q: Any) -> None:
    """Work on every share of the phase announced that nobody has claimed, one's own first."""
    b, shares = x.b, x.word(q.program, SHARES)
    with x.each(shares) as k:
        share = b.urem(b.add(q.own, k), shares)  # mutant -: in which order others' are claimed
        claim = x.at(x.at(q.sync, CLAIMS), share, LINE)
        with x.when(x.compare_and_swap(claim, b.sub(q.sequence, const(1)), q.sequence)):
            # who holds a share knows that its phase is not over
            phase, step = (x.load(x.at(q.sync, place)) for place in (PLACE, PLACE + WORD))
            subroutine(x, "run_share", run_share)(q, phase=phase, share=share, step=step)
            x.store(x.at(claim, WORD), q.sequence)


def spin_wait(x: Threads, looks: Any) -> Any:
    """Pause; return how often somebody has looked for what is not there yet."""
    x.pause()
    looks = x.b.add(looks, const(1))
    enough = x.b.icmp_signed(">=", looks, const(SPINS))
    with x.when(enough):
        x.give_way()
    return x.b.select(enough, const(0), looks)


def _wait_while(x: Threads, address: Any, sign: str, value: Any) -> Any:
    """Wait while what others write to an address compares so with a value, and return it then."""

    def compare(state: list[Any]) -> Any:
        return x.b.icmp_signed(sign, state[0], value)

    # mutant 1: a look fewer before it gives way
    with x.repeat([x.load(address), const(0)], compare) as state:
        looks = spin_wait(x, state[1])
        state[:] = x.load(address), looks
    return state[0]


def _lead(x: Threads, q: Any) -> None:
    """Announce one phase after the other, take part, and wait until every share is done."""
    _enter_bases(x, q.program)
    announced = x.at(q.sync, SEQUENCE)

    def use(phase: Any, step: Any) -> None:
        sequence = x.b.add(x.word(announced), const(1))
        x.store(x.at(q.sync, PLACE), phase)
        x.store(x.at(q.sync, PLACE + WORD), step)
        x.store(announced, sequence)
        subroutine(x, "work_on", work_on)(q, sequence=sequence)
        with x.each(x.word(q.program, SHARES), LINE) as claim:
            _wait_while(x, x.at(q.sync, x.at(claim, CLAIMS + WORD)), "!=", sequence)

    _phases(x, q.program, use)
    x.store(announced, const(OVER))


def _follow(x: Threads, q: Any) -> None:
    """Work on one phase after the other that is announced."""

    def goes_on(state: list[Any]) -> Any:
        return x.b.icmp_signed("!=", state[0], const(OVER))

    with x.repeat([const(0)], goes_on) as state:
        state[0] = _wait_while(x, x.at(q.sync, SEQUENCE), "==", state[0])
        with x.when(goes_on(state)):
            subroutine(x, "work_on", work_on)(q, sequence=state[0])


@record("program own")
def take_part(x: Threads, q: Any) -> None:
    """Do one thread's part: the first to come leads, the others follow what it announces."""
    q.sync = x.word(q.program, SYNC)
    # mutant 2: any number but 0 says that somebody leads
    leads = x.compare_and_swap(q.sync, const(0), const(1))
    with x.subnormals_as_zero():
        for first in x.either(leads):
            (_lead if first else _follow)(x, q)


@record("numbers counts steps program")
def take_parts(x: Threads, q: Any) -> None:
    """Do the parts that Numba's threading layer gives a thread: counts[0] of them, whose numbers
    begin at numbers[0] and are steps[0] apart.
    """
    with x.each(x.word(q.counts), x.word(q.steps)) as far:
        own = x.b.add(x.word(q.numbers), far)
        subroutine(x, "take_part", take_part)(q, own=own)


def emit(module: ir.Module) -> None:
    """Emit all that is called from outside, by its name."""
    for function in (run_serial, take_parts):
        emit_function(module, f"fastmlp_{function.__name__}", function, Threads)
