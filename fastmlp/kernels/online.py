"""Kernels of one-sample steps: matrix-vector products.

With one sample a step there is nothing to reuse between samples: each row of W is read once on
the way forward and read and written once on the way back. What helps is to keep several sums in
flight, and to leave out rows whose input is zero (`sparse`).
"""

from __future__ import annotations

from typing import Any

from ._simd import const
from .activations import SLOPES, activation_cases, derivative, evaluate
from .vector_math import Vec

__all__ = ["WIDTHS", "vector_backward", "vector_forward", "vector_update"]

WIDTHS = (8, 4, 2, 1)  # vectors of one pass over W; a layer is cut greedily
_SUMS = 8  # sums in flight hide the latency of the multiply-add


def vector_forward(v: Vec, width: int, args: list[Any]) -> None:
    """c = f(bias + x W), `width` vectors of it: (c, x, n, w, ldw, bias, code, slope).

    The sums run over several interleaved sets, combined in a fixed order.
    """
    c, x, n, w, ldw, bias, code, slope = args
    b = v.b
    sets = max(1, _SUMS // width)

    def add_row(k: Any, sums: list[Any]) -> list[Any]:
        value = v.splat(v.load_scalar(x, b.mul(k, const(v.size))))
        row = v.at(w, b.mul(k, ldw))
        return [v.fma(value, v.load(row, j * v.bytes), sums[j]) for j in range(width)]

    def several(t: Any, sums: list[Any]) -> list[Any]:
        new = []
        for u in range(sets):
            at = b.add(b.mul(t, const(sets)), const(u))
            new += add_row(at, sums[u * width : (u + 1) * width])
        return new

    whole = b.udiv(n, const(sets))
    start = [v.load(bias, j * v.bytes) for j in range(width)]
    start += [v.c(0.0)] * (width * (sets - 1))
    sums = v.loop(whole, start, several)
    while len(sums) > width:
        half = len(sums) // 2
        sums = [b.fadd(p, q) for p, q in zip(sums[:half], sums[half:], strict=True)]
    done = b.mul(whole, const(sets))
    sums = v.loop(b.sub(n, done), sums, lambda t, s: add_row(b.add(done, t), s))

    def finish(name: str) -> None:
        for j, z in enumerate(sums):
            value, f_slope = evaluate(v, name, z)
            if name in SLOPES:
                v.store(f_slope, slope, j * v.bytes)
            v.store(value, c, j * v.bytes)

    v.switch(code, activation_cases(finish))


def vector_backward(v: Vec, args: list[Any]) -> None:
    """e = (W d) f'(z): (e, w, ldw, d, vectors, blocks, h, code), `blocks` vectors of rows."""
    e, w, ldw, d, vectors, blocks, h, code = args
    b = v.b

    def block(t: Any, _: list[Any]) -> list[Any]:
        base = v.at(w, b.mul(b.mul(t, const(v.length)), ldw))
        rows = [v.at(base, b.mul(const(i), ldw)) for i in range(v.length)]

        def step(j: Any, sums: list[Any]) -> list[Any]:
            offset = b.mul(j, const(v.bytes))
            d_j = v.load(d, offset)
            return [v.fma(v.load(row, offset), d_j, s) for row, s in zip(rows, sums, strict=True)]

        total = v.sum_rows(v.loop(vectors, [v.c(0.0)] * v.length, step))
        offset = b.mul(t, const(v.bytes))

        def emit(name: str) -> None:
            slope = derivative(v, name, v.load(h, offset))
            v.store(b.fmul(total, slope), e, offset)

        v.switch(code, activation_cases(emit))
        return []

    v.loop(blocks, [], block)


def vector_update(v: Vec, args: list[Any]) -> None:
    """W[k] += x[k] d for k < n: (w, ldw, x, n, d, vectors). d is a step already (`step_row`)."""
    w, ldw, x, n, d, vectors = args
    b = v.b

    def row(k: Any, _: list[Any]) -> list[Any]:
        g = v.splat(v.load_scalar(x, b.mul(k, const(v.size))))
        base = v.at(w, b.mul(k, ldw))

        def column(j: Any, _: list[Any]) -> list[Any]:
            offset = b.mul(j, const(v.bytes))
            here = v.at(base, offset)
            v.store(v.fma(g, v.load(d, offset), v.load(here)), here)
            return []

        v.loop(vectors, [], column)
        return []

    v.loop(n, [], row)
