"""Kernels of the last layer: outputs from logits, losses, and their deltas.

Arguments are addresses and strides in bytes, outputs first. Lanes beyond a row's length never
reach a result. A network's rows are padded to whole vectors; of rows that are not (`padded` is
false) nothing beyond their end is touched.
"""

from __future__ import annotations

from typing import Any

from .flow import F64, I64, const
from .records import record
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


def _active(v: Vec, n: Any, j: Any) -> Any:
    """Return the mask of lanes of vector j that lie below n."""
    return v.lanes_below(v.b.sub(n, v.times(j, v.length)))


def _row_maximum(v: Vec, z: Any, n: Any) -> Any:
    """Return the largest of n elements, in every lane."""
    low = v.c(float("-inf"))
    with v.loop(v.ceil(n, v.length), [low]) as (j, top):
        x = v.load(z, v.times(j, v.bytes))
        top[0] = v.max(v.b.select(_active(v, n, j), x, low), top[0])
    return v.reduce(top[0], v.max)


def _exp_row(v: Vec, d: Any, z: Any, n: Any) -> tuple[Any, Any]:
    """Write exp(z - max z) to d, 0 beyond n; return the maximum and the sum, in every lane."""
    top = _row_maximum(v, z, n)
    with v.loop(v.ceil(n, v.length), [v.c(0.0)]) as (j, total):
        offset = v.times(j, v.bytes)
        e = v.exp(v.b.fsub(v.load(z, offset), top))
        e = v.b.select(_active(v, n, j), e, v.c(0.0))
        v.store(e, d, offset)
        total[0] = v.b.fadd(total[0], e)
    return top, v.reduce(total[0], v.b.fadd)


def _scale_row(v: Vec, row: Any, n: Any, factor: Any) -> None:
    with v.each(v.ceil(n, v.length), v.bytes) as offset:
        v.store(v.b.fmul(v.load(row, offset), factor), row, offset)


def _first_maximum(v: Vec, z: Any, n: Any, top: Any) -> Any:
    """Return the number of the first of n elements that equals `top` (0 with NaN about)."""
    bound = v.first(top)
    with v.loop(n, [const(0)]) as (i, found):
        j = v.b.sub(v.b.sub(n, const(1)), i)
        found[0] = v.b.select(v.b.fcmp_ordered("==", v.load_item(z, j), bound), j, found[0])
    return found[0]


def _row_vectors(v: Vec, n: Any, padded: bool) -> Vec:
    return v if padded else RowVec(v, n)


class _Row:
    """A row of logits whose loss is wanted, by its number; the kernels' records have its fields."""

    def __init__(self, v: Vec, q: Any, r: Any) -> None:
        self.v, self.q, self.r = v, q, r
        self.z, self.d = v.at(q.z, r, q.ldz), v.at(q.d, r, q.ldz)
        self.sample = v.load_item(q.order, r, I64)

    def targets(self) -> Any:
        """Return where the sample's row of t begins."""
        return self.v.at(self.q.t, self.sample, self.q.ldt)

    def weight(self) -> Any:
        """Return the sample's weight in the network's dtype; 1 where there are no weights."""
        v = self.v

        def given() -> list[Any]:
            return [v.cast(v.load_item(self.q.weight, self.sample, F64), v.scalar)]

        none = v.b.icmp_signed("==", self.q.weight, const(0))
        return v.choose(none, lambda: [v.scalar(1.0)], given)[0]

    def note(self, cost: Any, hit: Any) -> None:
        """Write the row's loss, and whether it was right."""
        v = self.v
        v.store_item(v.cast(cost, F64), self.q.loss, self.r)
        v.store_item(v.b.zext(hit, I64), self.q.correct, self.r)


@record("d loss correct z ldz y order weight n rows")
def softmax_labels(v: Vec, q: Any, padded: bool = True) -> None:
    """d = w (softmax(z) - onehot(y)).

    d is strided as z. `loss` (float64) gets w (log sum exp(z - m) - (z_y - m)) of each row,
    `correct` (int64) whether the first largest logit is the label's.
    """
    v = _row_vectors(v, q.n, padded)
    b = v.b
    with v.each(q.rows) as r:
        row = _Row(v, q, r)
        top, total = _exp_row(v, row.d, row.z, q.n)
        w, label = row.weight(), v.load_item(q.y, row.sample, I64)
        distance = b.fsub(v.load_item(row.z, label), v.first(top))
        cost = b.fmul(w, b.fsub(v.first(v.log(total)), distance))
        row.note(cost, b.icmp_signed("==", _first_maximum(v, row.z, q.n, top), label))
        _scale_row(v, row.d, q.n, b.fdiv(v.splat(w), total))
        v.store_item(b.fsub(v.load_item(row.d, label), w), row.d, label)


