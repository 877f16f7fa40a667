"""Programs of Python functions in place of kernels, and ways to run them."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterable
from functools import partial

from fastmlp.kernels.emit import executor
from fastmlp.kernels.emit.integers import emit_functions
from fastmlp.kernels.jit.compiler import MachineCode, compile_module, module_for
from fastmlp.kernels.jit.registry import KERNELS
from fastmlp.kernels.program.operation import At, Phase, Share, Slot
from fastmlp.kernels.run.executor import Executable, run, serial_driver

SHARES = 4
LONG = 60  # seconds that nothing here takes, for a test that would wait for ever


def compiled(*names: str) -> list[Callable[..., int]]:
    """Return functions of the executor, compiled as they are now."""
    module, functions = module_for("parts"), {f"{n}_entry": getattr(executor, n) for n in names}
    emit_functions(module, functions)
    code = MachineCode(compile_module(module))
    kinds = [ctypes.CFUNCTYPE(*(ctypes.c_int64,) * (1 + f.parameters)) for f in functions.values()]
    return [kind(code.address(name)) for kind, name in zip(kinds, functions, strict=True)]


take_part, work_on, spin_wait = compiled("take_part", "work_on", "spin_wait")


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
    serial_driver()(executable.address)


def as_leader(executable: Executable) -> None:
    """Run on one thread as on several of which no other comes."""
    together(executable, [0])


def in_parallel(executable: Executable) -> None:
    run(executable, executable.shares)


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
