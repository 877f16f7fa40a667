"""One sample a step: exact, in order, on one thread.

There is no work to share out between two updates, so this driver goes through the layers with
matrix-vector kernels. Each layer's delta is taken back through its weights before they change.
"""

from __future__ import annotations

from ._jit import jit
from .drivers import gather, output_delta
from .lists import prefetch_list, sparse_forward_rows, sparse_gradient_rows
from .online import WIDTHS
from .optimizers import HYPER_ROW, OPTIMIZERS
from .table import NUMBER, call
from .tables import (
    BIAS,
    BIAS_UPDATE,
    CODE,
    HAS_BIAS,
    KEPT,
    LD_H,
    LD_W,
    N_IN,
    N_OUT,
    OUTPUT,
    S_HYPER,
    S_ITEM,
    S_LD_X,
    S_LISTS,
    S_N_CUTS,
    S_OUT_CODE,
    S_ROWS,
    S_X,
    S_X_KIND,
    S_X_SCALE,
    SLOPE,
    VECTOR,
    VECTORS_IN,
    VECTORS_OUT,
    A,
    D,
    H,
    W,
)

__all__ = ["infer_few", "row_forward", "single_serial"]

VECTOR_FORWARD = tuple(NUMBER[f"vector_forward_{width}"] for width in WIDTHS)
VECTOR_BACKWARD, VECTOR_UPDATE, STEP_ROW = (
    NUMBER["vector_backward"], NUMBER["vector_update"], NUMBER["step_row"],
)  # fmt: skip
SGD = OPTIMIZERS["sgd"]


@jit()
def row_forward(K, q):
    """Take one row through a layer."""
    done = 0
    for i in range(len(WIDTHS)):
        while done + WIDTHS[i] <= q[VECTORS_OUT]:
            at = done * VECTOR
            call(
                K[VECTOR_FORWARD[i]],
                (q[H] + at, q[A], q[N_IN], q[W] + at, q[LD_W], q[BIAS] + at, q[CODE],
                 q[SLOPE] + at),
            )  # fmt: skip
            done += WIDTHS[i]


@jit()
def forward_one(K, S, layers, position):
    """Take the sample at `position` through all layers; the last leaves logits."""
    if not S[S_LISTS]:
        gather(K, S, layers, position, 0, 1)
    for l in range(layers.shape[0]):  # noqa: E741
        q = layers[l]
        if l == 0 and S[S_LISTS]:
            sparse_forward_rows(K, S, q, S[S_ROWS] + position * 8, 0, 1)
            continue
        row_forward(K, q)


@jit()
def update_one(K, S, layers, position, hyper):
    """Take the delta of the sample at `position` back, and step each layer's parameters."""
    for l in range(layers.shape[0] - 1, -1, -1):  # noqa: E741
        q = layers[l]
        if l > 0:
            p = layers[l - 1]
            call(
                K[VECTOR_BACKWARD],
                (p[D], q[W], q[LD_W], q[D], q[VECTORS_OUT], q[VECTORS_IN], p[KEPT], p[CODE]),
            )
        if q[HAS_BIAS]:
            call(
                K[BIAS_UPDATE],
                (q[BIAS], q[D], q[LD_H], 1, q[VECTORS_OUT], SGD, 0, hyper + HYPER_ROW * S[S_ITEM]),
            )
        call(K[STEP_ROW], (q[D], q[D], q[VECTORS_OUT], hyper))
        if l == 0 and S[S_LISTS]:
            sparse_gradient_rows(K, S, q, position, 0, 1, 0, S[S_N_CUTS] - 1, 0)
        else:
            call(K[VECTOR_UPDATE], (q[W], q[LD_W], q[A], q[N_IN], q[D], q[VECTORS_OUT]))


@jit()
def single_serial(R, K, S, layers, bounds, n, batch_size, steps, penalties, penalty, threads):
    """Take one step of plain gradient descent per ordered sample."""
    for i in range(n):
        forward_one(K, S, layers, i)
        if S[S_LISTS] and i + 1 < n:
            prefetch_list(K, S, i + 1)
        output_delta(K, S, layers, i, 0, 1)
        update_one(K, S, layers, i, S[S_HYPER] + i * 2 * HYPER_ROW * S[S_ITEM])


@jit()
def infer_few(K, S, layers, X, out, kind, scale):
    """Take a few rows of X forward to their outputs, one by one: no tile is left empty."""
    S[S_X], S[S_LD_X], S[S_X_KIND], S[S_X_SCALE] = X.ctypes.data, X.strides[0], kind, scale
    q = layers[layers.shape[0] - 1]
    for i in range(len(X)):
        forward_one(K, S, layers, i)
        call(
            K[OUTPUT],
            (out.ctypes.data + i * out.strides[0], out.strides[0], q[H], q[LD_H], q[N_OUT], 1,
             S[S_OUT_CODE]),
        )  # fmt: skip
