"""Training on one data set: chooses the driver, owns the memory, runs pieces of epochs."""

from __future__ import annotations

import time
from typing import Any, ClassVar

import numpy as np

from ..operations import EpochResult
from ..optimizers import Optimizer, OptimizerState
from ..parameters import Parameters, aligned_zeros
from ..regularization import Regularization
from . import drivers
from .compiling import prepare
from .costs import choose_threads, flops, is_close
from .needs import list_kind, training_groups, training_regions
from .optimizers import ADD, HYPER_ROW, OPTIMIZERS, STORE, hyperparameters
from .pace import Pace
from .panels import Panels
from .regions import region_addresses
from .shares import first_rows
from .single import single_serial
from .source import Source, enter_index, enter_targets, padded_targets
from .steps import take_part, train_parallel, train_serial
from .table import kernel_addresses
from .tables import (
    S_BATCH,
    S_BYTES,
    S_CHUNK,
    S_CLIP,
    S_CLIPPED,
    S_COEFFICIENTS,
    S_CORRECT,
    S_GRADIENT,
    S_GROUP_SAMPLES,
    S_GROUPS,
    S_HIDDEN,
    S_HYPER,
    S_ITEM,
    S_LIMIT,
    S_LISTS,
    S_LOSSES,
    S_N_NORMS,
    S_NORMS,
    S_OPTIMIZER,
    S_ORDER,
    S_PANELS,
    S_PENALTIES,
    S_PENALTY,
    S_PLACE,
    S_ROWS,
    S_STATE,
    S_TEAM,
    S_WHOLE,
    S_WORDS,
    SETTINGS,
)
from .team import team_memory
from .threads import choose_driver, run
from .workspace import Layer, Workspace

__all__ = ["Training"]

_CHUNK = 512  # samples of a large batch that are gone through at a time
_BLOCK = 64  # the same in full batch: 64 rows of MNIST in float64 stay in a second-level cache
_GROUPS = 32  # groups of samples of a full batch, each with a gradient of its own
_GROUPS_BYTES = 16 << 20  # what these gradients may take

_DRIVERS = {
    "batch": (train_serial, train_parallel),
    "full": (train_serial, train_parallel),
    "single": (single_serial, single_serial),
}


