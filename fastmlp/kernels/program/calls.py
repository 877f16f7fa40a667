"""Programs of products over arrays as they lie, and of what is done to their rows.

Arrays come in slots, whose addresses are entered at every call. Each share has a part of the
result of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..emit.activations import ACTIVATIONS
from ..emit.matrix_product import COLUMN_BLOCK, K_BLOCK, ROW_BLOCK
from ..emit.target import current_target
from .operation import NOWHERE, At, Share, Slot, cut

__all__ = ["Matrix", "Product", "add_product"]

_ROUND = 64  # elements that rows and columns are rounded up to when they are packed
_TARGET = current_target()


@dataclass(frozen=True)
class Matrix:
    """An array of two dimensions: where it is, and the bytes from row to row (`down`) and from
    column to column (`across`).
    """

    at: At
    down: int
    across: int

    def part(self, row: int, column: int) -> At:
        """Return where an element is."""
        return self.at + (row * self.down + column * self.across)


@dataclass(frozen=True)
class Product:
    """C = bias + A B, then the activation, in elements of `item` bytes.

    `packed` says whether A and B are packed; rows and columns are cut in as many parts as the
    `grid` says.
    """

    c: Matrix
    a: Matrix
    b: Matrix
    bias: At | None
    rows: int
    columns: int
    k: int
    item: int
    packed: tuple[bool, bool]
    grid: tuple[int, int]
    activation: str

    @property
    def rooms(self) -> tuple[int, int]:
        """The bytes that a share packs A in, and B."""
        line = min(self.k, K_BLOCK) * self.item
        sizes = min(self.rows, ROW_BLOCK), min(self.columns, COLUMN_BLOCK)
        a, b = (
            -(-n // _ROUND) * _ROUND * line if packed else 0
            for n, packed in zip(sizes, self.packed, strict=True)
        )
        return a, b


def add_product(share: Share, t: int, p: Product, room: int) -> None:
    """Add share t's part of a product, whole tiles of it; each share packs in `room` bytes of its
    own, the same for all products of a phase, which not all shares are at at a time.
    """
    down, across = p.grid
    if t >= down * across:
        return
    panel = _TARGET.tile_vectors * _TARGET.vector_bytes // p.item
    top, bottom = cut(p.rows, down, t // across, _TARGET.tile_rows)
    left, right = cut(p.columns, across, t % across, panel)
    rows, columns = bottom - top, right - left
    if not rows * columns:
        return
    c, (of_a, of_b) = p.c.part(top, left), p.rooms
    room_a = At(Slot.WORKSPACE, t * room)
    share.add(
        "matrix_product", c=c, ldc=p.c.down, a=p.a.part(top, 0), lda=p.a.down, step_a=p.a.across,
        b=p.b.part(0, left), ldb=p.b.down, step_b=p.b.across,
        bias=NOWHERE if p.bias is None else p.bias + left * p.item, rows=rows, columns=columns,
        k=p.k, room_a=room_a if of_a else NOWHERE, room_b=room_a + of_a if of_b else NOWHERE,
    )  # fmt: skip
    if p.activation != "identity":
        if columns * p.item == p.c.down:
            rows, columns = 1, rows * columns  # without gaps: no vector is left half empty
        share.add(
            "activate_rows", y=c, ldy=p.c.down, slope=NOWHERE, lds=0, x=c, ldx=p.c.down,
            rows=rows, columns=columns, code=ACTIVATIONS[p.activation],
        )  # fmt: skip
