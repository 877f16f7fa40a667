"""The dense tile: C[MR, NV vectors] = sum_k A[i, k] B[k, j], held in registers, and its epilogues.

Three kernels share one loop. They differ in where the sums begin and in what happens to the
accumulators before they are stored: bias and activation (forward), the activation's derivative
(backward), the optimizer's step (update). Every sum runs over k in ascending order, so a result
depends neither on the tile it fell into nor on the number of threads.

Arguments are addresses and strides in bytes, outputs first. Rows are padded to whole vectors and
buffers to 16 rows, so a tile never reads or writes outside of them; padding columns stay zero
because the weights' padding is zero.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ._simd import const
from .vector_math import LEAKY_SLOPE, Vec

__all__ = [
    "ACTIVATIONS",
    "ADD",
    "HYPERPARAMETERS",
    "OPTIMIZERS",
    "SLOPES",
    "STORE",
    "apply_optimizer",
    "tile_backward",
    "tile_forward",
    "tile_update",
    "whole_gradient",
]

STORE, ADD = 90, 91  # the sums themselves: written to, or added to, a gradient

# The codes that drivers pass; `slope` activations also store their derivative.
ACTIVATIONS = {
    "identity": 0, "sigmoid": 1, "tanh": 2, "relu": 3, "leaky_relu": 4,
    "elu": 5, "gelu": 6, "silu": 7, "softplus": 8,
}  # fmt: skip
SLOPES = frozenset({"elu", "gelu", "silu", "softplus"})

OPTIMIZERS = {"sgd": 0, "momentum": 1, "nesterov": 2, "adagrad": 3, "rmsprop": 4, "adam": 5}

# One row of these, in the network's dtype, per step and kind of parameter (weights, biases).
HYPERPARAMETERS = (
    "scale", "learning_rate", "l2", "momentum", "beta_1", "one_minus_beta_1", "beta_2",
    "one_minus_beta_2", "epsilon", "correction_1", "correction_2", "decay", "l1",
)  # fmt: skip

_LINE = 64  # bytes of a cache line
_REGISTERS = {64: 32, 32: 16, 16: 16}  # vector registers there are at least, by their bytes
_SECOND_LEVEL = 2  # of prefetch: into the second-level cache only

Tile = list[list[Any]]


def _row_addresses(v: Vec, base: Any, stride: Any, rows: int) -> list[Any]:
    return [v.at(base, v.b.mul(const(i), stride)) for i in range(rows)]


def _accumulate(
    v: Vec, init: Tile, a: Any, row_step: Any, k_step: Any, b: Any, ldb: Any, k: Any,
    ahead: bool = False,
) -> Tile:  # fmt: skip
    """Emit the loop: init[i][j] + sum over k of A[i, k] B[k, j].

    With `ahead` the vectors right of B's, which the next panel begins with, are asked for: B's
    rows are too far apart for the processor to foresee them.
    """
    rows, vectors = len(init), len(init[0])
    offsets = [v.b.mul(const(i), row_step) for i in range(rows)]

    def step(_: Any, state: list[Any]) -> list[Any]:
        a_k, b_k, sums = state[0], state[1], state[2:]
        panel = [v.load(b_k, j * v.bytes) for j in range(vectors)]
        if ahead:
            for line in range(0, vectors * v.bytes, _LINE):
                v.prefetch(b_k, vectors * v.bytes + line, locality=_SECOND_LEVEL)
        new = []
        for i in range(rows):
            x = v.splat(v.load_scalar(v.at(a_k, offsets[i])))
            new += [v.fma(x, panel[j], sums[i * vectors + j]) for j in range(vectors)]
        return [v.at(a_k, k_step), v.at(b_k, ldb), *new]

    flat = [x for row in init for x in row]
    room = len(flat) + vectors + 1 < _REGISTERS[v.bytes]
    sums = v.loop(k, [a, b, *flat], step, unroll=room)[2:]
    return [sums[i * vectors : (i + 1) * vectors] for i in range(rows)]


def _store(v: Vec, tile: Tile, addresses: list[Any], value: Callable[[Any, int, int], Any]) -> None:
    for i, row in enumerate(tile):
        for j, x in enumerate(row):
            v.store(value(x, i, j), addresses[i], j * v.bytes)


def tile_forward(v: Vec, rows: int, vectors: int, args: list[Any]) -> None:
    """c = f(a W + b): (c, ldc, a, lda, w, ldw, k, bias, code, slope).

    The sums start at the bias row. `code` is the activation's; `slope`, strided as c, takes f'(z)
    of the SLOPES activations.
    """
    c, ldc, a, lda, w, ldw, k, bias, code, slope = args
    out = _row_addresses(v, c, ldc, rows)
    init = [[v.load(bias, j * v.bytes) for j in range(vectors)]] * rows
    tile = _accumulate(v, init, a, lda, const(v.size), w, ldw, k, ahead=True)

    def plain(name: str) -> Callable[[], None]:
        return lambda: _store(v, tile, out, lambda x, i, j: getattr(v, name)(x))

    def with_slope(name: str) -> Callable[[], None]:
        def emit() -> None:
            slopes = _row_addresses(v, slope, ldc, rows)
            for i, row in enumerate(tile):
                for j, z in enumerate(row):
                    value, derivative = getattr(v, name)(z)
                    v.store(value, out[i], j * v.bytes)
                    v.store(derivative, slopes[i], j * v.bytes)

        return emit

    cases = {
        number: with_slope(name) if name in SLOPES else plain(name)
        for name, number in ACTIVATIONS.items()
    }
    v.switch(code, cases)


def derivative(v: Vec, name: str, a: Any) -> Any:
    """Return f' from what the forward pass kept: the value, or for SLOPES f' itself."""
    b, one = v.b, v.c(1.0)
    if name == "identity":
        return one
    if name == "sigmoid":
        return b.fmul(a, b.fsub(one, a))
    if name == "tanh":
        return b.fsub(one, b.fmul(a, a))
    if name == "relu":
        return b.select(v.greater(a, v.c(0.0)), one, v.c(0.0))
    if name == "leaky_relu":
        return b.select(v.greater(a, v.c(0.0)), one, v.c(LEAKY_SLOPE))
    return a


def derivative_cases(v: Vec, emit: Callable[[str], None]) -> dict[int, Callable[[], None]]:
    """Return the switch over activations; all SLOPES share what is emitted for one."""
    cases: dict[int, Callable[[], None]] = {}
    for name, number in ACTIVATIONS.items():
        cases[number] = partial(emit, name)
    return cases


def tile_backward(v: Vec, rows: int, vectors: int, args: list[Any]) -> None:
    """e = (d W^T) f'(z): (e, lde, d, ldd, wt, ldwt, k, h, code).

    `h` holds the layer's activations, or f'(z) for the SLOPES activations, strided as e.
    """
    e, lde, d, ldd, wt, ldwt, k, h, code = args
    out = _row_addresses(v, e, lde, rows)
    kept = _row_addresses(v, h, lde, rows)
    zero = [[v.c(0.0)] * vectors] * rows
    tile = _accumulate(v, zero, d, ldd, const(v.size), wt, ldwt, k, ahead=True)

    def emit(name: str) -> None:
        if name == "identity":
            _store(v, tile, out, lambda x, i, j: x)
            return
        _store(
            v, tile, out,
            lambda x, i, j: v.b.fmul(x, derivative(v, name, v.load(kept[i], j * v.bytes))),
        )  # fmt: skip

    v.switch(code, derivative_cases(v, emit))


def _hyperparameters(v: Vec, address: Any) -> dict[str, Any]:
    return {
        name: v.splat(v.load_scalar(address, i * v.size)) for i, name in enumerate(HYPERPARAMETERS)
    }


def whole_gradient(v: Vec, h: dict[str, Any], total: Any, x: Any, l1: bool) -> Any:
    """Return scale * total + l2 * x, and with `l1` + l1 * sign(x)."""
    g = v.fma(h["l2"], x, v.b.fmul(h["scale"], total))
    if not l1:
        return g
    zero = v.c(0.0)
    signed = v.b.select(v.greater(x, zero), h["l1"], v.negative(h["l1"]))
    return v.b.fadd(g, v.b.select(v.b.fcmp_ordered("==", x, zero), zero, signed))


def apply_optimizer(
    v: Vec,
    name: str,
    h: dict[str, Any],
    total: Any,
    w: Any,
    state: Any,
    offset: int = 0,
    l1: bool = False,
) -> None:
    """Emit one vector's step: the whole gradient, then the rule of `name`.

    The state arrays lie `state` and 2 * `state` bytes behind the parameter.
    """
    b = v.b
    x = v.load(w, offset)
    g = whole_gradient(v, h, total, x, l1)
    first = v.at(w, state)

    if name == "sgd":
        v.store(v.fma(v.negative(h["learning_rate"]), g, x), w, offset)
    elif name in ("momentum", "nesterov"):
        step = b.fmul(h["learning_rate"], g)
        velocity = b.fsub(b.fmul(h["momentum"], v.load(first, offset)), step)
        v.store(velocity, first, offset)
        if name == "nesterov":
            velocity = b.fsub(b.fmul(h["momentum"], velocity), step)
        v.store(b.fadd(x, velocity), w, offset)
    elif name in ("adagrad", "rmsprop"):
        square = v.load(first, offset)
        if name == "adagrad":
            square = v.fma(g, g, square)
        else:
            kept = b.fmul(h["beta_2"], square)
            square = v.fma(b.fmul(h["one_minus_beta_2"], g), g, kept)
        v.store(square, first, offset)
        root = b.fadd(v.intrinsic("sqrt", [square]), h["epsilon"])
        v.store(b.fsub(x, b.fdiv(b.fmul(h["learning_rate"], g), root)), w, offset)
    elif name == "adam":
        second = v.at(first, state)
        m = v.fma(h["one_minus_beta_1"], g, b.fmul(h["beta_1"], v.load(first, offset)))
        kept = b.fmul(h["beta_2"], v.load(second, offset))
        u = v.fma(b.fmul(h["one_minus_beta_2"], g), g, kept)
        v.store(m, first, offset)
        v.store(u, second, offset)
        root = v.intrinsic("sqrt", [b.fmul(u, h["correction_2"])])
        step = b.fmul(h["learning_rate"], b.fmul(m, h["correction_1"]))
        step = b.fdiv(step, b.fadd(root, h["epsilon"]))
        v.store(b.fsub(b.fmul(x, h["decay"]), step), w, offset)
    else:
        raise ValueError(f"no optimizer named {name!r}")


def update_cases(
    v: Vec,
    sums: Callable[[Callable[[Any, Any, int], None]], None],
    state: Any,
    hyper: Any,
    l1: bool = False,
) -> dict[int, Callable[[], None]]:
    """Return the switch over what becomes of gradient sums; `sums` visits (sum, row, offset)."""

    def rule(name: str) -> Callable[[], None]:
        def emit() -> None:
            h = _hyperparameters(v, hyper)
            sums(lambda x, row, offset: apply_optimizer(v, name, h, x, row, state, offset, l1))

        return emit

    def store() -> None:
        sums(lambda x, row, offset: v.store(x, row, offset))

    def add() -> None:
        sums(lambda x, row, offset: v.store(v.b.fadd(x, v.load(row, offset)), row, offset))

    return {STORE: store, ADD: add, **{code: rule(name) for name, code in OPTIMIZERS.items()}}


def tile_update(v: Vec, rows: int, vectors: int, args: list[Any]) -> None:
    """dW = A^T delta over k samples, then the optimizer: (w, ldw, a, lda, d, ldd, k, code,
    state, hyper).

    With STORE or ADD `w` is the gradient's own address. MR consecutive columns of A are the
    tile's rows; `lda` and `ldd` step from sample to sample.
    """
    w, ldw, a, lda, d, ldd, k, code, state, hyper = args
    out = _row_addresses(v, w, ldw, rows)
    zero = [[v.c(0.0)] * vectors for _ in range(rows)]
    for address in out:
        for line in range(0, vectors * v.bytes, _LINE):
            v.prefetch(address, line)
    tile = _accumulate(v, zero, a, const(v.size), lda, d, ldd, k)

    def visit(use: Callable[[Any, Any, int], None]) -> None:
        for i, row in enumerate(tile):
            for j, x in enumerate(row):
                use(x, out[i], j * v.bytes)

    v.switch(code, update_cases(v, visit, state, hyper))