class Training:
    """Steps of gradient descent on one data set; all memory is taken here, once.

    Parameters
    ----------
    parameters : Parameters
        Changed in place, with their slots.
    X, y, sample_weight
        Checked already.
    optimizer : Optimizer or None
        None leaves the summed gradient in `gradient` and the parameters alone.
    state : OptimizerState
        Its step count goes on; its slots are the parameters' own.
    """

    _pace: Pace | None
    drivers: ClassVar[dict[str, Any]] = _DRIVERS

    def __init__(
        self,
        parameters: Parameters,
        X: Any,
        y: np.ndarray,
        sample_weight: np.ndarray | None,
        *,
        optimizer: Optimizer | None,
        state: OptimizerState,
        batch_size: int,
        regularization: Regularization,
        threads: int | None,
    ) -> None:
        self.parameters, self.state, self.optimizer = parameters, state, optimizer
        self.architecture = parameters.architecture
        self.regularization, self.batch_size = regularization, batch_size
        self.sample_weight = sample_weight
        self._source = source = Source(X, self.architecture)
        self._y = padded_targets(y, parameters.dtype)
        self._mode = self._choose_mode()
        self.chunk = min(batch_size, _BLOCK if self._mode == "full" else _CHUNK)
        if not source.direct:
            self.chunk = min(self.chunk, source.stage_rows)
        self.threads, self._pace = 1, None
        if self._mode != "single":
            at_once = batch_size if self._mode == "full" else self.chunk
            work, steps = flops(self.architecture, at_once), -(-len(y) // at_once)
            self.threads = choose_threads(threads, work, steps=steps, regions=2)
            if threads is None and self.threads > 1:
                self._pace = Pace(alone=is_close(work, regions=2))
        rows = self.chunk * (self.threads if self._mode == "full" else 1)
        self._workspace = Workspace(parameters, rows, dropout=regularization.dropout)
        self._index, self._panels, row_bytes = None, None, 0
        if source.listed or (optimizer is not None and source.sparse):
            row_bytes = self._row_bytes()
            if self._mode == "batch" and optimizer is not None:
                self._panels = Panels(parameters, self.threads, self.chunk, optimizer.slots)
                row_bytes = self._panels.row_bytes
        self._regions = self._compile(row_bytes > 0)
        if row_bytes:
            self._index = source.make_index(row_bytes)
        self._kernels = kernel_addresses(
            self.architecture.dtype, *self._groups(list_kind(self._index))
        )
        layers = self._workspace.layers
        # of `finish.slots_of`, added up four by four
        slots = int((layers[:, Layer.BLOCKS] * layers[:, Layer.VECTORS_OUT]).sum())
        self._penalties = np.zeros(-(-slots // 4) * 4)
        self._norms = np.zeros(slots + self.architecture.n_layers)
        r = regularization
        self._limits = np.array([r.l1, r.l2 / 2, r.clip_norm or 0.0, r.max_norm or 0.0])
        self._clipped = np.zeros((self.threads, 2, HYPER_ROW), parameters.dtype)
        self._S, self._team = np.zeros(SETTINGS, np.int64), team_memory(self.threads)
        self._bounds: dict[tuple[int, bool], np.ndarray] = {}
        self._enter_settings()

    def _choose_mode(self) -> str:
        """Return "single", "full" or "batch" from sizes alone: bits may not hang on threads."""
        r = self.regularization
        plain = self.optimizer is not None and self.optimizer.rule == "sgd"
        plain = plain and r.l2 == 0 and not r.dropout and not r.whole
        if self.batch_size == 1 and plain and self._source.direct:
            return "single"
        if self._source.listed and self.optimizer is None:
            return "full"  # panels know of no gradient but their own
        few = self._most_groups() == _GROUPS
        if self.batch_size > _CHUNK and few and self._source.direct:
            return "full"
        return "batch"

    def _most_groups(self) -> int:
        """Return for how many groups of a full batch there is room."""
        gradient_bytes = self.parameters.size * self.parameters.dtype.itemsize
        return max(1, min(_GROUPS, _GROUPS_BYTES // gradient_bytes))

    def _groups(self, lists: str | None) -> list[str]:
        """Return the groups of kernels that its steps call."""
        return training_groups(
            self.architecture, self._source, self._y, lists,
            rule=self.optimizer.rule if self.optimizer else "sgd", mode=self._mode,
            panels=self._panels is not None, regularization=self.regularization,
        )  # fmt: skip

    def _compile(self, lists: bool) -> np.ndarray:
        """Compile what is needed and return the regions' addresses; `lists` will be made and, most
        likely, hold codes.
        """
        groups = self._groups("codes" if lists else None)
        if lists and not self._source.listed:
            groups.append(f"index {self._source.kind}")
        serial, _ = self.drivers[self._mode]
        driver = choose_driver(self.drivers[self._mode], self.threads)
        self._driver = serial, driver  # no other is compiled, whatever cores there are later
        regions = training_regions(
            self._mode, panels=self._panels is not None, in_chunks=self.batch_size > self.chunk,
            trained=self.optimizer is not None, parallel=driver is train_parallel,
            regularization=self.regularization,
        )  # fmt: skip
        prepare(self.architecture.dtype, groups, [*filter(None, regions[::-1]), driver])
        return region_addresses(regions)

    def _row_bytes(self) -> int:
        return int(self._workspace.layers[0, Layer.LD_W])

    def _enter_settings(self) -> None:
        S, parameters = self._S, self.parameters
        enter_targets(S, self.architecture, self._y, self.sample_weight)
        item = parameters.dtype.itemsize
        S[S_ITEM], S[S_CHUNK], S[S_TEAM] = item, self.chunk, self._team.ctypes.data
        S[S_STATE] = S[S_BYTES] = parameters.size * item
        self._enter_regularization()
        S[S_OPTIMIZER] = STORE if self.optimizer is None else OPTIMIZERS[self.optimizer.rule]
        groups = 1
        if self._mode == "full":
            samples = -(-self.batch_size // (self._most_groups() * _BLOCK)) * _BLOCK
            groups = -(-self.batch_size // samples)
            S[S_GROUPS], S[S_GROUP_SAMPLES] = groups, samples
        self.gradient = np.zeros(0, parameters.dtype)
        summed = self.optimizer is None or self.batch_size > self.chunk or S[S_WHOLE]
        if (summed or self._index is not None) and self._mode != "single":
            self.gradient = aligned_zeros(parameters.size * groups, parameters.dtype)
            offset = self.gradient.ctypes.data - parameters.flat.ctypes.data
            S[S_GRADIENT] = offset
        if self._index is not None:
            enter_index(S, self._index)
        self._lists = int(S[S_LISTS])
        if self._panels is not None:
            self._panels.enter(S)

    def _enter_regularization(self) -> None:
        S, r, limits = self._S, self.regularization, self._limits.ctypes.data
        trained = self.optimizer is not None
        S[S_BATCH], S[S_HIDDEN] = self.batch_size, self.architecture.n_layers - 1
        S[S_PENALTIES], S[S_COEFFICIENTS] = self._penalties.ctypes.data, limits
        S[S_PENALTY] = int(trained and (r.l1 > 0 or r.l2 > 0))
        S[S_WHOLE] = int(trained and r.whole)
        S[S_CLIP] = 0 if r.clip_norm is None else limits + 16
        S[S_LIMIT] = 0 if r.max_norm is None else limits + 24
        S[S_NORMS], S[S_N_NORMS] = self._norms.ctypes.data, self._norms.size
        S[S_CLIPPED] = self._clipped.ctypes.data

    def train(
        self, order: np.ndarray, rates: np.ndarray, words: np.ndarray | None = None
    ) -> EpochResult:
        """Take one step per batch of the samples in `order`.

        Parameters
        ----------
        order : ndarray of int64
        rates : ndarray of float64, one per step
        words : ndarray of uint32, (steps, n_hidden, 2), optional
            For dropout: see `reference.dropout.key_words`.

        Returns
        -------
        EpochResult
        """
        order = np.ascontiguousarray(order, np.int64)  # read by address; C long may be narrower
        starts, totals = self.batches(order)
        optimizer = self.optimizer or Optimizer(0.0)
        hyper = hyperparameters(
            optimizer, rates, totals, self.regularization.l2, self.state.step,
            self.parameters.dtype, self.regularization.l1,
        )  # fmt: skip
        losses, correct, penalty = self.steps(order, hyper, words)
        sums = np.add.reduceat(losses, starts) + penalty * totals
        if self.architecture.output == "identity":
            correct[:] = 0
        return EpochResult(sums, totals, np.add.reduceat(correct, starts), len(order))

    def batches(self, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return where the batches of `order` begin, and their sums of sample weights."""
        starts = np.arange(0, len(order), self.batch_size)
        if self.sample_weight is None:
            totals = np.diff(np.append(starts, len(order))).astype(np.float64)
        else:
            totals = np.add.reduceat(self.sample_weight[order], starts)
        return starts, totals

    def steps(
        self, order: np.ndarray, hyper: np.ndarray, words: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Take one step per batch of the samples in `order`, each with its own hyperparameters.

        Parameters
        ----------
        order : ndarray of int64
        hyper : ndarray, (steps, 2, HYPER_ROW)
            As `hyperparameters` returns them.
        words : ndarray of uint32, (steps, n_hidden, 2), optional
            For dropout.

        Returns
        -------
        losses : ndarray of float64, (len(order),)
            Each sample's weight times loss.
        correct : ndarray of int64, (len(order),)
            Whether it was predicted right.
        penalty : ndarray of float64, (steps,)
            The penalties of the weights before each step.
        """
        n, size = len(order), self.batch_size
        self._words = np.zeros((len(hyper), 1, 2), np.uint32) if words is None else words
        losses, correct = np.zeros(n), np.zeros(n, np.int64)
        penalty = np.zeros(len(hyper))
        if self._source.direct:
            self._source.settings(self._S, self._source.X, scaled=False)
            self._run(order, order, hyper, losses, correct, penalty, size)
        elif size <= self.chunk:
            self._staged_steps(order, hyper, losses, correct, penalty)
        else:
            for step in range(len(hyper)):
                self._staged_step(step, order, hyper, losses, correct, penalty)
        if self.optimizer is not None:
            self.state.step += len(hyper)
        return losses, correct, penalty

    def _run(
        self,
        rows: np.ndarray,
        order: np.ndarray,
        hyper: np.ndarray,
        losses: np.ndarray,
        correct: np.ndarray,
        penalty: np.ndarray,
        batch_size: int,
    ) -> None:
        """Run the compiled driver over `order`; X has its samples at `rows`."""
        S = self._S
        panels = None
        if self._index is not None:
            # 0 times a weight that is not finite is NaN: then nothing may be left out
            # (a sparse matrix says so itself)
            finite = self._source.listed or self.parameters.finite
            S[S_LISTS] = self._lists if finite else 0
            panels = self._panels if finite else None
            S[S_PANELS] = 0 if panels is None else panels.count
            if panels is not None:
                panels.pack()
        bounds, done = self._first_rows(self.threads, panels), 0
        while done < len(penalty):
            begun, pace, first = time.perf_counter(), self._pace, done * batch_size
            count = len(penalty) - done if pace is None else pace.steps(len(penalty) - done)
            S[S_ROWS], S[S_ORDER] = rows[first:].ctypes.data, order[first:].ctypes.data
            S[S_LOSSES], S[S_CORRECT] = losses[first:].ctypes.data, correct[first:].ctypes.data
            S[S_HYPER] = hyper[done:].ctypes.data
            S[S_WORDS] = self._words[done + len(self._words) - len(hyper) :].ctypes.data
            self._team[:] = 0
            arguments = (
                self._regions, self._kernels, S, self._workspace.layers, bounds,
                min(count * batch_size, len(order) - first), batch_size, count, self._penalties,
                penalty[done : done + count],
            )  # fmt: skip
            if pace is not None and pace.alone:
                take_part(*arguments, 0, self.threads)
            else:
                run(self._driver, self.threads, *arguments)
            if pace is not None:
                pace.note(time.perf_counter() - begun, count)
            done += count
        if panels is not None:
            panels.unpack()

    def _first_rows(self, threads: int, panels: Panels | None = None) -> np.ndarray:
        """Return what `first_rows` says for so many threads, with the first W in panels or not."""
        key = threads, panels is not None
        if key not in self._bounds:
            index = None if panels is None else self._index
            self._bounds[key] = first_rows(
                self._workspace.layers, threads, self.chunk, index, panels.count if panels else 0
            )
        return self._bounds[key]

    def _staged_steps(
        self,
        order: np.ndarray,
        hyper: np.ndarray,
        losses: np.ndarray,
        correct: np.ndarray,
        penalty: np.ndarray,
    ) -> None:
        """Take whole steps, as many at a time as there is room for converted rows."""
        size = self.batch_size
        steps = max(1, self._source.stage_rows // size)
        for step in range(0, len(penalty), steps):
            part = slice(step * size, (step + steps) * size)
            self._run_staged(
                order[part], hyper[step:], losses[part], correct[part],
                penalty[step : step + steps], size,
            )  # fmt: skip

    def _staged_step(
        self,
        step: int,
        order: np.ndarray,
        hyper: np.ndarray,
        losses: np.ndarray,
        correct: np.ndarray,
        penalty: np.ndarray,
    ) -> None:
        """Take one step whose batch is larger than the room: sum its gradient chunk by chunk."""
        wanted = int(self._S[S_OPTIMIZER])
        first, end = step * self.batch_size, min((step + 1) * self.batch_size, len(order))
        self._S[S_PENALTY], penalized = 0, self._S[S_PENALTY]
        for start in range(first, end, self.chunk):
            part = slice(start, min(start + self.chunk, end))
            self._S[S_PLACE] = start - first
            self._S[S_OPTIMIZER] = STORE if start == first else ADD
            self._run_staged(
                order[part], hyper[step:], losses[part], correct[part], penalty[:1], self.chunk
            )
        self._S[S_OPTIMIZER], self._S[S_PENALTY], self._S[S_PLACE] = wanted, penalized, 0
        if wanted != STORE:
            self._S[S_HYPER] = hyper[step:].ctypes.data
            drivers.apply_step(
                self._regions, self._kernels, self._S, self._workspace.layers,
                self._first_rows(1), self._penalties, penalty, step,
            )  # fmt: skip

    def _run_staged(
        self,
        order: np.ndarray,
        hyper: np.ndarray,
        losses: np.ndarray,
        correct: np.ndarray,
        penalty: np.ndarray,
        batch_size: int,
    ) -> None:
        staged = self._source.stage(order)
        self._source.settings(self._S, staged, scaled=True)
        rows = np.arange(len(order))
        self._run(rows, order, hyper, losses, correct, penalty, batch_size)
