"""Programs of Python functions in place of kernels, and ways to run them."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from fastmlp.kernels.emit import executor
from fastmlp.kernels.emit.records import Emitter, emit_function, fields_of, record
from fastmlp.kernels.emit.threads import Threads
from fastmlp.kernels.jit.compiler import compile_module, loaded, module_for
from fastmlp.kernels.jit.registry import KERNELS
from fastmlp.kernels.program.operation import At, Phase, Share, Slot
from fastmlp.kernels.run.executor import Executable

SHARES = 4
LONG = 60  # seconds that nothing here takes, for a test that would wait for ever


def compiled(*emitters: Emitter) -> list[Callable[..., None]]:
    """Return functions of integers, compiled as they are now, without the cache."""
    module, functions = module_for("parts"), {f"entry_{n}": e for n, e in enumerate(emitters)}
    for name, emit in functions.items():
        emit_function(module, name, emit, Threads)
    address = loaded(compile_module(module))
    integers = [(ctypes.c_int64,) * len(fields_of(emit)) for emit in emitters]
    kinds = [ctypes.CFUNCTYPE(None, *arguments) for arguments in integers]
    return [kind(address(name)) for kind, name in zip(kinds, functions, strict=True)]


@record("looks")
def look(x: Threads, q: Any) -> None:
    """Wait once, and note how often somebody has looked."""
    x.set_word(executor.spin_wait(x, x.word(q.looks)), q.looks)


def spin_wait(looks: int, wait: Callable[[int], None] | None = None) -> int:
    """Return how often somebody has looked after another wait, which is compiled as it was."""
    place = ctypes.c_int64(looks)
    (wait or _look)(ctypes.addressof(place))
    return place.value


take_part, work_on, _look = compiled(executor.take_part, executor.work_on, look)


# Python functions in place of kernels


class Calls:
    """Kernel "add" in Python: notes the values of its record, and whatever `then` does."""

    def __init__(self, then: Callable[[dict[str, int]], None] = lambda values: None) -> None:
        fields = KERNELS["add"].fields
        self.seen: list[dict[str, int]] = []

        def kernel(record: int) -> None:
            words = (ctypes.c_int64 * len(fields)).from_address(record)
            values = dict(zip(fields, words, strict=True))
            self.seen.append(values)
            then(values)

        self._kernel = ctypes.CFUNCTYPE(None, ctypes.c_int64)(kernel)
        self.addresses = {"add": ctypes.cast(self._kernel, ctypes.c_void_p).value}

    def marks(self) -> list[tuple[int, int, int, int]]:
        """Return the step, phase and share of every call of `marked`, and its operation."""
        names = ("dst", "src", "vectors", "pieces")
        return [tuple(values[name] for name in names) for values in self.seen]


def mark(share: Share, phase: int, number: int, operation: int = 0) -> None:
    """Add an operation whose record says where it stands, and in which step it is run."""
    share.add(
        "add", dst=At(Slot.NONE, step=1), src=phase, vectors=number, pieces=operation, distance=0
    )


def marked(phases: int, shares: int = SHARES) -> list[Phase]:
    """Return phases whose shares do nothing but call "add" once."""
    return [
        Phase.of(f"phase {p}", shares, lambda share, t, p=p: mark(share, p, t))
        for p in range(phases)
    ]


def all_marks(steps: int, phases: int, shares: int = SHARES) -> list[tuple[int, int, int, int]]:
    return [(s, p, t, 0) for s in range(steps) for p in range(phases) for t in range(shares)]


def alone(executable: Executable) -> None:
    """Run on this thread, as `run_serial` does it."""
    executable.run(1)


def as_leader(executable: Executable) -> None:
    """Run on one thread as on several of which no other comes."""
    together(executable, [0])


def in_parallel(executable: Executable) -> None:
    executable.run(executable.shares)


def together(executable: Executable, owns: Iterable[int]) -> None:
    """Run on several threads, whose own shares these are."""
    executable.clear()
    shares = executable.shares
    start_all([partial(take_part, executable.address, own % shares) for own in owns])


def start_all(parts: list[Callable[[], None]]) -> None:
    others = [threading.Thread(target=part, daemon=True) for part in parts]
    for other in others:
        other.start()
    for other in others:
        other.join(LONG)
        assert not other.is_alive()


WAYS = [alone, as_leader, in_parallel]
