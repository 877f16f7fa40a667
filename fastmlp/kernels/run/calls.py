"""Single operations on a caller's arrays: short programs, kept ready by what they depend on.

A program depends on shapes, strides, names and the number of threads; the arrays' addresses are
entered at every call. So a call costs a few microseconds beside the work.
"""

from __future__ import annotations

import ctypes
import threading
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from functools import lru_cache
from time import perf_counter

import numpy as np

from ...contract.parameters import aligned_zeros
from ..program.operation import Phase, Program, Share, Slot
from . import choose
from .executor import Executable, layout_of
from .thread_choice import ThreadChoice

__all__ = ["Call", "address_of", "call"]

Build = Callable[[Share, int, int], int | None]

_KEPT = 256  # calls of other shapes

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


class _Room(threading.local):
    """Where a thread's calls pack their operands, one after the other; as large as the largest has
    needed, for as long as the thread lives.
    """

    bytes = aligned_zeros(0, np.uint8)


_room = _Room()


class Call:
    """A program of one phase, ready to be run on arrays of the same shapes and strides.

    ``build(share, number, shares)`` writes a share down, and returns the bytes that it packs in, if
    any. Its kernels are for some activations and the optimizer's rule.
    """

    def __init__(
        self, dtype: np.dtype, shares: int, build: Build, activations: Iterable[str] = (),
        rule: str = "sgd",
    ) -> None:  # fmt: skip
        rooms: list[int] = []

        def of_share(share: Share, t: int) -> None:
            rooms.append(build(share, t, shares) or 0)

        program = Program(shares, {"call": [Phase.of("call", shares, of_share)]})
        self._executable = Executable(layout_of(program, dtype.name, activations, rule))
        self._executable.enter((("call", 0, 1),))
        self._room = shares * max(rooms)

    def run(self, places: Iterable[tuple[Slot, np.ndarray | int]]) -> None:
        """Run with these arrays and numbers."""
        executable = self._executable
        bases = executable.bases
        for slot, value in places:
            bases[slot] = value if isinstance(value, int) else address_of(value)
        if self._room:
            room = _room.bytes  # held until the end: what a signal calls may replace it
            if room.nbytes < self._room:
                room = _room.bytes = aligned_zeros(self._room, np.uint8)
            bases[Slot.WORKSPACE] = address_of(room)
        executable.run(executable.shares)


class _Kind:
    """Calls of one kind: those that nobody uses, by their threads, and on how many threads."""

    def __init__(self, key: Hashable, flops: int, threads: int | None) -> None:
        self.free: dict[int, list[Call]] = defaultdict(list)
        self.most = choose.choose_threads(threads, flops)  # 1 where threads cannot pay
        learns = threads is None and self.most > 1 and flops < choose.LEARNT_FLOPS
        self.choice = ThreadChoice() if learns else None


_kind = lru_cache(_KEPT)(_Kind)


def call(
    key: Hashable, flops: int, build: Build, dtype: np.dtype, activations: Iterable[str],
    *places: tuple[Slot, np.ndarray | int], rule: str = "sgd", threads: int | None = None,
) -> int:  # fmt: skip
    """Run the call of a key on arrays and numbers, and return on how many threads.

    The key has all that the `Call` depends on but for the number of threads: one is made where
    there is none, or somebody uses it. `flops` are those of a product in float32 that takes as
    long; `threads`, where given, are taken instead of what pays.
    """
    kind = _kind(key, flops, threads)
    choice = kind.choice
    shares = kind.most if choice is None or choice.together else 1
    free = kind.free[shares]
    try:
        one = free.pop()
    except IndexError:
        one = Call(dtype, shares, build, activations, rule)
        choice = None  # the first call of a kind compiles
    begun = perf_counter()
    one.run(places)
    if choice is not None:
        choice.note(perf_counter() - begun)
    free.append(one)
    return shares
