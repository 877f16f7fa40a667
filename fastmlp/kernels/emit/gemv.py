"""Kernels of one-sample steps: matrix-vector products.

With one sample a step there is nothing to reuse between samples: each row of W is read once on
the way forward and read and written once on the way back. What helps is to keep several sums in
flight, and to leave out rows whose input is zero (`sparse`).
"""

from __future__ import annotations

from functools import partial
from typing import Any

from .activations import SLOPES, activation_cases, derivative, evaluate
from .elementwise import over_rows
from .records import record, subroutine
from .simd import const
from .vector_math import Vec

__all__ = ["vector_backward", "vector_forward", "vector_update"]

WIDTHS = (8, 4, 2, 1)  # vectors of one pass over W; a layer is cut greedily
_SUMS = 8  # sums in flight hide the latency of the multiply-add


@record("c x n w ldw bias code slope")
def _forward_panel(v: Vec, q: Any, width: int) -> None:
    """c = f(bias + x W), `width` vectors of it."""
    b = v.b

    def add_row(k: Any, sums: list[Any]) -> list[Any]:
        value = v.splat(v.load_scalar(q.x, b.mul(k, const(v.size))))
        row = v.at(q.w, b.mul(k, q.ldw))
        return [v.fma(value, v.load(row, j * v.bytes), sums[j]) for j in range(width)]

    start = [v.load(q.bias, j * v.bytes) for j in range(width)]
    sums = v.interleaved(q.n, start, max(1, _SUMS // width), add_row)

    def finish(name: str) -> None:
        for j, z in enumerate(sums):
            value, f_slope = evaluate(v, name, z)
            if name in SLOPES:
                v.store(f_slope, q.slope, j * v.bytes)
            v.store(value, q.c, j * v.bytes)

    v.switch(q.code, activation_cases(finish))


@record("c x n w ldw bias code slope vectors")
def vector_forward(v: Vec, q: Any) -> None:
    """c = f(bias + x W), in panels of 8 vectors and then of 4, 2 and 1."""
    b = v.b
    done = const(0)
    for width in WIDTHS:
        emit = partial(_forward_panel, width=width)
        tile = subroutine(v, f"vector_forward_{width}", emit)

        def panel(_: Any, state: list[Any], width: int = width, tile: Any = tile) -> list[Any]:
            at = b.mul(state[0], const(v.bytes))
            tile(
                c=v.at(q.c, at), x=q.x, n=q.n, w=v.at(q.w, at), ldw=q.ldw, bias=v.at(q.bias, at),
                code=q.code, slope=v.at(q.slope, at),
            )  # fmt: skip
            return [b.add(state[0], const(width))]

        (done,) = v.loop(b.udiv(b.sub(q.vectors, done), const(width)), [done], panel)


@record("e w ldw d vectors blocks h code")
def vector_backward(v: Vec, q: Any) -> None:
    """e = (W d) f'(z), `blocks` vectors of rows."""
    b = v.b

    def block(t: Any) -> None:
        base = v.at(q.w, b.mul(b.mul(t, const(v.length)), q.ldw))
        rows = [v.at(base, b.mul(const(i), q.ldw)) for i in range(v.length)]

        def step(j: Any, sums: list[Any]) -> list[Any]:
            offset = b.mul(j, const(v.bytes))
            d_j = v.load(q.d, offset)
            return [v.fma(v.load(row, offset), d_j, s) for row, s in zip(rows, sums, strict=True)]

        total = v.sum_rows(v.loop(q.vectors, [v.c(0.0)] * v.length, step))
        offset = b.mul(t, const(v.bytes))

        def emit(name: str) -> None:
            slope = derivative(v, name, v.load(q.h, offset))
            v.store(b.fmul(total, slope), q.e, offset)

        v.switch(q.code, activation_cases(emit))

    over_rows(v, q.blocks, block)


@record("w ldw x n d vectors")
def vector_update(v: Vec, q: Any) -> None:
    """W[k] += x[k] d for k < n. d is a step already (`step_row`)."""
    b = v.b

    def row(k: Any) -> None:
        g = v.splat(v.load_scalar(q.x, b.mul(k, const(v.size))))
        base = v.at(q.w, b.mul(k, q.ldw))

        def column(j: Any) -> None:
            offset = b.mul(j, const(v.bytes))
            here = v.at(base, offset)
            v.store(v.fma(g, v.load(q.d, offset), v.load(here)), here)

        over_rows(v, q.vectors, column)

    over_rows(v, q.n, row)
