"""Training on one data set: owns the memory, has programs written, runs pieces of epochs."""

from __future__ import annotations

import time
from collections.abc import Hashable
from dataclasses import replace
from functools import cache, lru_cache
from typing import Any

import numpy as np

from ...contract.operations import DataSet, EpochResult, StepSettings
from ...contract.parameters import Parameters, aligned_zeros
from ...contract.splitting import layer_parts
from ...optimizers import Optimizer
from ...support.notices import notice
from ..emit.optimizers import ADD, HYPER_ROW, OPTIMIZERS, STORE, hyperparameters
from ..emit.target import current_target
from ..program.job import BLOCK, Job, Regularizing
from ..program.operation import Phase, Program, Slot
from ..program.sections import phases_of
from . import choose
from .autotune import Autotuner
from .csr_index import Index
from .executor import Executable, Layout, layout_of
from .packed_weights import PackedWeights
from .partition import row_bounds
from .source import Source, loss_of, padded_targets
from .steps import Run, batches
from .workspace import Workspace

__all__ = ["Training"]

# Steps whose hyperparameters are made at once: half a megabyte in float32, which stays in a cache.
# mutant 4097: another number of steps does as well
_ROWS = 4096
_SECTIONS = 8  # that a program may have before those which are not needed now are left out
_NO_FASTER = {
    "high": "on this processor three products of bfloat16 parts take longer than one of float32; "
    "precision='highest' is faster and no less exact",
    "medium": "this processor has no products of bfloat16 (avx512_bf16); multiply-adds give the "
    "same values, but no faster than precision='highest'",
}
Segment = tuple[Hashable, int, int]


@lru_cache(maxsize=16)
def _layout_of_sections(
    mode: str, job: Job, keys: tuple[Hashable, ...], dtype: str, activations: tuple[str, ...],
    rule: str,
) -> Layout:  # fmt: skip
    """Return the layout of some sections, kept for fits of the same kind; see `phases_of`.

    Writing a small network's step and laying it out takes 0.3 ms, a full batch's in groups 7 ms.
    What is kept are the tables: the operations of a full batch would be some MB of objects.
    """
    program = Program(job.shares, {key: phases_of(mode, job, key) for key in keys})
    return layout_of(program, dtype, activations, rule)


@cache
def tell_precision(precision: str) -> None:
    """Say, once a process, that a precision does not pay on this processor."""
    if not choose.precision_pays(precision):
        notice(f"precision='{precision}': {_NO_FASTER[precision]}")


