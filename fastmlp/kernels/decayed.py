"""One sample a step under an L2 penalty: the decay of all weights is one number.

A step of plain gradient descent ``W <- (1 - rate l2) W - rate g`` touches every weight, though g
is x times a delta, and most of x may be zero. With ``W = s V`` it is ``s <- (1 - rate l2) s`` and
``V <- V - rate / s g`` (Bottou 2012, "Stochastic Gradient Descent Tricks", section 5.1). On the way
forward ``z = s (x V) + b``, on the way back ``s d`` goes through V. After some steps s is
multiplied into V. The penalty of every step follows from ``|V + x d|^2 = |V|^2 + 2 (x V) d +
|x|^2 |d|^2``; x V is known from the way forward.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from ..optimizers import Optimizer, OptimizerState
from ..parameters import Parameters, aligned_zeros
from ..regularization import Regularization
from ._jit import jit
from .activations import ACTIVATIONS
from .drivers import gather, output_delta
from .lists import prefetch_list, sparse_forward_rows, sparse_gradient_rows
from .optimizers import HYPER_ROW, HYPERPARAMETERS
from .single import SGD, STEP_ROW, VECTOR_BACKWARD, VECTOR_UPDATE, row_forward
from .source import Source
from .table import call
from .tables import (
    BIAS,
    BIAS_UPDATE,
    CODE,
    HAS_BIAS,
    KEPT,
    LD_H,
    LD_W,
    N_IN,
    S_HYPER,
    S_ITEM,
    S_LISTS,
    S_N_CUTS,
    S_ROWS,
    VECTORS_IN,
    VECTORS_OUT,
    A,
    D,
    W,
)
from .training import Training
from .workspace import Layer

__all__ = ["SEGMENT", "DecayedTraining"]

SEGMENT = 256  # the most steps before s goes into V
_LEAST = 0.5  # of s; below it goes into V at once
_RATE, _L2 = HYPERPARAMETERS.index("learning_rate"), HYPERPARAMETERS.index("l2")
_TABLES = 4  # of layers: as they are; x V; f(s (x V) + b); s d


@jit()
def decayed_serial(R, K, S, layers, bounds, n, batch_size, steps, penalties, penalty, threads):
    """Take one step per ordered sample; the tables move on to the next row of their buffers."""
    rows = layers.shape[0] // 2
    count = rows // _TABLES
    own = layers[:count]
    for i in range(n):
        hyper = S[S_HYPER] + i * 2 * HYPER_ROW * S[S_ITEM]
        for l in range(count):  # noqa: E741
            if l == 0 and S[S_LISTS]:
                sparse_forward_rows(K, S, layers[count], S[S_ROWS] + i * 8, 0, 1)
            else:
                if l == 0:
                    gather(K, S, layers, i, 0, 1)
                row_forward(K, layers[count + l])
            row_forward(K, layers[2 * count + l])
        if S[S_LISTS] and i + 1 < n:
            prefetch_list(K, S, i + 1)
        output_delta(K, S, own, i, 0, 1)
        for l in range(count - 1, -1, -1):  # noqa: E741
            q, raw = layers[l], layers[count + l]
            if l > 0:
                p = layers[l - 1]
                row_forward(K, layers[3 * count + l])
                call(
                    K[VECTOR_BACKWARD],
                    (p[D], q[W], q[LD_W], raw[D], q[VECTORS_OUT], q[VECTORS_IN], p[KEPT], p[CODE]),
                )
            if q[HAS_BIAS]:
                call(
                    K[BIAS_UPDATE],
                    (q[BIAS], q[D], q[LD_H], 1, q[VECTORS_OUT], SGD, 0,
                     hyper + HYPER_ROW * S[S_ITEM]),
                )  # fmt: skip
            call(K[STEP_ROW], (raw[D], q[D], q[VECTORS_OUT], hyper))
            if l == 0 and S[S_LISTS]:
                sparse_gradient_rows(K, S, raw, i, 0, 1, 0, S[S_N_CUTS] - 1, 0)
            else:
                call(K[VECTOR_UPDATE], (q[W], q[LD_W], q[A], q[N_IN], raw[D], q[VECTORS_OUT]))
        for r in range(rows):
            for c in range(layers.shape[1]):
                layers[r, c] += layers[rows + r, c]


class DecayedTraining(Training):
    """Steps of plain gradient descent with one sample each, and an L2 penalty.

    The result is that of `Training` to rounding. Where steps are cut into calls has no influence
    on it as long as calls are of whole `SEGMENT` steps, or the last of an epoch.

    Parameters
    ----------
    parameters, X, y, sample_weight, optimizer, state, regularization
        As for `Training`; of the regularization only ``l2`` is above 0.
    """

    drivers: ClassVar[dict[str, Any]] = {"single": (decayed_serial, decayed_serial)}

    def __init__(
        self,
        parameters: Parameters,
        X: Any,
        y: np.ndarray,
        sample_weight: np.ndarray | None,
        *,
        optimizer: Optimizer,
        state: OptimizerState,
        regularization: Regularization,
    ) -> None:
        super().__init__(
            parameters, X, y, sample_weight, optimizer=optimizer, state=state, batch_size=1,
            regularization=Regularization(), threads=1,
        )  # fmt: skip
        self.regularization = regularization
        self._enter_tables()
        self._squares = _row_squares(self._source.X, self._source.listed)
        if self.architecture.input_scale is not None:
            self._squares /= self.architecture.input_scale**2

    @staticmethod
    def fits(X: Any, parameters: Parameters, optimizer: Optimizer, r: Regularization) -> bool:
        """Tell whether steps of one sample are of this kind."""
        plain = optimizer.rule == "sgd" and r.l2 > 0 and not r.dropout and not r.whole
        return plain and Source(X, parameters.architecture).direct

    @staticmethod
    def steady(rates: np.ndarray, l2: float) -> bool:
        """Tell whether a step leaves at least half of every weight."""
        return bool(rates.max() * l2 <= 1 - _LEAST)

    def _rows(self, layer: np.ndarray) -> np.ndarray:
        """Return a buffer with a row of a layer for every step of a segment."""
        array = aligned_zeros(SEGMENT * int(layer[Layer.LD_H]) // self._item, self.parameters.dtype)
        return array.reshape(SEGMENT, -1)

    def _enter_tables(self) -> None:
        own, self._item = self._workspace.layers, self.parameters.dtype.itemsize
        n = len(own)
        self._scales = np.ones(SEGMENT, self.parameters.dtype)
        self._zeros = aligned_zeros(
            int(own[:, Layer.LD_H].max()) // self._item, self.parameters.dtype
        )
        self._raw, self._out, self._steps = ([self._rows(q) for q in own] for _ in range(3))
        tables = np.concatenate([own] * _TABLES)
        moves = np.zeros_like(tables)
        as_they_are, raw, finished, scaled = (tables[i * n : (i + 1) * n] for i in range(_TABLES))
        for table in (raw, scaled):
            table[:, Layer.BIAS] = self._zeros.ctypes.data
            table[:, Layer.CODE] = ACTIVATIONS["identity"]
        for table in (finished, scaled):
            table[:, Layer.A], table[:, Layer.N_IN] = self._scales.ctypes.data, 1
        keeps_output = own[:, Layer.KEPT] == own[:, Layer.H]
        scaled[:, Layer.W] = own[:, Layer.D]
        for l in range(n):  # noqa: E741
            out = self._out[l].ctypes.data
            raw[l, Layer.H] = finished[l, Layer.W] = self._raw[l].ctypes.data
            raw[l, Layer.D] = scaled[l, Layer.H] = self._steps[l].ctypes.data
            as_they_are[l, Layer.H] = finished[l, Layer.H] = out
            if keeps_output[l]:
                as_they_are[l, Layer.KEPT] = out
            if l + 1 < n:
                as_they_are[l + 1, Layer.A] = raw[l + 1, Layer.A] = out
        base = np.concatenate([own] * _TABLES)
        for column in (Layer.H, Layer.D, Layer.KEPT):
            moves[:, column] = (tables[:, column] != base[:, column]) * tables[:, Layer.LD_H]
        for start in (0, n):  # as they are, raw: the input of a layer is the output before it
            moves[start + 1 : start + n, Layer.A] = own[:-1, Layer.LD_H]
        moves[2 * n : 3 * n, Layer.W] = own[:, Layer.LD_H]
        moves[2 * n :, Layer.A] = self._item
        self._start = tables
        self._workspace.layers = np.concatenate([tables, moves])

    def steps(
        self, order: np.ndarray, hyper: np.ndarray, words: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Take one step per sample of `order`; see `Training.steps`."""
        n, hyper = len(order), hyper.copy()
        self._words = np.zeros((n, 1, 2), np.uint32)
        losses, correct, penalty = np.zeros(n), np.zeros(n, np.int64), np.zeros(n)
        rates = hyper[:, 0, _RATE].astype(np.float64)
        factors = 1 - rates * hyper[:, 0, _L2].astype(np.float64)
        self._source.settings(self._S, self._source.X, scaled=False)
        done = 0
        while done < n:
            scales = np.cumprod(factors[done : done + SEGMENT])
            low = np.flatnonzero(scales < _LEAST)
            scales = scales[: low[0] + 1] if len(low) else scales
            part = slice(done, done + len(scales))
            hyper[part, 0, _RATE] = rates[part] / scales
            before = np.append(1.0, scales[:-1])
            self._scales[: len(scales)] = before
            squares = sum(float(np.einsum("i,i->", w, w)) for w in self._flat_weights())
            self._workspace.layers[: len(self._start)] = self._start
            self._run(
                order[part], order[part], hyper[part], losses[part], correct[part],
                penalty[part], 1,
            )  # fmt: skip
            changes = np.append(0.0, np.cumsum(self._changes(order[part]))[:-1])
            penalty[part] = self.regularization.l2 / 2 * before**2 * (squares + changes)
            for w in self._flat_weights():
                w *= scales[-1]
            done += len(scales)
        self.state.step += n
        return losses, correct, penalty

    def _flat_weights(self) -> list[np.ndarray]:
        """Return each layer's weights with their padding, which is 0."""
        p = self.parameters
        pairs = zip(p.weight_offsets, p.bias_offsets, strict=True)
        return [p.flat[start:end] for start, end in pairs]

    def _changes(self, order: np.ndarray) -> np.ndarray:
        """Return what each step has added to |V|^2."""
        n, x = len(order), self._squares[order]
        total = np.zeros(n)
        for raw, step, out in zip(self._raw, self._steps, self._out, strict=True):
            total += 2 * _dots(raw[:n], step[:n]) + x * _dots(step[:n], step[:n])
            x = _dots(out[:n], out[:n])
        return total


def _dots(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.einsum("ij,ij->i", a, b, dtype=np.float64)


def _row_squares(X: Any, listed: bool) -> np.ndarray:
    """Return the squared norm of every row."""
    if not listed:
        parts = [X[i : i + 1024] for i in range(0, len(X), 1024)]
        return np.concatenate([_dots(part, part) for part in parts])
    squares = np.square(X.data, dtype=np.float64)
    rows = np.repeat(np.arange(X.shape[0]), np.diff(X.indptr))
    return np.bincount(rows, squares, X.shape[0])
