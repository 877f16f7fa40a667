"""What every kernel reads and writes: its promise, to which programs and kernels are held."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from types import CodeType
from typing import Any, NamedTuple

from fastmlp.kernels.emit.activations import SLOPE_CODES
from fastmlp.kernels.emit.optimizers import HYPER_ROW, STORE, state_arrays
from fastmlp.kernels.emit.sparse import LISTS
from fastmlp.kernels.emit.target import current_target
from fastmlp.kernels.jit.registry import KINDS, SPLIT
from fastmlp.kernels.program.operation import At, Operation, Slot


class Access(NamedTuple):
    """Rows that are touched: so many `rows`, `size` bytes of each, `stride` bytes apart.

    With a size of 0, all from the address to the end of its array: where the data say which rows.
    """

    at: Any
    rows: int
    stride: int
    size: int
    writes: bool = False


class Array(NamedTuple):
    """An array of a slot: its name, its first byte and how many there are."""

    name: str
    start: int
    size: int


# An entry is an address, then how many rows, the bytes from row to row and those of a row; or only
# the bytes of the one row that there is; or neither: from the address to the end of its array. With
# ">" in front it is written, with "+" stepped by an optimizer, as are the arrays of its state.
# Beside a record's fields there are the names of `_names`. "lists" is what stands for X.
_SAMPLES = ("order, rows*8", "x", "scale, 8")
_FORWARD = (
    ">out, tiles*MR, ldo, vectors*V", ">kept, tiles*MR, ldo, saves*vectors*V", "begin, vectors*V",
)  # fmt: skip
_BACKWARD = (">out, tiles*MR, ldo, vectors*V", "kept, tiles*MR, ldo, vectors*V")
_LOSS = (
    ">d, rows, ldz, line", "z, rows, ldz, line", ">loss, rows*8", ">correct, rows*8",
    "order, rows*8", "weight",
)  # fmt: skip
_STEP = (">step, vectors*V", ">bias, vectors*V", "d, vectors*V", "hyper, 2*HYPER")
FOOTPRINTS: dict[str, tuple[str, ...]] = {
    "gather": (">dst, rows, ldd, n*item", *_SAMPLES),
    "list_rows": (
        ">stage, min(rows,MR), ld_stage, n*item", ">cuts, rows*n_cuts*2", "starts, rows*8 + 8",
        ">by_row(columns, starts, n*2), rows*n*2", ">by_row(values, starts, n*item), rows*n*item",
        *_SAMPLES,
    ),
    "forward": (*_FORWARD, "a, tiles*MR, lda, k*item", "b, k, ldb, vectors*V"),
    "packed_forward": (
        *_FORWARD, "a, tiles*MR, lda, lda if parts else k*item", "b, depth*P*vectors*V",
    ),
    "backward": (*_BACKWARD, "a, tiles*MR, lda, k*item", "b, k, ldb, vectors*V"),
    "packed_backward": (
        *_BACKWARD, "a, tiles*MR, lda, lda if parts else k*item", "b, depth*P*vectors*V",
        "begin, min(vectors,NV)*V",
    ),
    "update": ("+w, tiles*MR, ldw, vectors*V", "a, k, lda, tiles*MR*item", "d, k, ldd, vectors*V"),
    "packed_update": (
        "+w, tiles*MR, ldw, vectors*V", "a, k*P*tiles*MR*item", "d, k*P*vectors*V",
    ),
    "bias_update": ("+bias, vectors*V", "d, rows, ldd, vectors*V"),
    "optimizer": ("+w, vectors*V", ">g, vectors*V"),
    "optimizer_items": ("items",),  # the arrays are where these say
    "transpose": (
        ">dst, vectors*LANES, ldd, row_blocks*V", "src, row_blocks*LANES, lds, vectors*V",
    ),
    "pack_columns_left": (
        ">dst + first*BLOCK, up(n,MR)//MR, depth*BLOCK, pairs(k)*BLOCK", "src, k, lds, n*item",
    ),
    "pack_columns_right": (
        ">dst + first*PANEL, padded(n)*P//PANEL, depth*PANEL, pairs(k)*PANEL",
        ">dst + padded(n)*P//PANEL*PANEL*depth + first*(padded(n)*P%PANEL), "
        "pairs(k)*(padded(n)*P%PANEL)",
        "src, k, lds, n*item",
    ),
    "pack_rows_right": ("src, rows, lds, depth*item", "vectors of rows"),
    "split_rows_left": (">dst, rows*ldd", "src, rows, lds, n*item"),
    "add": (">dst, vectors*V", "pieces"),
    "softmax_labels": (*_LOSS, "y"), "softmax_targets": (*_LOSS, "t"),
    "elementwise_loss": (*_LOSS, "t"),
    "output": (">out, rows, ldo, n*item", ">z, rows, ldz, line"),
    "output_of_rows": (">out, rows, ldo, n*item", "z, rows, ldz, line"),
    "dropout": (
        ">h, rows, ld, vectors*V", ">slope, rows, ld, vectors*V", "words, 8", "scale, item",
    ),
    "penalties": (
        ">totals, vectors, step, blocks*8", "w, blocks*16, ldw, vectors*V", "coefficients, 16",
    ),
    "reduce_penalties": (">penalty, 8", "totals, count*8"),
    "gradient_squares": (
        ">totals, blocks*8", "w, blocks*rows, ld, vectors*V", "g, blocks*rows, ld, vectors*V",
        "hyper, HYPER",
    ),
    "clip": (">to, 2*row_bytes", "hyper, 2*row_bytes", "squares, count*8", "limit, 8"),
    "limit_columns": (">w, rows, ldw, vectors*V", "limit, 8"),
    "sparse_forward": (
        ">z, rows, ldz, vectors*V", "bias, vectors*V", "order, rows*8", "w", "lists",
    ),
    "sparse_gradient": (">g", "d, rows, ldd, vectors*V", "order, rows*8", "lists"),
    "by_feature": (
        ">counts + begin*4, features*4", "before + begin*4, features*4",
        ">listed + begin*ld_listed, features*ld_listed", "order, rows*8", "following, rows*8",
        "lists",
    ),
    "prefetch": ("order, 8", "lists"),
    "feature_update": (
        "+w, features, ldw, vectors*V", "sums, features, ldw, vectors*V", "counts, features*4",
        "before, features*4", "listed, features*ld_listed", "d",
    ),
    "vector_forward": (
        ">c, vectors*V", ">slope, saves*vectors*V", "x, n*item", "w, n, ldw, vectors*V",
        "bias, vectors*V",
    ),
    "vector_backward": (
        ">e, blocks*V", "w, blocks*LANES, ldw, vectors*V", "d, vectors*V", "h, blocks*V",
    ),
    "vector_update": (">w, n, ldw, vectors*V", "x, n*item", *_STEP),
    "step_row": _STEP,
    "matrix_product": (
        ">c, rows, ldc, columns*item", "matrix a", "matrix b", "bias, columns*item",
        ">room_a", ">room_b",
    ),
    "activate_rows": (
        ">y, rows, ldy, columns*item", ">slope, rows, lds, columns*item",
        "x, rows, ldx, columns*item",
    ),
    "finite": (">found, 8", "matrix x"),
}  # fmt: skip
# of any samples, or of the rows that the same share has listed
_LISTS = ("starts", "cuts", "columns", "values", "table")
_OWN_LISTS = ("by_row(cuts, order, n_cuts*2), rows*n_cuts*2", "by_row(starts, order, 8), rows*8")


@cache
def name_of(kernel: str) -> str:
    """Return under which name a kernel's entries are: its own, or without how it ends."""
    ends = (*LISTS, *KINDS, *SPLIT.values(), "of_rows")
    names = [kernel, *(kernel.removesuffix(f"_{end}") for end in ends)]
    return next(name for name in names if name in FOOTPRINTS)