@record("d loss correct z ldz t ldt order weight n rows")
def softmax_targets(v: Vec, q: Any, padded: bool = True) -> None:
    """d = w (softmax(z) - t), t rows that sum to 1. As softmax_labels; t is padded with zeros to
    whole vectors.
    """
    v = _row_vectors(v, q.n, padded)
    b = v.b
    with v.each(q.rows) as r:
        row = _Row(v, q, r)
        top, total = _exp_row(v, row.d, row.z, q.n)
        w, t = v.splat(row.weight()), row.targets()
        inverse, log_total = b.fdiv(v.c(1.0), total), v.log(total)
        with v.loop(v.ceil(q.n, v.length), [v.c(0.0)]) as (j, state):
            offset = v.times(j, v.bytes)
            target, p = v.load(t, offset), b.fmul(v.load(row.d, offset), inverse)
            surprise = b.fsub(log_total, b.fsub(v.load(row.z, offset), top))
            wanted = b.fcmp_unordered("!=", target, v.c(0.0))
            term = b.select(wanted, b.fmul(target, surprise), v.c(0.0))
            v.store(b.fmul(w, b.fsub(p, target)), row.d, offset)
            state[0] = b.fadd(state[0], term)
        cost = v.reduce(state[0], b.fadd)
        wanted = _first_maximum(v, t, q.n, _row_maximum(v, t, q.n))
        hit = b.icmp_signed("==", _first_maximum(v, row.z, q.n, top), wanted)
        row.note(v.first(b.fmul(w, cost)), hit)


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
    for output, name in v.cases(q.code, ELEMENTWISE):
        with v.each(q.rows) as r:
            row = _Row(v, q, r)
            w, t_r = v.splat(row.weight()), row.targets()
            with v.loop(v.ceil(q.n, v.length), [v.c(0.0), v.c(0.0)]) as (j, state):
                offset = v.times(j, v.bytes)
                active, z, t = _active(v, q.n, j), v.load(row.z, offset), v.load(t_r, offset)
                value, slope = _loss_and_delta(v, output, name, z, t)
                slope = b.select(active, b.fmul(w, slope), v.c(0.0))
                v.store(slope, row.d, offset)
                wrong = b.and_(active, _sides_differ(v, z, t))
                state[:] = [
                    b.fadd(state[0], b.select(active, value, v.c(0.0))),
                    b.select(wrong, v.c(1.0), state[1]),
                ]
            cost, wrong = v.reduce(state[0], b.fadd), v.reduce(state[1], v.max)
            none = b.fcmp_ordered("==", v.first(wrong), v.scalar(0.0))
            row.note(v.first(b.fmul(w, cost)), none)


@record("out ldo z ldz n rows code")
def output(v: Vec, q: Any, padded: bool = True) -> None:
    """Write the outputs of logits to `out`, whose rows are exactly n long. Padded logits become
    outputs in place first; others may be where `out` is.
    """
    v = _row_vectors(v, q.n, padded)
    for name in v.cases(q.code, OUTPUTS):
        with v.each(q.rows) as r:
            z_r, out_r = v.at(q.z, r, q.ldz), v.at(q.out, r, q.ldo)
            row = z_r if padded else out_r
            if name == "softmax":
                _, total = _exp_row(v, row, z_r, q.n)
                _scale_row(v, row, q.n, v.b.fdiv(v.c(1.0), total))
            elif name == "sigmoid" or not padded:
                with v.each(v.ceil(q.n, v.length), v.bytes) as offset:
                    z = v.load(z_r, offset)
                    v.store(v.sigmoid(z) if name == "sigmoid" else z, row, offset)
            if padded:
                with v.each(q.n) as i:
                    v.store_item(v.load_item(row, i), out_r, i)
