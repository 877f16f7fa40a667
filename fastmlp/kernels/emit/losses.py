"""Kernels of the last layer: outputs from logits, losses, and their deltas.

Arguments are addresses and strides in bytes, outputs first. Lanes beyond a row's length never
reach a result. A network's rows are padded to whole vectors; of rows that are not (`padded` is
false) nothing beyond their end is touched.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from .elementwise import over_rows, sample_number, to_f64, vector_count
from .records import record
from .simd import F64, I64, const, ir
from .vector_math import RowVec, Vec

__all__ = [
    "ELEMENTWISE",
    "OUTPUTS",
    "elementwise_loss",
    "output",
    "softmax_labels",
    "softmax_targets",
]

OUTPUTS = {"identity": 0, "sigmoid": 1, "softmax": 2}
# (output, loss) -> code of the elementwise losses
ELEMENTWISE = {
    ("sigmoid", "binary_cross_entropy"): 0,
    ("sigmoid", "squared_error"): 1,
    ("sigmoid", "absolute_error"): 2,
    ("sigmoid", "huber"): 3,
    ("identity", "squared_error"): 4,
    ("identity", "absolute_error"): 5,
    ("identity", "huber"): 6,
    ("identity", "poisson"): 7,
}


def _weight(v: Vec, weight: Any, sample: Any) -> Any:
    """Return the sample's weight in the network's dtype; 1 where there are no weights."""

    def given() -> list[Any]:
        w = v.load_scalar(weight, v.b.shl(sample, const(3)), F64)
        return [w if v.size == 8 else v.b.fptrunc(w, v.scalar)]

    none = v.b.icmp_signed("==", weight, const(0))
    return v.choose(none, lambda: [ir.Constant(v.scalar, 1.0)], given)[0]


def _active(v: Vec, n: Any, j: Any) -> Any:
    """Return the mask of lanes of vector j that lie below n."""
    return v.lanes_below(v.b.sub(n, v.b.mul(j, const(v.length))))


def _row_maximum(v: Vec, z: Any, n: Any) -> Any:
    """Return the largest of n elements, in every lane."""
    low = v.c(float("-inf"))

    def larger(j: Any, state: list[Any]) -> list[Any]:
        x = v.load(z, v.b.mul(j, const(v.bytes)))
        return [v.max(v.b.select(_active(v, n, j), x, low), state[0])]

    return v.reduce(v.loop(vector_count(v, n), [low], larger)[0], v.max)


def _exp_row(v: Vec, d: Any, z: Any, n: Any) -> tuple[Any, Any]:
    """Write exp(z - max z) to d, 0 beyond n; return the maximum and the sum, in every lane."""
    b = v.b
    nv, top = vector_count(v, n), _row_maximum(v, z, n)

    def add_exp(j: Any, state: list[Any]) -> list[Any]:
        offset = b.mul(j, const(v.bytes))
        e = v.exp(b.fsub(v.load(z, offset), top))
        e = b.select(_active(v, n, j), e, v.c(0.0))
        v.store(e, d, offset)
        return [b.fadd(state[0], e)]

    total = v.reduce(v.loop(nv, [v.c(0.0)], add_exp)[0], v.b.fadd)
    return top, total


def _scale_row(v: Vec, row: Any, n: Any, factor: Any) -> None:
    def body(j: Any) -> None:
        offset = v.b.mul(j, const(v.bytes))
        v.store(v.b.fmul(v.load(row, offset), factor), row, offset)

    over_rows(v, vector_count(v, n), body)


def _first_maximum(v: Vec, z: Any, n: Any, top: Any) -> Any:
    """Return the number of the first of n elements that equals `top` (0 with NaN about)."""
    bound = v.first(top)

    def step(i: Any, state: list[Any]) -> list[Any]:
        j = v.b.sub(v.b.sub(n, const(1)), i)
        x = v.load_scalar(z, v.b.mul(j, const(v.size)))
        return [v.b.select(v.b.fcmp_ordered("==", x, bound), j, state[0])]

    return v.loop(n, [const(0)], step)[0]


def _row_vectors(v: Vec, n: Any, padded: bool) -> Vec:
    return v if padded else RowVec(v, n)


@record("d loss correct z ldz y order weight n rows")
def softmax_labels(v: Vec, q: Any, padded: bool = True) -> None:
    """d = w (softmax(z) - onehot(y)).

    d is strided as z. `loss` (float64) gets w (log sum exp(z - m) - (z_y - m)) of each row,
    `correct` (int64) whether the first largest logit is the label's.
    """
    v = _row_vectors(v, q.n, padded)
    b = v.b

    def body(r: Any) -> None:
        shift = b.mul(r, q.ldz)
        z_r, d_r, slot = v.at(q.z, shift), v.at(q.d, shift), b.shl(r, const(3))
        top, total = _exp_row(v, d_r, z_r, q.n)
        sample = sample_number(v, q.order, r)
        w = _weight(v, q.weight, sample)
        label = v.load_scalar(q.y, b.shl(sample, const(3)), I64)
        at_label = b.mul(label, const(v.size))
        distance = b.fsub(v.load_scalar(z_r, at_label), v.first(top))
        cost = b.fmul(w, b.fsub(v.first(v.log(total)), distance))
        v.store_scalar(to_f64(v, cost), q.loss, slot)
        hit = b.icmp_signed("==", _first_maximum(v, z_r, q.n, top), label)
        v.store_scalar(b.zext(hit, I64), q.correct, slot)
        _scale_row(v, d_r, q.n, b.fdiv(v.splat(w), total))
        v.store_scalar(b.fsub(v.load_scalar(d_r, at_label), w), d_r, at_label)

    over_rows(v, q.rows, body)


@record("d loss correct z ldz t ldt order weight n rows")
def softmax_targets(v: Vec, q: Any, padded: bool = True) -> None:
    """d = w (softmax(z) - t), t rows that sum to 1. As softmax_labels; t is padded with zeros to
    whole vectors.
    """
    v = _row_vectors(v, q.n, padded)
    b = v.b

    def body(r: Any) -> None:
        shift = b.mul(r, q.ldz)
        z_r, d_r, slot = v.at(q.z, shift), v.at(q.d, shift), b.shl(r, const(3))
        top, total = _exp_row(v, d_r, z_r, q.n)
        sample = sample_number(v, q.order, r)
        w = v.splat(_weight(v, q.weight, sample))
        t_r = v.at(q.t, b.mul(sample, q.ldt))
        inverse, log_total = b.fdiv(v.c(1.0), total), v.log(total)

        def step(j: Any, state: list[Any]) -> list[Any]:
            offset = b.mul(j, const(v.bytes))
            target, p = v.load(t_r, offset), b.fmul(v.load(d_r, offset), inverse)
            surprise = b.fsub(log_total, b.fsub(v.load(z_r, offset), top))
            wanted = b.fcmp_unordered("!=", target, v.c(0.0))
            term = b.select(wanted, b.fmul(target, surprise), v.c(0.0))
            v.store(b.fmul(w, b.fsub(p, target)), d_r, offset)
            return [b.fadd(state[0], term)]

        cost = v.reduce(v.loop(vector_count(v, q.n), [v.c(0.0)], step)[0], b.fadd)
        v.store_scalar(to_f64(v, v.first(b.fmul(w, cost))), q.loss, slot)
        wanted = _first_maximum(v, t_r, q.n, _row_maximum(v, t_r, q.n))
        hit = b.icmp_signed("==", _first_maximum(v, z_r, q.n, top), wanted)
        v.store_scalar(b.zext(hit, I64), q.correct, slot)

    over_rows(v, q.rows, body)


def _huber(v: Vec, r: Any) -> tuple[Any, Any]:
    size = v.intrinsic("fabs", [r])
    near = v.b.fcmp_ordered("<=", size, v.c(1.0))
    quadratic = v.b.fmul(v.b.fmul(v.c(0.5), r), r)
    value = v.b.select(near, quadratic, v.b.fsub(size, v.c(0.5)))
    return value, v.max(v.min(r, v.c(1.0)), v.c(-1.0))


def _absolute(v: Vec, r: Any) -> tuple[Any, Any]:
    sign = v.b.select(v.greater(r, v.c(0.0)), v.c(1.0), r)
    return v.intrinsic("fabs", [r]), v.b.select(v.b.fcmp_ordered("<", r, v.c(0.0)), v.c(-1.0), sign)


def _squared(v: Vec, r: Any) -> tuple[Any, Any]:
    return v.b.fmul(v.b.fmul(v.c(0.5), r), r), r


def _loss_and_delta(v: Vec, output: str, loss: str, z: Any, t: Any) -> tuple[Any, Any]:
    """Return an element's loss and its derivative by the logit z."""
    b = v.b
    if loss == "binary_cross_entropy":
        value = b.fsub(v.max(z, v.c(0.0)), b.fmul(z, t))
        return b.fadd(value, v.log1p_exp_negative(z)), b.fsub(v.sigmoid(z), t)
    if loss == "poisson":
        rate = v.exp(z)
        return b.fsub(rate, b.fmul(t, z)), b.fsub(rate, t)
    a = v.sigmoid(z) if output == "sigmoid" else z
    rule = {"squared_error": _squared, "absolute_error": _absolute, "huber": _huber}[loss]
    value, slope = rule(v, b.fsub(a, t))
    if output == "sigmoid":
        slope = b.fmul(slope, b.fmul(a, b.fsub(v.c(1.0), a)))
    return value, slope