class Training:
    """Steps of gradient descent on one data set; all memory is taken here, once.

    Parameters
    ----------
    parameters : Parameters
        Changed in place, with their slots.
    data : DataSet
    settings : StepSettings
        The state's step count goes on, its slots are the parameters' own. Without an optimizer
        the summed gradient is left in `gradient`.
    threads : int or None
        None: as many as are worth it.
    repeats : int, default 1
        How often a sample may come in one batch.
    """

    _one_group = False  # whether the batch is one group, summed as `full_batch` sums it

    def __init__(
        self, parameters: Parameters, data: DataSet, settings: StepSettings, *,
        threads: int | None, repeats: int = 1,
    ) -> None:  # fmt: skip
        self.parameters, self.architecture = parameters, parameters.architecture
        self.state, self.optimizer = settings.state, settings.optimizer
        self.regularization, self.batch_size = settings.regularization, settings.batch_size
        self.sample_weight = data.sample_weight
        self._source = source = Source(data.X, self.architecture)
        self._y = padded_targets(data.y, parameters.dtype)
        self._parts = self._layer_parts()
        self._mode: choose.Mode = "full"
        if not self._one_group:
            split = any(self._parts)
            self._mode = choose.mode_of(
                parameters, settings, listed=source.listed, direct=source.direct, split=split
            )
        most = choose.BLOCK_ROWS if self._mode == "full" else choose.CHUNK
        self.chunk = min(self.batch_size, most)
        if self._mode == "full":  # a share's samples are in whole tiles of its own
            self.chunk = -(-self.chunk // BLOCK) * BLOCK
        if not source.direct:
            self.chunk = min(self.chunk, source.stage_rows)
        at_once = self.batch_size if self._mode == "full" else self.chunk
        self._flops = choose.flops(self.architecture, at_once)
        self._times = -(-len(self._y) // at_once)  # that so many are gone through
        self._asked, self.threads = threads, self._choose_threads(threads)
        levels = choose.thread_levels(self.threads) if threads is None else [self.threads]
        close = choose.is_close(self._flops, self.threads, phases=2)
        self._autotuner = Autotuner(levels, levels[0] if close else self.threads)
        self._workspace = self._make_workspace()
        self._take_memory()
        self._index: Index | None = None
        self._packed: PackedWeights | None = None
        self._jobs = {False: self._job()}
        if self._goes_through_lists():
            self._list_samples(repeats)
        self._executables: dict[bool, Executable] = {}
        self._prepare()

    # choices and memory

    def _layer_parts(self) -> tuple[int, ...]:
        """Return into how many parts each layer's operands are split: in training alone."""
        if self.optimizer is None or self._one_group:
            return (0,) * self.architecture.n_layers
        parts = layer_parts(self.architecture, self.batch_size, self._source.X)
        if any(parts):
            tell_precision(self.architecture.precision)
        return parts

    def _choose_threads(self, threads: int | None) -> int:
        if self._mode == "single":
            return 1
        return choose.choose_threads(threads, self._flops, steps=self._times, phases=2)

    def _make_workspace(self) -> Workspace:
        rows = self.chunk * (self.threads if self._mode == "full" else 1)
        packing: list[choose.Packing | None] = []
        if self._mode == "batch":
            packing = [
                choose.packing(*sizes, self.chunk, parts)
                for sizes, parts in zip(self.architecture.layers, self._parts, strict=True)
            ]
        dropout = self.regularization.dropout
        return Workspace(self.parameters, rows, dropout=dropout, packing=packing)

    def _take_memory(self) -> None:
        parameters, r = self.parameters, self.regularization
        slots = sum(q.slots for q in self._workspace.layers)
        self._penalties = np.zeros(-(-slots // 4) * 4)  # added up four by four
        self._norms = np.zeros(slots + self.architecture.n_layers)
        self._limits = np.array([r.l1, r.l2 / 2, r.clip_norm or 0.0, r.max_norm or 0.0])
        self._clipped = np.zeros((self.threads, 2, HYPER_ROW), parameters.dtype)
        self._hyper = np.zeros((1, 2, HYPER_ROW), parameters.dtype)
        sparse = self._source.X if self._source.listed and self.optimizer is None else None
        most = 1 if self._one_group else choose.most_groups(parameters, sparse)
        samples = -(-self.batch_size // (most * choose.BLOCK_ROWS))
        self._group_samples = samples * choose.BLOCK_ROWS
        self._groups = -(-self.batch_size // self._group_samples) if self._mode == "full" else 1
        self.gradient = np.zeros(0, parameters.dtype)
        summed = self.optimizer is None or self.batch_size > self.chunk
        if (summed or r.whole) and self._mode != "single":
            self.gradient = aligned_zeros(parameters.size * self._groups, parameters.dtype)

    def _job(self) -> Job:
        """Return what programs over X as it lies are told."""
        r, trained, parameters = self.regularization, self.optimizer is not None, self.parameters
        layers, target, a = self._workspace.layers, current_target(), self.architecture
        return Job(
            layers=layers, item=parameters.dtype.itemsize, vector=target.vector_bytes,
            tile_rows=target.tile_rows, shares=self.threads, input=self._source.kind,
            loss=loss_of((a.output, a.loss), self._y.strides), batch_size=self.batch_size,
            chunk=self.chunk, bounds=row_bounds(layers, self.threads, self.chunk)[1:],
            optimizer=OPTIMIZERS[self.optimizer.rule] if self.optimizer else STORE,
            n_bytes=parameters.size * parameters.dtype.itemsize,
            regularizing=Regularizing(
                penalty=trained and (r.l1 > 0 or r.l2 > 0),
                clips=trained and r.clip_norm is not None,
                limits=trained and r.max_norm is not None, whole=trained and r.whole,
            ),
            groups=self._groups, group_samples=self._group_samples,
        )  # fmt: skip

    def _goes_through_lists(self) -> bool:
        """Whether lists of non-zeros are made."""
        source = self._source
        return source.listed or (self.optimizer is not None and source.sparse)

    def _list_samples(self, repeats: int) -> None:
        """Make lists of non-zeros, and note what programs over them are told."""
        source, row_bytes = self._source, self._workspace.layers[0].ld_w
        if self._mode == "batch" and self.optimizer is not None:
            most = self.chunk
            if source.as_rows:
                most = min(most, repeats * source.most_in_a_column())
            slots = self.optimizer.slots
            self._packed = PackedWeights(self.parameters, self.threads, self.chunk, slots, most)
            row_bytes = self._packed.row_bytes
        self._index = index = source.make_index(row_bytes, summed=self.optimizer is None)
        # not by threads: the bits would tell
        at_once = index.cuts.shape[1] if self.batch_size == 1 else 1
        job = replace(self._jobs[False], lists=index.described(at_once))
        if self._packed is not None:
            edges, *bounds = row_bounds(
                job.layers, self.threads, self.chunk, index, self._packed.count
            )
            job = replace(job, bounds=tuple(bounds), packed=self._packed.described(edges))
        self._jobs[True] = job

    # other samples: what was prepared serves all that are alike

    def release(self) -> None:
        """Let go of the samples: no steps are taken before `take` has brought others."""
        self._had = self._kind_of_data()
        self._source.release()
        self._y, self.sample_weight = self._y[:0], None

    def take(self, data: DataSet, settings: StepSettings, threads: int | None) -> bool:
        """Go on with other samples and another state, as if made anew.

        False where it cannot, and has to be made anew: samples have another shape or type than
        those it had, lists of non-zeros are worth making, or settings are others.
        """
        had = self.optimizer, self.regularization, self.batch_size, self._asked
        if had != (settings.optimizer, settings.regularization, settings.batch_size, threads):
            return False
        self._source = Source(data.X, self.architecture)
        self._y = padded_targets(data.y, self.parameters.dtype)
        if self._kind_of_data() != self._had or self._index is not None or self._source.sparse:
            return False
        if self._choose_threads(threads) != self.threads:
            return False
        self.state, self.sample_weight = settings.state, data.sample_weight
        for executable in self._executables.values():
            self._enter_memory(executable.bases, False)
        return True

    def _kind_of_data(self) -> tuple[Hashable, ...]:
        """Return all that programs know of the samples."""
        source, y = self._source, self._y
        return source.X.shape, source.direct, source.kind, y.shape, y.dtype

    # programs

    def _prepare(self) -> None:
        """Have an epoch's program ready: made later, it would count as the first one's time."""
        size, chunk = self.batch_size, self.chunk
        if self._source.direct or size <= chunk:
            segments = self._segments(-(-len(self._y) // size), len(self._y))
        else:
            keys = ["copies", ("sum", chunk, STORE), ("sum", chunk, ADD)]
            keys += [] if self.optimizer is None else ["apply"]
            segments = tuple((key, 0, 1) for key in keys)
        self._executable(self._index is not None, segments)

    def phases(self, listed: bool, key: Hashable) -> list[Phase]:
        """Return the phases of a section, over lists or not."""
        return phases_of(self._mode, self._jobs[listed], key)

    def _segments(self, steps: int, samples: int) -> tuple[Segment, ...]:
        """Return what is run for so many steps over samples whose last batch may be smaller."""
        if self._mode == "single":
            return ((("step", 1), 0, steps),)
        full = min(steps, samples // self.batch_size)
        segments: list[Segment] = [("copies", 0, 1)]
        if full:
            segments.append((("step", self.batch_size), 0, full))
        if full < steps:
            rest = samples - full * self.batch_size
            segments.append((("step", rest), full, steps))
        if self._jobs[False].regularizing.penalty:
            segments.append(("penalties", steps, steps + 1))
        return tuple(segments)

    def _executable(self, listed: bool, segments: tuple[Segment, ...]) -> Executable:
        """Return the program over lists, or the other one, ready for these segments."""
        executable = self._executables.get(listed)
        needed = tuple(key for key, _, _ in segments)
        if executable is None or not executable.places.keys() >= set(needed):
            known = () if executable is None else executable.places
            keys = tuple(dict.fromkeys([*known, *needed]))
            keys = keys if len(keys) <= _SECTIONS else needed
            a, rule = self.architecture, self.optimizer.rule if self.optimizer else "sgd"
            layout = _layout_of_sections(
                self._mode, self._jobs[listed], keys, a.dtype, a.activations, rule
            )
            executable = self._executables[listed] = Executable(layout)
            self._enter_memory(executable.bases, listed)
        executable.enter(segments)
        return executable

    def _enter_memory(self, bases: Any, listed: bool) -> None:
        """Enter the arrays that stay where they are."""
        weight = self.sample_weight
        arrays: dict[Slot, int] = {
            Slot.PARAMETERS: self.parameters.flat.ctypes.data,
            Slot.GRADIENT: self.gradient.ctypes.data, Slot.WORKSPACE: self._workspace.address,
            Slot.Y: self._y.ctypes.data, Slot.WEIGHT: 0 if weight is None else weight.ctypes.data,
            Slot.PENALTIES: self._penalties.ctypes.data, Slot.LIMITS: self._limits.ctypes.data,
            Slot.NORMS: self._norms.ctypes.data, Slot.CLIPPED: self._clipped.ctypes.data,
        }  # fmt: skip
        if listed and self._index is not None:
            arrays |= self._index.bases()
        if listed and self._packed is not None:
            arrays |= self._packed.bases()
        for slot, address in arrays.items():
            bases[slot] = address

    # steps

    def train(
        self, order: np.ndarray, rates: np.ndarray, words: np.ndarray | None = None
    ) -> EpochResult:
        """Take one step per batch of the samples in `order`, each with its learning rate; for
        dropout with `words`, see `reference.dropout.key_words`.
        """
        starts, totals = batches(order, self.batch_size, self.sample_weight)
        parts = []
        for first in range(0, len(rates), _ROWS):
            some = slice(first, first + _ROWS)
            samples = order[first * self.batch_size : (first + _ROWS) * self.batch_size]
            hyper = self._hyperparameters(rates[some], totals[some])
            parts.append(self.steps(samples, hyper, None if words is None else words[some]))
        joined = map(np.concatenate, zip(*parts, strict=True)) if len(parts) > 1 else parts[0]
        losses, correct, penalty = joined
        sums = np.add.reduceat(losses, starts) + penalty * totals
        if self.architecture.output == "identity":
            correct[:] = 0
        return EpochResult(sums, totals, np.add.reduceat(correct, starts), len(order))

    def _hyperparameters(self, rates: np.ndarray, totals: np.ndarray) -> np.ndarray:
        r, optimizer = self.regularization, self.optimizer or Optimizer(0.0)
        if len(self._hyper) < len(rates):
            self._hyper = np.empty((len(rates), 2, HYPER_ROW), self.parameters.dtype)
        rows = self._hyper[: len(rates)]
        return hyperparameters(optimizer, rates, totals, r.l2, self.state.step, rows, r.l1)

    def steps(
        self, order: np.ndarray, hyper: np.ndarray, words: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Take one step per batch of the samples in `order`, each with a row of `hyper`, as
        `hyperparameters` returns them, and with `words` for dropout.

        Returns each sample's weight times loss, whether it was predicted right, and the penalties
        of the weights before each step.
        """
        run_of = Run(order, hyper, words)
        if self._source.direct:
            self._take_steps(run_of, 0, run_of.steps, run_of.order, self._source.X)
        elif self.batch_size <= self.chunk:
            self._take_staged_steps(run_of)
        else:
            for step in range(run_of.steps):
                self._take_staged_step(run_of, step)
        if self.optimizer is not None:
            self.state.step += run_of.steps
        return run_of.losses, run_of.correct, run_of.penalty

    def _listed(self) -> bool:
        """Whether zeros may be left out: 0 times a weight that is not finite is NaN (a sparse
        matrix says so itself).
        """
        return self._index is not None and (self._source.listed or self.parameters.finite)

    def _take_steps(self, run_of: Run, first: int, last: int, rows: np.ndarray, X: Any) -> None:
        """Take steps of a run, from the `first` to before the `last`: their samples lie at `rows`
        of X, which is the source's, or staged.
        """
        listed, size, n = self._listed(), self.batch_size, len(rows)
        packed = self._packed if listed else None
        if listed and self._mode != "full":  # the next lists are asked for: there have to be some
            rows = np.concatenate([rows, rows[:size]])
        if packed is not None:
            packed.pack()
        step, tuner = first, self._autotuner
        while step < last:
            begun, seen = time.perf_counter(), (step - first) * size
            count = tuner.steps(last - step)
            segments = self._segments(count, min(count * size, n - seen))
            executable = self._executable(listed, segments)
            self._source.enter(executable.bases, X)
            run_of.enter(executable.bases, step, step * size)
            executable.bases[Slot.ROWS] = rows[seen:].ctypes.data
            executable.run(tuner.threads)
            tuner.note(time.perf_counter() - begun, count)
            step += count
        if packed is not None:
            packed.unpack()

    def _take_staged_steps(self, run_of: Run) -> None:
        """Take whole steps, as many at a time as there is room for converted rows."""
        size = self.batch_size
        steps = max(1, self._source.stage_rows // size)
        for first in range(0, run_of.steps, steps):
            last = min(first + steps, run_of.steps)
            staged = self._source.stage(run_of.order[first * size : last * size])
            self._take_steps(run_of, first, last, np.arange(len(staged), dtype=np.int64), staged)
            del staged  # before the next rows are converted

    def _take_staged_step(self, run_of: Run, step: int) -> None:
        """Take one step whose batch is larger than the room: sum its gradient chunk by chunk."""
        first, end = step * self.batch_size, min((step + 1) * self.batch_size, len(run_of.order))
        for start in range(first, end, self.chunk):
            stop = min(start + self.chunk, end)
            code = STORE if start == first else ADD
            staged = self._source.stage(run_of.order[start:stop])
            rows = np.arange(stop - start, dtype=np.int64)
            executable = self._executable(
                False, (("copies", 0, 1), (("sum", stop - start, code), 0, 1))
            )
            bases = executable.bases
            self._source.enter(bases, staged)
            run_of.enter(bases, step, start)
            bases[Slot.ROWS], bases[Slot.PLACE] = rows.ctypes.data, start - first
            executable.run(self.threads)
            del staged
        if self.optimizer is not None:
            self._apply(run_of, step)

    def _apply(self, run_of: Run, step: int) -> None:
        """Take the optimizer's step from the gradient that was summed."""
        executable = self._executable(False, (("apply", 0, 1),))
        run_of.enter(executable.bases, step, 0)
        executable.run(self.threads)
