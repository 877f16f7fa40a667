"""Programs of single operations over arrays as they lie: a product, and what is done to its rows.

Arrays come in slots, whose addresses are entered at every call. Each share has a part of the
result of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..emit.activations import ACTIVATIONS
from ..emit.matrix_product import COLUMN_BLOCK, K_BLOCK, PACK_A, PACK_B, ROW_BLOCK
from .operation import NOWHERE, At, Phase, Share, Slot, cut

__all__ = ["Matrix", "Product", "add_product", "rows_of"]

_ROUND = 64  # elements that rows and columns are rounded up to when they are packed


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
    """C = bias + A B, then the activation.

    `packed` are the bits of the operands that are packed, PACK_A and PACK_B; rows and columns are
    cut in as many parts as the `grid` says.
    """

    c: Matrix
    a: Matrix
    b: Matrix
    bias: At | None
    rows: int
    columns: int
    k: int
    packed: int
    grid: tuple[int, int]
    activation: str

    def room(self, item: int) -> int:
        """Return the bytes that a share packs its operands in."""
        k = _rounded(min(self.k, K_BLOCK))
        room = 0
        if self.packed & PACK_B:
            room += _rounded(min(self.columns, COLUMN_BLOCK)) * k * item
        if self.packed & PACK_A:
            room += _rounded(min(self.rows, ROW_BLOCK)) * k * item
        return room


def _rounded(n: int) -> int:
    return -(-n // _ROUND) * _ROUND


def add_product(share: Share, t: int, p: Product, item: int, unit: tuple[int, int]) -> None:
    """Add share t's part of a product; rows and columns are cut on multiples of `unit`."""
    down, across = p.grid
    if t >= down * across:
        return
    top, bottom = cut(p.rows, down, t // across, unit[0])
    left, right = cut(p.columns, across, t % across, unit[1])
    if top == bottom or left == right:
        return
    c = p.c.part(top, left)
    share.add(
        "matrix_product", c=c, ldc=p.c.down, a=p.a.part(top, 0), lda=p.a.down, step_a=p.a.across,
        b=p.b.part(0, left), ldb=p.b.down, step_b=p.b.across,
        bias=NOWHERE if p.bias is None else p.bias + left * item, rows=bottom - top,
        columns=right - left, k=p.k, packed=p.packed, room=At(Slot.WORKSPACE, t * p.room(item)),
    )  # fmt: skip
    if p.activation != "identity":
        rows, columns = bottom - top, right - left
        if columns * item == p.c.down:
            rows, columns = 1, rows * columns  # without gaps: no vector is left half empty
        share.add(
            "activate_rows", y=c, ldy=p.c.down, slope=NOWHERE, lds=0, x=c, ldx=p.c.down,
            rows=rows, columns=columns, code=ACTIVATIONS[p.activation],
        )  # fmt: skip


def rows_of(kernel: str, shares: int, rows: int, moving: dict[str, tuple[At, int]],
            **values: int | At) -> list[Phase]:  # fmt: skip
    """Return the one phase of a kernel over rows, each share with a stretch of its own.

    The kernel has a field `rows`. The values of those in `moving` move: where the first row's is,
    and the bytes to the next one's.
    """

    def build(share: Share, t: int) -> None:
        first, last = cut(rows, shares, t)
        if first == last:
            return
        places = {name: at + first * stride for name, (at, stride) in moving.items()}
        share.add(kernel, rows=last - first, **places, **values)

    return [Phase.of("rows", shares, build)]
