"""What the kernels of single operations read and write; see `footprint`."""

from __future__ import annotations

from typing import Any

__all__ = ["CALLS"]


def _matrix(m: Any, at: Any, shape: tuple[int, int], strides: tuple[int, int]) -> list[Any]:
    """Return the accesses to a matrix of any strides."""
    (rows, columns), (down, across) = shape, strides
    if across == m.item or columns <= 1:
        return m.rows(at, rows, down, columns * m.item)
    if down == m.item or rows <= 1:
        return m.rows(at, columns, across, rows * m.item)
    return [x for j in range(columns) for x in m.rows(at + j * across, rows, down, m.item)]


def _product(q: Any, m: Any) -> list[Any]:
    return [
        *m.rows(q.c, q.rows, q.ldc, q.columns * m.item, writes=True),
        *_matrix(m, q.a, (q.rows, q.k), (q.lda, q.step_a)),
        *_matrix(m, q.b, (q.k, q.columns), (q.ldb, q.step_b)),
        *m.rows(q.bias, 1, 0, q.columns * m.item),
        *(m.anywhere(q.room, writes=True) if q.packed else []),
    ]  # fmt: skip


def _activate(q: Any, m: Any) -> list[Any]:
    length = q.columns * m.item
    return [
        *m.rows(q.y, q.rows, q.ldy, length, writes=True),
        *m.rows(q.slope, q.rows, q.lds, length, writes=True),
        *m.rows(q.x, q.rows, q.ldx, length),
    ]  # fmt: skip


def _optimizer(q: Any, m: Any) -> list[Any]:
    """The items; the arrays are where these say."""
    return m.anywhere(q.items)


def _finite(q: Any, m: Any) -> list[Any]:
    numbers = q.rows, q.columns, q.ldx, q.step
    looked_at = m.anywhere(q.x)  # what a run is told
    if all(isinstance(number, int) for number in numbers):
        looked_at = _matrix(m, q.x, numbers[:2], numbers[2:])
    return [*m.rows(q.found, 1, 0, 8, writes=True), *looked_at]


CALLS = {
    "matrix_product": _product, "activate_rows": _activate, "optimizer_items": _optimizer,
    "finite": _finite,
}  # fmt: skip
