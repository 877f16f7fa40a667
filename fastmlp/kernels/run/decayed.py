"""One sample a step under an L2 penalty: the decay of all weights is one number.

With ``W = s V`` a step is ``s <- (1 - rate l2) s`` and ``V <- V - rate / s g``; see
`program.per_sample.step`. After some steps s is multiplied into V. The penalty of every step
follows from ``|V + x d|^2 = |V|^2 + 2 (x V) d + |x|^2 |d|^2``; x V is known from the forward pass.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ...contract.operations import DataSet, StepSettings
from ...contract.parameters import Parameters, aligned_zeros
from ...regularization import Regularization
from ..emit.activations import ACTIVATIONS
from ..emit.optimizers import HYPERPARAMETERS
from ..program.job import Job, Layer, Scaled
from ..program.operation import At, Slot
from .source import Source
from .steps import Run
from .training import Training

__all__ = ["SEGMENT", "DecayedTraining"]

# mutant 257: another number of steps does as well
SEGMENT = 256  # the most steps before s goes into V
_LEAST = 0.5  # of s; below it goes into V at once
_RATE, _L2 = HYPERPARAMETERS.index("learning_rate"), HYPERPARAMETERS.index("l2")


class _Rows:
    """Memory with a row of every layer, and a scale, for each step of a segment."""

    def __init__(self, layers: tuple[Layer, ...], dtype: np.dtype) -> None:
        self._item, self._elements = dtype.itemsize, 0
        self.places: list[tuple[int, int]] = []
        self.scale = self._take(SEGMENT)
        self.zeros = self._take(max(q.ld_h for q in layers) // self._item)
        sizes = [SEGMENT * q.ld_h // self._item for q in layers]
        # x V; f(s (x V) + b); s d, then the step
        self.raw, self.out, self.steps = ([self._take(size) for size in sizes] for _ in range(3))
        self._strides = [q.ld_h // self._item for q in layers]
        self._buffer = aligned_zeros(self._elements, dtype)
        self.scales = self._buffer[:SEGMENT]
        self.address = int(self._buffer.ctypes.data)

    def _take(self, elements: int) -> At:
        place = At(Slot.SEGMENT, self._elements * self._item)
        self.places.append((place.offset, elements * self._item))
        self._elements += -(-elements // 1024) * 1024
        return place

    def arrays(self, places: list[At]) -> list[np.ndarray]:
        """Return the rows of every layer, live."""
        starts = [place.offset // self._item for place in places]
        return [
            self._buffer[start : start + SEGMENT * stride].reshape(SEGMENT, stride)
            for start, stride in zip(starts, self._strides, strict=True)
        ]


def _scaled_layers(
    own: tuple[Layer, ...], rows: _Rows, item: int
) -> tuple[tuple[Layer, ...], tuple[Scaled, ...]]:
    """Return the layers as other kernels see them, and those of scaled weights."""
    seen, scaled = [], []
    identity, scale = ACTIVATIONS["identity"], rows.scale.moving(step=item)
    for l, q in enumerate(own):  # noqa: E741
        raw, out, steps = (
            places[l].moving(step=q.ld_h) for places in (rows.raw, rows.out, rows.steps)
        )
        a = rows.out[l - 1].moving(step=own[l - 1].ld_h) if l else q.a
        slope = out if q.slope == q.h else q.slope
        seen.append(replace(q, a=a, h=out, slope=slope))
        plain = replace(q, bias=rows.zeros, code=identity)
        scaled.append(
            Scaled(
                raw=replace(plain, a=a, h=raw),
                finished=replace(q, a=scale, n_in=1, w=raw, h=out),
                scaled=replace(plain, a=scale, n_in=1, w=q.d, h=steps),
            )
        )
    return tuple(seen), tuple(scaled)


class DecayedTraining(Training):
    """Steps of plain gradient descent with one sample each, and an L2 penalty.

    The result is that of `Training` to rounding; of the regularization only ``l2`` is above 0.
    Where steps are cut into calls has no influence on it as long as calls are of whole `SEGMENT`
    steps, or the last of an epoch.
    """

    def __init__(self, parameters: Parameters, data: DataSet, settings: StepSettings) -> None:
        plain = replace(settings, regularization=Regularization())
        # mutant 2: single samples are for a single thread, whatever is said
        super().__init__(parameters, data, plain, threads=1)
        self.regularization = settings.regularization
        self._look_at_samples()

    def _look_at_samples(self) -> None:
        self._squares = _row_squares(self._source.X, self._source.listed)
        if self.architecture.input_scale is not None:
            self._squares /= self.architecture.input_scale**2

    def _take_memory(self) -> None:
        super()._take_memory()
        own, dtype = self._workspace.layers, self.parameters.dtype
        self._rows = _Rows(own, dtype)
        self._layers, self._scaled = _scaled_layers(own, self._rows, dtype.itemsize)

    def _job(self) -> Job:
        return replace(super()._job(), layers=self._layers, scaled=self._scaled)

    def _enter_memory(self, bases: Any, listed: bool) -> None:
        super()._enter_memory(bases, listed)
        bases[Slot.SEGMENT] = self._rows.address

    @staticmethod
    def fits(X: Any, parameters: Parameters, settings: StepSettings) -> bool:
        """Tell whether steps of one sample are of this kind."""
        optimizer, r = settings.optimizer, settings.regularization
        sgd = optimizer is not None and optimizer.rule == "sgd"
        plain = sgd and r.l2 > 0 and not r.dropout and not r.whole
        return plain and Source(X, parameters.architecture).direct

    @staticmethod
    def steady(rates: np.ndarray, l2: float) -> bool:
        """Tell whether a step leaves at least half of every weight."""
        # mutant <: at the bound both kinds of steps serve
        return bool(rates.max() * l2 <= 1 - _LEAST)

    def steps(
        self, order: np.ndarray, hyper: np.ndarray, words: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Take one step per sample of `order`; see `Training.steps`."""
        n, run_of = len(order), Run(order, hyper.copy(), None)
        hyper, penalty = run_of.hyper, run_of.penalty
        # mutant 1: the rate of biases is that of weights
        rates = hyper[:, 0, _RATE].astype(np.float64)
        factors = 1 - rates * hyper[:, 0, _L2].astype(np.float64)
        done = 0
        while done < n:
            scales = np.cumprod(factors[done : done + SEGMENT])
            low = np.flatnonzero(scales < _LEAST)  # mutant <=: another number of steps does as well
            # mutant 2: another number of steps does as well
            scales = scales[: low[0] + 1] if len(low) else scales
            part = slice(done, done + len(scales))
            hyper[part, 0, _RATE] = rates[part] / scales
            before = np.append(1.0, scales[:-1])
            self._rows.scales[: len(scales)] = before
            squares = sum(float(np.einsum("i,i->", w, w)) for w in self._flat_weights())
            steps = run_of.part(done, done + len(scales), 1)
            self._take_steps(steps, steps.order, self._source.X, scaled=False)
            changes = np.append(0.0, np.cumsum(self._changes(order[part]))[:-1])
            penalty[part] = self.regularization.l2 / 2 * before**2 * (squares + changes)
            for w in self._flat_weights():
                w *= scales[-1]
            done += len(scales)
        self.state.step += n
        return run_of.losses, run_of.correct, penalty

    def _flat_weights(self) -> list[np.ndarray]:
        """Return each layer's weights with their padding, which is 0."""
        p = self.parameters
        # mutant False: both are of one length
        pairs = zip(p.weight_offsets, p.bias_offsets, strict=True)
        return [p.flat[start:end] for start, end in pairs]

    def _changes(self, order: np.ndarray) -> np.ndarray:
        """Return what each step has added to |V|^2."""
        n, x = len(order), self._squares[order]
        total = np.zeros(n)
        rows = self._rows
        places = (rows.arrays(place) for place in (rows.raw, rows.steps, rows.out))
        for raw, step, out in zip(*places, strict=True):  # mutant False: all are of one length
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
