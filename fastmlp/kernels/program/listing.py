"""What a program does, operation by operation, with shapes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from ..emit.activations import ACTIVATIONS
from ..emit.optimizers import ADD, OPTIMIZERS, STORE
from ..emit.target import current_target
from ..jit.registry import SPLIT
from .operation import Operation, Phase

__all__ = ["Line", "lines", "listing"]

_NAMES = {code: name for name, code in ACTIVATIONS.items()}
_RULES = {code: name for name, code in OPTIMIZERS.items()} | {STORE: "store sums", ADD: "add sums"}


class Line(NamedTuple):
    """An operation of a listing."""

    phase: str
    share: int  # which of the phase's shares, from 0 on
    turns: int  # how often it runs in a step
    kernel: str
    shape: str  # padded as it works on it
    # floating-point operations of one turn, multiplications and additions of sums alone, zeros
    # included; 0 for kernels whose work is of another kind. A `vector_update` steps the bias too.
    flops: int


_DENSE = "{tile_rows} x {depth} @ {depth} x {columns}, "
# of kernels, else of those that have some fields; see `_numbers`
_SHAPES = {
    "forward": _DENSE + "{activation}", "backward": _DENSE + "{activation} backward",
    "update": _DENSE + "{rule}", "bias_update": "{rows} x {columns} summed, {rule}",
    "optimizer": "{columns}, {rule}", "transpose": "{block_rows} x {columns}",
    "pack_columns_left": "{k} x {n}", "pack_columns_right": "{k} x {n}",
    "pack_rows_right": "{rows} x {depth_of}",
    "vector_forward": "{n} @ {n} x {columns}, {activation}",
    "vector_backward": "{inputs} x {columns} @ {columns}", "vector_update": "{n} x {columns}",
    "feature_update": "{features} x {columns}, {rule}", "add": "{pieces} of {columns}",
    "penalties": "{blocks} blocks of rows x {columns}",
    "gradient_squares": "{blocks} blocks of rows x {columns}",
    "reduce_penalties": "{count}", "clip": "{count}",
}  # fmt: skip
_OTHERS = {
    ("rows", "n"): "{rows} x {n}", ("rows", "vectors"): "{rows} x {columns}",
    ("features",): "{rows} samples, {features} features", ("vectors",): "{columns}",
}  # fmt: skip


def _numbers(operation: Operation, item: int) -> tuple[str, dict[str, Any]]:
    """Return a kernel's name without what tells how operands lie, and its numbers, with those of
    vectors, tiles and pairs in elements.
    """
    name, _, end = operation.kernel.rpartition("_")
    split = end in SPLIT.values()
    kernel = (name if split else operation.kernel).removeprefix("packed_")
    given = {name: value for name, value in operation.named().items() if isinstance(value, int)}
    of, target = Counter(given), current_target()
    length = target.vector_bytes // item
    return kernel, given | {
        "columns": of["vectors"] * length, "inputs": of["blocks"] * length,
        "block_rows": of["row_blocks"] * length, "tile_rows": of["tiles"] * target.tile_rows,
        "depth_of": of["depth"], "depth": of["k"] * (1 + split),
        "activation": _NAMES.get(of["code"]), "rule": _RULES.get(of["code"]),
    }  # fmt: skip


def _shape(kernel: str, numbers: dict[str, Any]) -> str:
    others = (text for fields, text in _OTHERS.items() if numbers.keys() >= set(fields))
    return (_SHAPES.get(kernel) or next(others, "")).format(**numbers)


def _flops(kernel: str, of: dict[str, Any]) -> int:
    if kernel in ("forward", "backward", "update"):
        return 2 * of["tile_rows"] * of["depth"] * of["columns"]
    if kernel in ("vector_forward", "vector_update"):
        return 2 * of["n"] * of["columns"]
    return 2 * of["inputs"] * of["columns"] if kernel == "vector_backward" else 0


def lines(phases: Sequence[Phase], item: int) -> Iterator[Line]:
    """Return a line for every operation of some phases, in their order; `item` is the bytes of an
    element.
    """
    for phase in phases:
        for number, share in enumerate(phase.shares):
            for loop in share.loops:
                for operation in loop.operations:
                    named = _numbers(operation, item)
                    shape, flops = _shape(*named), _flops(*named)
                    yield Line(phase.name, number, loop.turns, operation.kernel, shape, flops)


def listing(phases: Sequence[Phase], item: int) -> str:
    """Return phases as text, a line an operation; `item` is the bytes of an element."""
    text, before = [], ""
    for line in lines(phases, item):
        heading = f"phase {line.phase}, share {line.share}"
        if heading != before:
            text.append(heading)
            before = heading
        times = f"  {line.turns} times" if line.turns > 1 else ""
        text.append(f"  {line.kernel:22} {line.shape}{times}")
    return "\n".join(text)
