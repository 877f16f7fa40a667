"""Programs in words: what a step does, operation by operation, with shapes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

from ..emit.activations import ACTIVATIONS
from ..emit.optimizers import ADD, OPTIMIZERS, STORE
from ..emit.target import current_target
from ..jit.registry import SPLIT
from .operation import Operation, Phase

__all__ = ["Line", "flops", "lines", "listing", "shape"]

_NAMES = {code: name for name, code in ACTIVATIONS.items()}
_RULES = {code: name for name, code in OPTIMIZERS.items()} | {STORE: "store sums", ADD: "add sums"}


class Line(NamedTuple):
    """An operation of a listing.

    Attributes
    ----------
    phase : str
    share, place : int
        Which of the phase's shares, and which of its operations, from 0 on.
    turns : int
        How often it runs in a step.
    kernel, shape : str
    flops : int
        Floating-point operations of one turn, multiplications and additions of sums alone, zeros
        included; 0 for kernels whose work is of another kind.
    """

    phase: str
    share: int
    place: int
    turns: int
    kernel: str
    shape: str
    flops: int


def _dense(q: Any, length: int, pairs: bool) -> tuple[int, int, int]:
    """Return the rows, the sums' length and the columns of a dense kernel, in elements."""
    return q.tiles * current_target().tile_rows, q.k * (1 + pairs), q.vectors * length


def _name(kernel: str) -> tuple[str, bool]:
    """Return a kernel's name without what tells how operands are split, and whether they are."""
    name, _, end = kernel.rpartition("_")
    return (name, True) if end in SPLIT.values() else (kernel, False)


def shape(operation: Operation, item: int) -> str:
    """Return the shapes of an operation, padded as it works on them; `item` is the bytes of an
    element.
    """
    q = SimpleNamespace(**operation.named())
    length = current_target().vector_bytes // item
    kernel, split = _name(operation.kernel)
    match kernel:
        case "forward" | "packed_forward":
            rows, k, columns = _dense(q, length, split)
            return f"{rows} x {k} @ {k} x {columns}, {_NAMES[q.code]}"
        case "backward" | "packed_backward":
            rows, k, columns = _dense(q, length, split)
            return f"{rows} x {k} @ {k} x {columns}, {_NAMES[q.code]} backward"
        case "update" | "packed_update":
            rows, k, columns = _dense(q, length, split)
            return f"{rows} x {k} @ {k} x {columns}, {_RULES[q.code]}"
        case "bias_update":
            return f"{q.rows} x {q.vectors * length} summed, {_RULES[q.code]}"
        case "optimizer":
            return f"{q.vectors * length}, {_RULES[q.code]}"
        case "transpose":
            return f"{q.row_blocks * length} x {q.vectors * length}"
        case "pack_columns_left" | "pack_columns_right":
            return f"{q.k} x {q.n}"
        case "pack_rows_right":
            return f"{q.rows} x {q.depth}"
        case "vector_forward":
            return f"{q.n} @ {q.n} x {q.vectors * length}, {_NAMES[q.code]}"
        case "vector_backward":
            return f"{q.blocks * length} x {q.vectors * length} @ {q.vectors * length}"
        case "vector_update":
            return f"{q.n} x {q.vectors * length}"
        case "feature_update":
            return f"{q.features} x {q.vectors * length}, {_RULES[q.code]}"
        case "add":
            return f"{q.pieces} of {q.vectors * length}"
        case "penalties" | "gradient_squares":
            return f"{q.blocks} blocks of rows x {q.vectors * length}"
        case "reduce_penalties" | "clip":
            return f"{q.count}"
    named = {name: value for name, value in vars(q).items() if isinstance(value, int)}
    if "rows" in named and "n" in named:
        return f"{q.rows} x {q.n}"
    if "rows" in named and "vectors" in named:
        return f"{q.rows} x {q.vectors * length}"
    if "features" in named:
        return f"{q.rows} samples, {q.features} features"
    return f"{named['vectors'] * length}" if "vectors" in named else ""


def flops(operation: Operation, item: int) -> int:
    """Return the floating-point operations of an operation's sums, zeros included."""
    q = SimpleNamespace(**operation.named())
    length = current_target().vector_bytes // item
    kernel, split = _name(operation.kernel)
    if kernel.removeprefix("packed_") in ("forward", "backward", "update"):
        rows, k, columns = _dense(q, length, split)
        return 2 * rows * k * columns
    if operation.kernel == "vector_forward" or operation.kernel == "vector_update":
        return 2 * q.n * q.vectors * length
    if operation.kernel == "vector_backward":
        return 2 * q.blocks * length * q.vectors * length
    return 0


def lines(phases: Sequence[Phase], item: int) -> Iterator[Line]:
    """Return a line for every operation of some phases, in their order."""
    for phase in phases:
        for number, share in enumerate(phase.shares):
            place = 0
            for loop in share.loops:
                for operation in loop.operations:
                    yield Line(
                        phase.name, number, place, loop.turns, operation.kernel,
                        shape(operation, item), flops(operation, item),
                    )  # fmt: skip
                    place += 1


def listing(phases: Sequence[Phase], item: int) -> str:
    """Return phases as text, a line an operation; `item` is the bytes of an element."""
    text, heading = [], ("", -1)
    for line in lines(phases, item):
        if heading != (line.phase, line.share):
            heading = line.phase, line.share
            text.append(f"phase {line.phase}, share {line.share}")
        times = f"  {line.turns} times" if line.turns > 1 else ""
        text.append(f"  {line.kernel:22} {line.shape}{times}")
    return "\n".join(text)
