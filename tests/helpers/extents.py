"""How far the arrays of a training or an inference reach: what `checker` holds programs against."""

from __future__ import annotations

from typing import Any

import numpy as np
from footprint import Array

from fastmlp.contract.parameters import Parameters
from fastmlp.kernels.emit.optimizers import HYPER_ROW
from fastmlp.kernels.program.inference import told
from fastmlp.kernels.program.job import BLOCK, Layer
from fastmlp.kernels.program.operation import At, Phase, Program, Share, Slot
from fastmlp.kernels.run import rows_inference
from fastmlp.kernels.run.packed_weights import PackedWeights
from fastmlp.kernels.run.workspace import Workspace

Extents = dict[Slot, list[Array]]


def _whole(name: str, size: int, start: int = 0) -> list[Array]:
    return [Array(name, start, size)]


def _of_parameters(parameters: Parameters, layers: tuple[Layer, ...], copies: int) -> list[Array]:
    item = parameters.dtype.itemsize
    found = []
    for copy in range(copies):
        start = copy * parameters.size * item
        for number, q in enumerate(layers, 1):
            rows = q.blocks * BLOCK
            found.append(Array(f"W{number} ({copy})", start + q.w.offset, rows * q.ld_w))
            found.append(Array(f"b{number} ({copy})", start + q.bias.offset, q.ld_w))
    return found


def _of_workspace(workspace: Workspace) -> list[Array]:
    return [Array("workspace", *place) for place in workspace.places]


def _of_samples(samples: int, steps: int, layers: tuple[Layer, ...], item: int) -> Extents:
    """Return the arrays that have an element a sample or a step."""
    dropped = len(layers) - 1 if any(q.factor is not None for q in layers) else 0
    return {
        Slot.ORDER: _whole("order", samples * 8), Slot.LOSSES: _whole("losses", samples * 8),
        Slot.CORRECT: _whole("correct", samples * 8),
        Slot.HYPER: _whole("hyperparameters", steps * 2 * HYPER_ROW * item),
        Slot.WORDS: _whole("words", steps * dropped * 8),
        # the sum of the step before the first one is written too
        Slot.PENALTY: _whole("penalty", (steps + 1) * 8, -8),
    }  # fmt: skip


def _of_data(X: Any, index: Any) -> Extents:
    found: Extents = {Slot.SCALE: _whole("input_scale", 8)}
    if isinstance(X, np.ndarray) and X.size:
        last = (len(X) - 1) * X.strides[0]
        found[Slot.X] = _whole("X", last + X.shape[1] * X.itemsize)
    if index is not None:
        arrays = (index.starts, index.cuts, index.columns, index.values, index.table)
        for slot, array in zip(range(Slot.INDEX_STARTS, Slot.INDEX_TABLE + 1), arrays, strict=True):
            found[Slot(slot)] = _whole(Slot(slot).name.lower(), array.nbytes)
    return found


def _of_panels(packed: PackedWeights) -> Extents:
    """Return the arrays of packed weights, a panel and each copy of it for itself."""
    begin, size = packed._buffer.ctypes.data, packed._size * packed._buffer.itemsize
    panels = []
    for panel, _ in packed._pairs[: packed.count]:
        first = panel.ctypes.data - begin
        for copy in range(packed._buffer.nbytes // size):
            name = f"panel at {first} ({copy})"
            panels.append(Array(name, first + copy * size, panel.nbytes))
    return {
        Slot.PACKED: panels, Slot.COUNTS: _whole("counts", packed._counts.nbytes),
        Slot.LISTED: _whole("listed", packed._listed.nbytes),
    }  # fmt: skip


def of_training(training: Any, listed: bool, samples: int, steps: int) -> Extents:
    """Return the arrays of a `Training` that takes so many steps over so many samples."""
    parameters, layers = training.parameters, training._workspace.layers
    item = parameters.dtype.itemsize
    size, y, weight = parameters.size * item, training._y, training.sample_weight
    padding = min(samples, training.batch_size) if listed else 0
    found: Extents = {
        Slot.PARAMETERS: _of_parameters(parameters, layers, 1 + len(parameters.slots)),
        Slot.GRADIENT: _of_parameters(parameters, layers, training.gradient.nbytes // size),
        Slot.WORKSPACE: _of_workspace(training._workspace), Slot.Y: _whole("y", y.nbytes),
        Slot.WEIGHT: _whole("sample_weight", 0 if weight is None else weight.nbytes),
        Slot.ROWS: _whole("rows", (samples + padding) * 8),
        Slot.PENALTIES: _whole("penalties", training._penalties.nbytes),
        Slot.NORMS: _whole("norms", training._norms.nbytes),
        Slot.LIMITS: _whole("limits", training._limits.nbytes),
        Slot.CLIPPED: _whole("clipped", training._clipped.nbytes),
        **_of_samples(samples, steps, layers, item),
        **_of_data(training._source.X, training._index if listed else None),
    }  # fmt: skip
    if listed and training._packed is not None:
        found |= _of_panels(training._packed)
    return found


def of_inference(inference: Any, workspace: Workspace, X: Any, index: Any, count: int) -> Extents:
    """Return the arrays of an `Inference` over so many samples."""
    parameters = inference.parameters
    item, n_out = parameters.dtype.itemsize, parameters.architecture.n_out
    numbers = max(count, workspace.rows)
    return {
        Slot.PARAMETERS: _of_parameters(parameters, workspace.layers, 1),
        Slot.WORKSPACE: _of_workspace(workspace), Slot.OUT: _whole("outputs", count * n_out * item),
        Slot.ROWS: _whole("rows", count * 8), Slot.NUMBERS: _whole("numbers", numbers * 8),
        **_of_samples(count, 1, workspace.layers, item), **_of_data(X, index),
    }  # fmt: skip


def programs_of_blocks(monkeypatch: Any) -> list[Program]:
    """Return a list of the programs of `blocks` that are written from now on."""
    programs, honest = [], rows_inference.blocks

    def noted(*arguments: Any, **options: Any) -> Program:
        programs.append(honest(*arguments, **options))
        return programs[-1]

    monkeypatch.setattr(rows_inference, "blocks", noted)
    uncached = rows_inference._layout_of_blocks.__wrapped__
    monkeypatch.setattr(rows_inference, "_layout_of_blocks", uncached)
    return programs


def as_run(ready: Any, program: Program) -> list[Phase]:
    """Return the phases of a program of `blocks` with the numbers and places that it was told."""
    bases, turns = ready.bases, iter(ready._executable.turns.tolist())
    begin = told(0)[0]  # where the first share's whole blocks are, all samples begin
    known: dict[int, int | At] = {}
    for t in range(program.shares):
        for part in told(t):
            for name, slot in part.items():
                if isinstance(name, str):
                    known[slot] = bases[slot]
                elif name != Slot.ORDER:  # told with the rows
                    known[slot] = At(name, bases[slot] - bases[begin[name]])

    def resolved(value: int | At) -> int | At:
        there = known.get(value.slot) if isinstance(value, At) else value
        if isinstance(there, At):
            return At(there.slot, there.offset + value.offset, value.step, value.turn)
        return value if there is None else there

    def as_told(share: Share) -> Share:
        concrete = Share()
        for loop in share.loops:
            with concrete.times(next(turns)):
                for operation in loop.operations:
                    named = operation.named()
                    concrete.add(operation.kernel, **{k: resolved(v) for k, v in named.items()})
        return concrete

    return [Phase(phase.name, [as_told(share) for share in phase.shares])
            for phase in program.sections["blocks"]]  # fmt: skip
