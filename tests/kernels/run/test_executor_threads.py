"""Threads of the executor: whoever comes, late or never, and in whatever order they go on."""

from __future__ import annotations

import ctypes
import random
import threading
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from executors import (
    LONG,
    SHARES,
    WAYS,
    Calls,
    all_marks,
    compiled,
    marked,
    start_all,
    take_part,
    together,
    work_on,
)

from fastmlp import MLP, Adam
from fastmlp.kernels.emit import executor
from fastmlp.kernels.emit.flow import const
from fastmlp.kernels.emit.optimizers import ADD, HYPER_ROW, STORE
from fastmlp.kernels.emit.records import record
from fastmlp.kernels.emit.target import current_target
from fastmlp.kernels.emit.threads import Threads
from fastmlp.kernels.jit.registry import kernel_addresses
from fastmlp.kernels.program.operation import NOWHERE, At, Phase, Program, Share, Slot
from fastmlp.kernels.run.executor import Executable, Layout

VECTOR = current_target().vector_bytes
LANES = VECTOR // 8


# several threads


def counting(share: Share, t: int, phase: int, phases: int) -> None:
    """Add 1 to a number that only this share of this phase and step has."""
    at = At(Slot.OUT, (phase * SHARES + t) * VECTOR, step=phases * SHARES * VECTOR)
    share.add(
        "bias_update", bias=at, d=At(Slot.X), ldd=0, rows=1, vectors=1, code=ADD, state=0,
        hyper=At(Slot.HYPER),
    )  # fmt: skip


@pytest.mark.parametrize("owns", [[0], [0, 1], [0, 0], [0, 1, 2], [0, 1, 2, 3, 4, 5], [2] * 4])
def test_every_share_of_every_phase_is_worked_on_once(owns):
    """Steps of one, two and three phases in turns; some threads want the same share."""
    steps = 5000
    sections = {
        count: [
            Phase.of("", SHARES, lambda share, t, p=p: counting(share, t, p, 3))
            for p in range(count)
        ]
        for count in (1, 2, 3)
    }
    program = Executable(
        Layout(Program(SHARES, sections), kernel_addresses("float64", "update:sgd"))
    )
    counts, one, hyper = np.zeros((steps, 3, SHARES, LANES)), np.ones(LANES), np.zeros(HYPER_ROW)
    for slot, array in ((Slot.OUT, counts), (Slot.X, one), (Slot.HYPER, hyper)):
        program.bases[slot] = array.ctypes.data
    program.enter([(1 + step % 3, step, step + 1) for step in range(steps)])
    together(program, owns)
    for step, table in enumerate(counts):
        assert (table[: 1 + step % 3] == 1).all()
        assert (table[1 + step % 3 :] == 0).all()


def mixing(steps: int) -> tuple[Executable, np.ndarray, list[np.ndarray]]:
    """Return a program whose shares need what others have left in the phase before, and the rows
    that it makes.
    """
    rows = np.zeros((steps + 1, SHARES + 1, LANES))  # the last one again the first
    rows[0, :-1] = np.random.default_rng(0).standard_normal((SHARES, LANES))
    rows[0, -1] = rows[0, 0]
    sums, hyper = np.zeros((steps, SHARES, LANES)), np.full(HYPER_ROW, 0.5)
    hyper[1] = 1.0
    ld_rows, ld_sums = (SHARES + 1) * VECTOR, SHARES * VECTOR

    def add(share: Share, t: int) -> None:
        share.add(
            "bias_update", bias=At(Slot.GRADIENT, t * VECTOR, step=ld_sums),
            d=At(Slot.PARAMETERS, t * VECTOR, step=ld_rows), ldd=VECTOR, rows=2, vectors=1,
            code=STORE, state=0, hyper=At(Slot.HYPER),
        )  # fmt: skip

    def halve(share: Share, t: int) -> None:
        src = At(Slot.GRADIENT, (t + 1) % SHARES * VECTOR, step=ld_sums)
        for place in (t, SHARES) if t == 0 else (t,):
            dst = At(Slot.PARAMETERS, ld_rows + place * VECTOR, step=ld_rows)
            share.add("step_row", bias=NOWHERE, step=dst, d=src, vectors=1, hyper=At(Slot.HYPER))

    phases = [Phase.of("add", SHARES, add), Phase.of("halve", SHARES, halve)]
    addresses = kernel_addresses("float64", "update:sgd", "optimizer:sgd", "vector update")
    program = Executable(Layout(Program(SHARES, {"all": phases}), addresses))
    for slot, array in ((Slot.PARAMETERS, rows), (Slot.GRADIENT, sums), (Slot.HYPER, hyper)):
        program.bases[slot] = array.ctypes.data
    program.enter([("all", 0, steps)])
    return program, rows, [sums, hyper]


def mixed(first: np.ndarray, steps: int) -> np.ndarray:
    """Return these rows by NumPy."""
    rows = [first]
    for _ in range(steps):
        sums = rows[-1][:-1] + rows[-1][1:]
        new = -0.5 * np.roll(sums, -1, axis=0)
        rows.append(np.concatenate([new, new[:1]]))
    return np.array(rows)


