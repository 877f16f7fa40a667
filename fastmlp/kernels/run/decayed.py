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
from ...contract.parameters import Parameters
from ...regularization import Regularization
from ..emit.activations import ACTIVATIONS
from ..emit.optimizers import HYPERPARAMETERS
from ..program.job import Scaled
from .source import Source
from .steps import Run
from .training import Training
from .workspace import Workspace

__all__ = ["SEGMENT", "DecayedTraining"]

# mutant 257: another number of steps does as well
SEGMENT = 256  # the most steps before s goes into V
_LEAST = 0.5  # of s; below it goes into V at once
_RATE, _L2 = HYPERPARAMETERS.index("learning_rate"), HYPERPARAMETERS.index("l2")


class DecayedTraining(Training):
    """Steps of plain gradient descent with one sample each, and an L2 penalty.

    The result is that of `Training` to rounding; of the regularization only ``l2`` is above 0.
    Where steps are cut into calls has no influence on it as long as calls are of whole `SEGMENT`
    steps, or the last of an epoch.
    """

    def __init__(
        self, parameters: Parameters, data: DataSet, settings: StepSettings, *,
        threads: int | None = None,
    ) -> None:  # fmt: skip
        plain = replace(settings, regularization=Regularization())
        super().__init__(parameters, data, plain, threads=threads)
        self.regularization = settings.regularization

    def _make_workspace(self) -> Workspace:
        """Return one with a row of every layer, and a scale, for each step of a segment."""
        workspace = Workspace(self.parameters, SEGMENT)
        item, a = self.parameters.dtype.itemsize, workspace.layers[0].a
        scales = workspace.take(SEGMENT * item)
        zeros = workspace.take(max(q.ld_h for q in workspace.layers))
        scale, layers = scales.moving(item), []
        for q in workspace.layers:
            products, steps = (workspace.take(SEGMENT * q.ld_h) for _ in range(2))
            h, product, delta = (row.moving(q.ld_h) for row in (q.h, products, steps))
            plain = replace(q, bias=zeros, code=ACTIVATIONS["identity"])
            scaled = Scaled(
                product=replace(plain, a=a, h=product),
                finished=replace(q, a=scale, n_in=1, w=product, h=h),
                delta=replace(plain, a=scale, n_in=1, w=q.d, h=delta),
            )
            slope = h if q.slope == q.h else q.slope
            layers.append(replace(q, a=a, h=h, slope=slope, scaled=scaled))
            a = h
        workspace.layers = tuple(layers)
        self._scales = workspace.array(scales, 1, item)[:, 0]
        return workspace

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
        p, done = self.parameters, 0
        # mutant False: both are of one length
        ends = zip(p.weight_offsets, p.bias_offsets, strict=True)
        weights = [p.flat[start:end] for start, end in ends]  # with their padding, which is 0
        while done < n:
            scales = np.cumprod(factors[done : done + SEGMENT])
            low = np.flatnonzero(scales < _LEAST)  # mutant <=: another number of steps does as well
            # mutant 2: another number of steps does as well
            scales = scales[: low[0] + 1] if len(low) else scales
            part = slice(done, done + len(scales))
            hyper[part, 0, _RATE] = rates[part] / scales
            before = np.append(1.0, scales[:-1])
            self._scales[: len(scales)] = before
            squares = sum(float(np.einsum("i,i->", w, w)) for w in weights)
            self._take_steps(run_of, part.start, part.stop, run_of.order[part], self._source.X)
            changes = np.append(0.0, np.cumsum(self._changes(order[part]))[:-1])
            penalty[part] = self.regularization.l2 / 2 * before**2 * (squares + changes)
            for w in weights:
                w *= scales[-1]
            done += len(scales)
        self.state.step += n
        return run_of.losses, run_of.correct, penalty

    def _changes(self, order: np.ndarray) -> np.ndarray:
        """Return what each step has added to |V|^2."""
        n, x = len(order), self._source.row_squares[order]
        total = np.zeros(n)
        item = self.parameters.dtype.itemsize
        for q in self._workspace.layers:
            assert q.scaled is not None
            rows = q.scaled.product.h, q.scaled.delta.h, q.h
            product, step, out = (
                self._workspace.array(row, q.ld_h // item, q.ld_h)[:n] for row in rows
            )
            total += 2 * _dots(product, step) + x * _dots(step, step)
            x = _dots(out, out)
        return total


def _dots(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.einsum("ij,ij->i", a, b, dtype=np.float64)