def _sides_differ(v: Vec, z: Any, t: Any) -> Any:
    positive = v.b.fcmp_ordered(">", z, v.c(0.0))
    return v.b.xor(positive, v.b.fcmp_ordered(">", t, v.c(0.5)))


@record("d loss correct z ldz t ldt order weight n rows code")
def elementwise_loss(v: Vec, q: Any, padded: bool = True) -> None:
    """d = w dL/dz of a loss summed over outputs. d is strided as z; `loss` (float64) gets each
    row's, `correct` (int64) whether every output is on the target's side of one half (z > 0).
    """
    v = _row_vectors(v, q.n, padded)
    b = v.b

    def of_pair(output: str, name: str) -> None:
        def body(r: Any) -> None:
            shift = b.mul(r, q.ldz)
            sample = sample_number(v, q.order, r)
            w = v.splat(_weight(v, q.weight, sample))
            t_r = v.at(q.t, b.mul(sample, q.ldt))
            z_r, d_r = v.at(q.z, shift), v.at(q.d, shift)

            def step(j: Any, state: list[Any]) -> list[Any]:
                offset = b.mul(j, const(v.bytes))
                active, z, t = _active(v, q.n, j), v.load(z_r, offset), v.load(t_r, offset)
                value, slope = _loss_and_delta(v, output, name, z, t)
                slope = b.select(active, b.fmul(w, slope), v.c(0.0))
                v.store(slope, d_r, offset)
                wrong = b.and_(active, _sides_differ(v, z, t))
                return [
                    b.fadd(state[0], b.select(active, value, v.c(0.0))),
                    b.select(wrong, v.c(1.0), state[1]),
                ]

            start = [v.c(0.0), v.c(0.0)]
            cost, wrong = v.loop(vector_count(v, q.n), start, step)
            cost, slot = v.reduce(cost, b.fadd), b.shl(r, const(3))
            v.store_scalar(to_f64(v, v.first(b.fmul(w, cost))), q.loss, slot)
            none = b.fcmp_ordered("==", v.first(v.reduce(wrong, v.max)), v.scalar(0.0))
            v.store_scalar(b.zext(none, I64), q.correct, slot)

        over_rows(v, q.rows, body)

    cases = {}
    for (output, name), number in ELEMENTWISE.items():
        cases[number] = partial(of_pair, output, name)
    v.switch(q.code, cases)