@pytest.mark.parametrize(
    "way", [*WAYS, *(lambda program, n=n: together(program, range(n)) for n in (2, 3, 6))],
    ids=["alone", "as_leader", "in_parallel", "two", "three", "six"],
)  # fmt: skip
def test_a_phase_finds_all_that_the_one_before_has_left(way):
    steps = 1000
    program, rows, _held = mixing(steps)
    expected = mixed(rows[0].copy(), steps)
    way(program)
    assert np.array_equal(rows, expected)


@pytest.mark.parametrize("delayed", ["who leads", "who follows"])
def test_a_delayed_thread_holds_up_no_share_but_its_own(delayed):
    """The others do the rest of the phase, and nobody begins the next one."""
    done, (came, met, rest, next_begun) = [], (threading.Event() for _ in range(4))
    held = 0 if delayed == "who leads" else 2

    def work(values: dict[str, int]) -> None:
        phase, share = values["src"], values["vectors"]
        if phase == 1:
            next_begun.set()
            return
        if share == 2:
            met.set()
        if share == 0:  # the leader's own: wait for the other thread to come
            came.set()
            assert met.wait(LONG)
        if share == held:
            assert rest.wait(LONG)
            next_begun.wait(0.05)  # it has every chance to begin too soon
        done.append((phase, share, next_begun.is_set()))
        if {share for _, share, _ in done} | {held} == set(range(SHARES)):
            rest.set()

    calls = Calls(work)
    program = Executable(Layout(Program(SHARES, {"all": marked(2)}), calls.addresses))
    program.enter([("all", 0, 1)])
    leads = threading.Thread(target=take_part, args=(program.address, 0), daemon=True)
    leads.start()
    assert came.wait(LONG)
    start_all([partial(take_part, program.address, 2)])
    leads.join(LONG)
    assert not leads.is_alive()
    assert done[-1] == (0, held, False)
    assert sorted(done) == [(0, t, False) for t in range(SHARES)]
    assert sorted(calls.marks()) == all_marks(1, 2)


def test_a_thread_that_comes_late_takes_what_is_left():
    """In the second of three steps, while another is at its first share."""
    late = threading.Event()
    threads: dict[tuple[int, ...], int] = {}

    def work(values: dict[str, int]) -> None:
        step, share = values["dst"], values["vectors"]
        threads[step, share] = threading.get_ident()
        if (step, share) == (1, 0):
            other.start()
            assert late.wait(LONG)
        if (step, share) == (1, SHARES - 1):
            late.set()

    calls = Calls(work)
    program = Executable(Layout(Program(SHARES, {"all": marked(1)}), calls.addresses))
    program.enter([("all", 0, 3)])
    other = threading.Thread(target=take_part, args=(program.address, SHARES - 1), daemon=True)
    start_all([partial(take_part, program.address, 0)])
    other.join(LONG)
    assert not other.is_alive()
    assert sorted(calls.marks()) == all_marks(3, 1)
    assert len({threads[0, t] for t in range(SHARES)}) == 1
    assert threads[1, 0] == threads[0, 0]
    assert threads[1, SHARES - 1] != threads[0, 0]


def test_a_thread_that_comes_when_all_is_over_does_nothing():
    calls = Calls()
    program = Executable(Layout(Program(SHARES, {"all": marked(2)}), calls.addresses))
    program.enter([("all", 0, 2)])
    for own in (0, 0, 3):
        start_all([partial(take_part, program.address, own)])
        assert len(calls.seen) == 2 * 2 * SHARES


def test_a_thread_that_was_put_aside_takes_nothing_of_a_phase_that_is_over():
    """It has read which phase was announced, and then others have done all of it."""
    wakes: list[int] = []

    def work(values: dict[str, int]) -> None:
        if values["src"] == 1:
            before = len(calls.seen)
            work_on(program.address, sync, 1, values["vectors"])
            wakes.append(len(calls.seen) - before)

    calls = Calls(work)
    program = Executable(Layout(Program(SHARES, {"all": marked(2)}), calls.addresses))
    sync = program._sync.ctypes.data
    program.enter([("all", 0, 1)])
    start_all([partial(take_part, program.address, 0)])
    assert wakes == [0] * SHARES
    for sequence in (1, 2, 3):
        work_on(program.address, sync, sequence, 0)
        if sequence < 3:
            assert len(calls.seen) == 2 * SHARES


# every order in which threads may read and write


