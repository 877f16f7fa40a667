"""The executor runs every share of every phase once, in order, whoever comes, late or never."""

from __future__ import annotations

import ctypes
from functools import partial

import pytest
from executors import (
    SHARES,
    WAYS,
    Calls,
    all_marks,
    alone,
    as_leader,
    compiled,
    in_parallel,
    look,
    mark,
    marked,
    spin_wait,
    start_all,
    take_part,
)

from fastmlp.kernels.emit import executor
from fastmlp.kernels.emit.flow import const
from fastmlp.kernels.emit.threads import Threads
from fastmlp.kernels.jit.registry import kernel_addresses
from fastmlp.kernels.program.operation import At, Phase, Program, Share, Slot
from fastmlp.kernels.run.executor import Executable, Layout

ways = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)


# what is run


@ways
def test_a_value_is_its_array_and_how_far_it_has_moved(way):
    calls = Calls()
    share = Share()
    with share.times(3):
        share.add(
            "add", dst=At(Slot.OUT, 8), src=At(Slot.X, -16, step=1000, turn=7), vectors=-3,
            pieces=At(Slot.LD_X, turn=-5), distance=At(Slot.NONE, 5, step=1 << 40),
        )  # fmt: skip
    program = Executable(Layout(Program(1, {"all": [Phase("one", [share])]}), calls.addresses))
    for out, x, pitch in ((100, 1 << 46, 30), (-100, 0, 31)):  # run again with other arrays
        calls.seen.clear()
        program.bases[Slot.OUT], program.bases[Slot.X] = out, x
        program.bases[Slot.LD_X] = pitch
        program.enter([("all", 2, 5), ("all", 0, 1)])
        way(program)
        assert calls.seen == [
            {
                "dst": out + 8, "src": x - 16 + 1000 * step + 7 * turn, "vectors": -3,
                "pieces": pitch - 5 * turn, "distance": 5 + (step << 40),
            }
            for step in (2, 3, 4, 0) for turn in range(3)
        ]  # fmt: skip


def test_the_address_of_what_is_not_there_is_zero():
    calls, share = Calls(), Share()
    share.add("add", dst=At(Slot.NONE), src=0, vectors=0, pieces=0, distance=0)
    program = Executable(Layout(Program(1, {"all": [Phase("one", [share])]}), calls.addresses))
    program.bases[1:] = [99] * (len(program.bases) - 1)
    program.enter([("all", 0, 1)])
    alone(program)
    assert set(calls.seen[0].values()) == {0}


def test_an_address_moves_on_from_where_it_is():
    place = At(Slot.X, 3, step=1, turn=2)
    assert place + 4 == At(Slot.X, 7, step=1, turn=2)
    assert place.moving(10) == At(Slot.X, 3, step=11, turn=2)


@ways
def test_segments_steps_phases_shares_loops_turns_and_operations_run_in_order(way):
    """On one thread; where there are several only the shares of a phase may change places."""

    def build(share: Share, t: int, p: int) -> None:
        mark(share, p, t, 0)
        mark(share, p, t, 1)
        with share.times(2 + t):
            mark(share, p, t, 2)
            mark(share, p, t, 3)
        with share.times(0):
            mark(share, p, t, 99)
        mark(share, p, t, 4)

    sections = {
        name: [Phase.of("", SHARES, lambda share, t, p=p: build(share, t, p)) for p in numbers]
        for name, numbers in (("first", (0, 1)), (("second", 64), (2,)), ("none", ()))
    }
    sections["idle"] = [Phase("", [Share() for _ in range(SHARES)])]
    calls = Calls()
    program = Executable(Layout(Program(SHARES, sections), calls.addresses))
    program.enter([("first", 0, 2), ("none", 0, 9), (("second", 64), 5, 6), ("idle", 0, 3),
                   ("first", 3, 3), ("first", 7, 8)])  # fmt: skip
    way(program)
    of_phases = [(0, 0), (0, 1), (1, 0), (1, 1), (5, 2), (7, 0), (7, 1)]
    expected = [
        (s, p, t, operation)
        for s, p in of_phases for t in range(SHARES)
        for operation in (0, 1, *(2, 3) * (2 + t), 4)
    ]  # fmt: skip
    found = calls.marks()
    if way is in_parallel:
        for t in range(SHARES):  # each in its order
            assert [m for m in found if m[2] == t] == [m for m in expected if m[2] == t]
        places = [of_phases.index(m[:2]) for m in found]
        assert places == sorted(places)
    else:
        assert found == expected


