"""Kernels of one-sample steps: matrix-vector products.

With one sample a step there is nothing to reuse between samples: each row of W is read once on
the way forward and read and written once on the way back. What helps is to keep several sums in
flight, and to leave out rows whose input is zero (`sparse`).
"""

from __future__ import annotations

from functools import partial
from typing import Any

from .activations import ACTIVATIONS, SLOPES, derivative, evaluate
from .flow import const
from .optimizers import HYPER_ROW, load_hyperparameters, step_vector
from .records import record, subroutine
from .vector_math import Vec

__all__ = ["step_row", "vector_backward", "vector_forward", "vector_update"]

WIDTHS = (8, 4, 2, 1)  # vectors of one pass over W; a layer is cut greedily
_SUMS = 8  # sums in flight hide the latency of the multiply-add


@record("c x n w ldw bias code slope")
def _forward_panel(v: Vec, q: Any, width: int) -> None:
    """c = f(bias + x W), `width` vectors of it."""

    def add_row(k: Any, sums: list[Any]) -> list[Any]:
        value, row = v.splat(v.load_item(q.x, k)), v.at(q.w, k, q.ldw)
        return [v.fma(value, v.load(row, j * v.bytes), sums[j]) for j in range(width)]

    sums = v.interleaved(q.n, v.load_row(q.bias, width), max(1, _SUMS // width), add_row)
    for name in v.cases(q.code, ACTIVATIONS):
        for j, z in enumerate(sums):
            value, f_slope = evaluate(v, name, z)
            if name in SLOPES:
                v.store(f_slope, q.slope, j * v.bytes)
            v.store(value, q.c, j * v.bytes)


@record("c x n w ldw bias code slope vectors")
def vector_forward(v: Vec, q: Any) -> None:
    """c = f(bias + x W), in panels of 8 vectors and then of 4, 2 and 1."""
    b = v.b
    done = const(0)
    for width in WIDTHS:
        panel = subroutine(v, f"vector_forward_{width}", partial(_forward_panel, width=width))
        with v.loop(b.udiv(b.sub(q.vectors, done), const(width)), [done]) as (_, state):
            c, w, bias, slope = (v.at(at, state[0], v.bytes) for at in (q.c, q.w, q.bias, q.slope))
            panel(q, c=c, w=w, bias=bias, slope=slope)
            state[0] = b.add(state[0], const(width))
        (done,) = state


@record("e w ldw d vectors blocks h code")
def vector_backward(v: Vec, q: Any) -> None:
    """e = (W d) f'(z), `blocks` vectors of rows."""
    with v.each(q.blocks) as t:
        rows = v.rows(v.at(q.w, v.times(t, v.length), q.ldw), q.ldw, v.length)
        with v.loop(q.vectors, [v.c(0.0)] * v.length) as (j, sums):
            offset = v.times(j, v.bytes)
            d_j = v.load(q.d, offset)
            sums[:] = [
                v.fma(v.load(row, offset), d_j, s) for row, s in zip(rows, sums, strict=True)
            ]
        total, offset = v.sum_rows(sums), v.times(t, v.bytes)
        for name in v.cases(q.code, ACTIVATIONS):
            slope = derivative(v, name, v.load(q.h, offset))
            v.store(v.b.fmul(total, slope), q.e, offset)


@record("bias step d vectors hyper")
def step_row(v: Vec, q: Any) -> None:
    """Step the bias, where there is one, by plain gradient descent; step = -(learning_rate * scale)
    d. The hyperparameters of weights come first, then those of biases.
    """
    b, names = v.b, ["scale", "learning_rate", "l2"]
    with v.when(b.icmp_signed("!=", q.bias, const(0))):
        h = load_hyperparameters(v, v.at(q.hyper, HYPER_ROW * v.size), names)
        with v.each(q.vectors, v.bytes) as offset:
            total = b.fadd(v.c(0.0), v.load(q.d, offset))  # a sum of one, as those of batches
            step_vector(v, "sgd", h, total, v.at(q.bias, offset), [], l1=False)
    h = load_hyperparameters(v, q.hyper, names)
    factor = v.negative(b.fmul(h["scale"], h["learning_rate"]))
    with v.each(q.vectors, v.bytes) as offset:
        v.store(b.fmul(factor, v.load(q.d, offset)), q.step, offset)


@record("w ldw x n bias step d vectors hyper")
def vector_update(v: Vec, q: Any) -> None:
    """As `step_row`; then W[k] += x[k] step for k < n."""
    step_row(v, q)
    with v.each(q.n) as k:
        g, row = v.splat(v.load_item(q.x, k)), v.at(q.w, k, q.ldw)
        with v.each(q.vectors, v.bytes) as offset:
            here = v.at(row, offset)
            v.store(v.fma(g, v.load(q.step, offset), v.load(here)), here)