class Drawn:
    """Threads of which one goes on at a time; which one, is drawn at each access to memory."""

    def __init__(self, seed: int, count: int) -> None:
        self._rng, self._left = random.Random(seed), 20_000
        self._go = [threading.Semaphore(0) for _ in range(count)]
        self._going = list(range(count))
        self._me = threading.local()
        self.stuck = threading.Event()

    def access(self) -> None:
        """Let another thread go on, or this one."""
        self._left -= 1
        if self._left < 0:
            self.stuck.set()  # they wait for each other
            threading.Event().wait()
        following = self._rng.choice(self._going)
        if following != self._me.number:
            self._go[following].release()
            assert self._go[self._me.number].acquire(timeout=LONG)

    def run(self, parts: list[Callable[[], object]]) -> None:
        """Run all to their end."""

        def thread(number: int, part: Callable[[], object]) -> None:
            self._me.number = number
            assert self._go[number].acquire(timeout=LONG)
            part()
            self._going.remove(number)
            if self._going:
                self._go[self._rng.choice(self._going)].release()

        self._go[self._rng.choice(self._going)].release()
        others = [
            threading.Thread(target=thread, args=pair, daemon=True) for pair in enumerate(parts)
        ]
        for other in others:
            other.start()
        while any(other.is_alive() for other in others):
            assert not self.stuck.is_set()
            others[0].join(0.001)
            others = [other for other in others if other.is_alive()]


class Watched:
    """The executor compiled so that it calls Python before each access to shared memory, and where
    a share begins and ends: its threads go on in whatever order `drawn` says.
    """

    def __init__(self, monkeypatch) -> None:
        self.drawn = Drawn(0, 1)
        self.seen: list[tuple[str, int, int, int]] = []
        kind = ctypes.CFUNCTYPE(None)
        access = kind(lambda: self.drawn.access())
        mark_kind = ctypes.CFUNCTYPE(None, *(ctypes.c_int64,) * 3)
        marks = [
            mark_kind(lambda phase, share, step, what=what: self.note(what, step, phase, share))
            for what in ("begins", "ends")
        ]
        self._keep = access, marks

        def called(x: Threads, callback: object, *arguments: object) -> None:
            x.call_at(const(ctypes.cast(callback, ctypes.c_void_p).value), *arguments)

        def watched(name: str) -> Callable[..., object]:
            honest = getattr(Threads, name)

            def method(x: Threads, *arguments: object) -> object:
                called(x, access)
                return honest(x, *arguments)

            return method

        def spin_wait(x, looks):
            called(x, access)
            return looks

        @record("program phase share step")
        def run_share(x, q):
            called(x, marks[0], q.phase, q.share, q.step)
            called(x, access)
            called(x, marks[1], q.phase, q.share, q.step)

        with monkeypatch.context() as patch:
            for name in ("load", "store", "compare_and_swap"):
                patch.setattr(Threads, name, watched(name))
            patch.setattr(executor, "spin_wait", spin_wait)
            patch.setattr(executor, "run_share", run_share)
            (self.take_part,) = compiled(executor.take_part)

    def note(self, what: str, step: int, phase: int, share: int) -> None:
        self.seen.append((what, step, phase, share))


@pytest.fixture(scope="module")
def watched():
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield Watched(monkeypatch)


@pytest.mark.parametrize("owns", [[0], [0, 1], [1, 1], [0, 1, 2], [0, 2, 2, 4]])
def test_in_whatever_order_threads_go_on_phases_follow_each_other(watched, owns):
    """Many orders, drawn: every share is run once, none before the last phase has ended."""
    steps, phases, shares = 2, 2, 3
    calls = Calls()
    program = Executable(Layout(Program(shares, {"all": marked(phases, shares)}), calls.addresses))
    program.enter([("all", 0, steps)])
    expected = all_marks(steps, phases, shares)
    for seed in range(200):
        watched.drawn, watched.seen = Drawn(seed, len(owns)), []
        program.clear()
        watched.drawn.run(
            [partial(watched.take_part, program.address, own % shares) for own in owns]
        )
        for what in ("begins", "ends"):
            found = sorted(mark[1:] for mark in watched.seen if mark[0] == what)
            assert found == [m[:3] for m in expected]
        of_phases = [mark[1:3] for mark in watched.seen]
        assert of_phases == sorted(of_phases)


@pytest.mark.parametrize("batch_size", [16, 600, None])
@pytest.mark.parametrize("delays", [[0], [0, 0], [0.03, 0], [0, 0.03], [0, 0.01, 0.02, 0.03, 9]])
def test_the_same_bits_whoever_comes(batch_size, delays, monkeypatch):
    """Threads that come at once, in the middle, when all is over, or not at all."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((1500, 40), np.float32), rng.integers(0, 3, 1500)

    def trained(threads: int) -> bytes:
        net = MLP((40, 64, 64, 3), rng=0, threads=threads)
        net.fit(X, y, batch_size=batch_size, epochs=3, optimizer=Adam(), progress=False)
        return b"".join(array.tobytes() for array in net.weights + net.biases)

    expected, runs = trained(1), []

    def run(executable, shares):
        executable.clear()

        def member(own: int, delay: float) -> None:
            if not over.wait(delay):
                take_part(executable.address, own)

        over = threading.Event()
        others = [threading.Thread(target=member, args=pair) for pair in enumerate(delays)]
        for other in others:
            other.start()
        while sum(other.is_alive() for other in others) > sum(delay > 1 for delay in delays):
            time.sleep(1e-3)
        over.set()
        for other in others:
            other.join()
        runs.append(shares)

    monkeypatch.setattr(Executable, "run", run)
    assert trained(SHARES) == expected
    assert set(runs) == {SHARES}