@pytest.mark.parametrize("own", range(SHARES))
def test_who_leads_alone_does_everything_its_own_share_first(own):
    calls = Calls()
    program = Executable(Layout(Program(SHARES, {"all": marked(2)}), calls.addresses))
    program.enter([("all", 0, 3)])
    start_all([partial(take_part, program.address, own)])
    turned = [(own + k) % SHARES for k in range(SHARES)]
    assert calls.marks() == [(s, p, t, 0) for s in range(3) for p in range(2) for t in turned]


@ways
def test_a_program_is_run_again_with_other_segments(way):
    calls = Calls()
    program = Executable(
        Layout(Program(SHARES, {"one": marked(1), "two": marked(2), "none": []}), calls.addresses)
    )
    for key, steps, phases in (("one", 3, 1), ("two", 2, 2), ("none", 5, 0), ("one", 1, 1)):
        calls.seen.clear()
        program.enter([(key, 0, steps)])
        way(program)
        assert sorted(calls.marks()) == all_marks(steps, phases)
    calls.seen.clear()
    program.enter([])
    way(program)
    assert not calls.seen


def test_a_section_that_the_program_has_not_is_refused():
    program = Executable(Layout(Program(1, {("step", 64): marked(1, 1)}), Calls().addresses))
    for key in (("step", 63), "step"):
        with pytest.raises(KeyError):
            program.enter([(("step", 64), 0, 1), (key, 1, 2)])


def test_a_kernel_without_an_address_is_refused():
    share = Share()
    share.add("add", dst=0, src=0, vectors=0, pieces=0, distance=0)
    program = Program(1, {"all": [Phase("one", [share])]})
    with pytest.raises(LookupError, match="add"):
        Executable(Layout(program, kernel_addresses("float64", "update:sgd")))


def test_an_operation_has_the_fields_of_its_kernel():
    share = Share()
    with pytest.raises(LookupError, match="multiply"):
        share.add("multiply", dst=0)
    for fields in (("dst", "src"), ("dst", "src", "vectors", "pieces", "distance", "more"),
                   ("dst", "src", "vectors", "pieces", "distances")):  # fmt: skip
        with pytest.raises(TypeError, match="add: expected the fields"):
            share.add("add", **dict.fromkeys(fields, 0))
    share.add("add", distance=5, pieces=4, vectors=3, src=2, dst=1)
    (operation,) = share.loops[0].operations
    assert operation.values == (1, 2, 3, 4, 5)
    assert operation.named() == {"dst": 1, "src": 2, "vectors": 3, "pieces": 4, "distance": 5}


# memory and waiting


@pytest.mark.parametrize("shares", [1, 3, 8])
def test_shares_are_in_lines_of_their_own_once(shares):
    """What different threads write is not in one line."""
    claims = [executor.CLAIMS + t * executor.LINE for t in range(shares)]
    places = [0, executor.SEQUENCE, executor.PLACE, *claims]
    lines = [place // 128 for place in places]
    assert lines == sorted(set(lines))
    assert all(place % 128 == 0 for place in places)
    calls = Calls()
    program = Executable(Layout(Program(shares, {"all": marked(1, shares)}), calls.addresses))
    assert program._sync.nbytes == places[-1] + 128
    assert not program._sync.any()
    program.enter([("all", 0, 1)])
    as_leader(program)
    assert program._sync.any()
    program.clear()
    assert not program._sync.any()


def test_who_has_looked_for_long_gives_way_and_counts_anew():
    looks = [0]
    for _ in range(10_000):
        looks.append(spin_wait(looks[-1]))
    often = max(looks) + 1
    assert 1000 < often < 10_000
    assert looks == [number % often for number in range(10_001)]


def test_every_look_has_a_pause_and_the_last_of_many_gives_way(monkeypatch):
    seen = []
    callbacks = {
        name: ctypes.CFUNCTYPE(None)(partial(seen.append, name)) for name in ("pause", "give_way")
    }
    for name, callback in callbacks.items():
        address = ctypes.cast(callback, ctypes.c_void_p).value
        monkeypatch.setattr(Threads, name, lambda x, address=address: x.call_at(const(address)))
    (wait,) = compiled(look)
    assert spin_wait(0, wait) == 1
    assert spin_wait(executor.SPINS - 2, wait) == executor.SPINS - 1
    assert seen == ["pause", "pause"]
    assert spin_wait(executor.SPINS - 1, wait) == 0
    assert seen[2:] == ["pause", "give_way"]