@record("out ldo z ldz n rows code")
def output(v: Vec, q: Any, padded: bool = True) -> None:
    """Write the outputs of logits to `out`, whose rows are exactly n long. Padded logits become
    outputs in place first; others may be where `out` is.
    """
    v = _row_vectors(v, q.n, padded)
    b = v.b

    def finish(name: str) -> None:
        def body(r: Any) -> None:
            z_r, out_r = v.at(q.z, b.mul(r, q.ldz)), v.at(q.out, b.mul(r, q.ldo))
            row = z_r if padded else out_r
            if name == "softmax":
                _, total = _exp_row(v, row, z_r, q.n)
                _scale_row(v, row, q.n, b.fdiv(v.c(1.0), total))
            elif name == "sigmoid" or not padded:

                def step(j: Any) -> None:
                    offset = b.mul(j, const(v.bytes))
                    z = v.load(z_r, offset)
                    v.store(v.sigmoid(z) if name == "sigmoid" else z, row, offset)

                over_rows(v, vector_count(v, q.n), step)
            if padded:

                def copy(i: Any) -> None:
                    offset = b.mul(i, const(v.size))
                    v.store_scalar(v.load_scalar(row, offset), out_r, offset)

                over_rows(v, q.n, copy)

        over_rows(v, q.rows, body)

    v.switch(q.code, {number: partial(finish, name) for name, number in OUTPUTS.items()})
