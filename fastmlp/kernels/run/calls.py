"""Single operations on a caller's arrays: short programs, kept ready by what they depend on.

A program depends on shapes, strides, names and the number of threads; the arrays' addresses are
entered at every call. So a call costs a few microseconds beside the work.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import suppress
from time import perf_counter

import numpy as np

from ...contract.parameters import aligned_zeros
from ..program.operation import Phase, Program, Slot
from . import choose
from .executor import Executable, layout_of, run
from .thread_choice import ThreadChoice

__all__ = ["Call", "address_of", "call"]

_KEPT = 256  # calls of other shapes
_ROOMS = 4  # rooms for packing, of calls that run at the same time

_pointer_at = ctypes.c_void_p.from_address
_HEAD = object.__basicsize__  # of what every object begins with; NumPy's has its data behind it


def _address_in_object(array: np.ndarray) -> int:
    """Return where an array's elements are; `array.ctypes.data` takes four times as long."""
    return _pointer_at(id(array) + _HEAD).value or 0


def _address_by_name(array: np.ndarray) -> int:
    return array.ctypes.data


def _quickest() -> Callable[[np.ndarray], int]:
    """Return what tells addresses, having seen that it does."""
    seen = [np.zeros(3), np.zeros((4, 5))[1:, 2:]]
    try:
        right = all(_address_in_object(array) == array.ctypes.data for array in seen)
    except ValueError:
        right = False
    return _address_in_object if right else _address_by_name


address_of = _quickest()


class Call:
    """A program of one operation, ready to be run on arrays of the same shapes and strides.

    Its kernels are for some activations and the optimizer's rule; all shares together work in
    `room` bytes.
    """

    def __init__(
        self, dtype: str, shares: int, phases: Sequence[Phase], *,
        activations: Iterable[str] = (), rule: str = "sgd", room: int = 0,
    ) -> None:  # fmt: skip
        program = Program(shares, {"call": list(phases)})
        self._executable = Executable(layout_of(program, dtype, activations, rule))
        self._executable.enter((("call", 0, 1),))
        self.shares, self.room = shares, room

    def run(self, places: Iterable[tuple[int, int]]) -> None:
        """Run with these arrays: (slot, address)."""
        bases = self._executable.bases
        for slot, address in places:
            bases[slot] = address
        run(self._executable, self.shares)


class _Kind:
    """What is kept of calls of one kind: those that nobody uses, and on how many threads."""

    def __init__(self, flops: int, threads: int | None) -> None:
        self.free: dict[int, list[Call]] = {}
        self.least = choose.choose_threads(threads, flops)  # 1 where threads cannot pay
        learns = threads is None and self.least > 1 and flops < choose.LEARNT_FLOPS
        self.choice = ThreadChoice() if learns else None

    def threads(self) -> int:
        if self.choice is None or self.choice.together:
            return self.least
        return 1


_kinds: dict[Hashable, _Kind] = {}
_rooms: list[np.ndarray] = []


def _room_for(size: int) -> np.ndarray:
    """Return room of at least so many bytes, which `call` keeps for the next one."""
    try:
        room = _rooms.pop()
    except IndexError:
        room = aligned_zeros(0, np.uint8)
    return room if room.nbytes >= size else aligned_zeros(size, np.uint8)


def call(
    key: Hashable, flops: int, make: Callable[[int], Call], *places: tuple[int, int],
    threads: int | None = None,
) -> int:  # fmt: skip
    """Run the call of a key on these arrays, and return on how many threads.

    The key has all that the program depends on but for the number of threads; ``make(threads)``
    makes a call that is not there, or that somebody uses. `flops` are those of a product in float32
    that takes as long; `threads`, where given, are taken instead of what pays.
    """
    kind = _kinds.get(key)
    if kind is None:
        with suppress(StopIteration, RuntimeError):  # where another call does the same
            while len(_kinds) >= _KEPT:
                _kinds.pop(next(iter(_kinds)), None)
        kind = _kinds[key] = _Kind(flops, threads)
    threads = kind.threads()
    free = kind.free.get(threads)
    if free is None:
        free = kind.free[threads] = []
    known = bool(free)
    one = free.pop() if known else make(threads)
    begun = perf_counter()
    if one.room:
        room = _room_for(one.room)
        one.run((*places, (Slot.WORKSPACE, address_of(room))))
        if len(_rooms) < _ROOMS:
            _rooms.append(room)
    else:
        one.run(places)
    if known and kind.choice is not None:  # the first call of a kind compiles
        kind.choice.note(perf_counter() - begun)
    free.append(one)
    return threads