@cache
def _compiled(entry: str) -> CodeType:
    return compile(f"({entry.removeprefix('>')},)", entry, "eval")


def _up(n: int, unit: int) -> int:
    return -(-n // unit) * unit


def _names(operation: Operation, item: int) -> dict[str, Any]:
    """Return what entries may name: the fields, the machine's sizes, and what depends on both."""
    kernel, target, fields = operation.kernel, current_target(), operation.named()
    parts = next((parts for parts, end in SPLIT.items() if kernel.endswith(f"_{end}")), 0)
    vector, side_by_side = target.vector_bytes, max(1, parts)

    def padded(n: int) -> int:
        """Return the bytes of the whole vectors that hold n elements."""
        return _up(n * item, vector)

    def by_row(items: At, order: At, size: int) -> At:
        """Return where the `size` bytes of a sample are, from where its 8 are in the order."""
        return At(items.slot, order.offset // 8 * size, 0, order.turn // 8 * size)

    loose, n = kernel.endswith("_of_rows"), fields.get("n", 0)
    return fields | {
        "item": item, "V": vector, "LANES": vector // item, "MR": target.tile_rows,
        "NV": target.tile_vectors, "HYPER": HYPER_ROW * item, "parts": parts, "P": side_by_side,
        "BLOCK": target.tile_rows * item * side_by_side,  # of a packed left operand, and a right
        "PANEL": target.tile_vectors * vector * side_by_side,
        "padded": padded, "pairs": lambda k: (k + 1) // 2 if parts else k, "by_row": by_row,
        "up": _up, "line": n * item if loose else padded(n) if isinstance(n, int) else 0,
        "saves": fields.get("code") in SLOPE_CODES,
    }  # fmt: skip


def _vectors_of_rows(q: dict[str, Any]) -> Iterator[str]:
    """Yield the vectors of columns that `pack_rows_right` fills."""
    depth, panel = q["pairs"](q["depth"]) * q["P"], q["NV"]
    count = min(q["padded"](q["rows"]) // q["V"], q["vectors"] - q["first"])
    for number in range(q["first"], q["first"] + count):
        before = number // panel * panel
        width = min(panel, q["vectors"] - before)
        yield f">dst + {before * depth + number - before}*V, {depth}, {width}*V, V"


def _matrix(q: dict[str, Any], name: str) -> Iterator[str]:
    """Yield the rows or the columns of a matrix of any strides."""
    rows, columns, down, across = (
        q[field] for field in {
            "a": ("rows", "k", "lda", "step_a"), "b": ("k", "columns", "ldb", "step_b"),
            "x": ("rows", "columns", "ldx", "item"),
        }[name]
    )  # fmt: skip
    if not all(isinstance(number, int) for number in (rows, columns, down, across)):
        yield name  # what a run is told
    elif across == q["item"] or columns <= 1:
        yield f"{name}, {rows}, {down}, {columns}*item"
    elif down == q["item"] or rows <= 1:
        yield f"{name}, {columns}, {across}, {rows}*item"
    else:
        yield from (f"{name} + {j * across}, {rows}, {down}, item" for j in range(columns))


def _entries(kernel: str, q: dict[str, Any]) -> Iterator[str]:
    for entry in FOOTPRINTS[name_of(kernel)]:
        if entry == "lists":
            yield from _OWN_LISTS if q["order"].slot == Slot.NUMBERS else _LISTS
        elif entry == "pieces":
            yield from (f">src + {i}*distance, vectors*V" for i in range(q["pieces"]))
        elif entry == "vectors of rows":
            yield from _vectors_of_rows(q)
        elif entry.startswith("matrix "):
            yield from _matrix(q, entry.removeprefix("matrix "))
        elif entry.startswith("+"):
            arrays = state_arrays(q["code"]) if q["code"] < STORE else -1
            at, shape = entry[1:].split(", ", 1)
            yield from (f">{at} + {i}*state, {shape}" for i in range(1 + max(0, arrays)))
            yield from ("hyper, HYPER",) if arrays >= 0 else ()
        else:
            yield entry


def accesses(operation: Operation, item: int) -> list[Access]:
    """Return what an operation reads and writes; `item` is the bytes of an element."""
    names, found = _names(operation, item), []
    for entry in _entries(operation.kernel, names):
        at, *shape = eval(_compiled(entry), {}, names)
        if not isinstance(at, At) or at.slot == Slot.NONE:
            continue
        rows, stride, size = {0: (1, 0, 0), 1: (1, 0, *shape), 3: tuple(shape)}[len(shape)]
        if not shape or (rows > 0 and size > 0):
            found.append(Access(at, rows, stride, size, entry.startswith(">")))
    return found
