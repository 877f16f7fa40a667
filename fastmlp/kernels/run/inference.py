"""Inference: the forward pass only, over data of any size."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

import numpy as np

from ...contract.parameters import Parameters, row_length
from ..emit.losses import OUTPUTS
from ..program import inference
from ..program.job import Lists, Loss
from ..program.operation import Program, Slot
from . import choose
from .csr_index import Index, room_for_lists
from .executor import Executable, run, serial_driver
from .rows_inference import RowsInference, executable_of, job_of
from .source import Source, index_bases, loss_of, padded_targets
from .thread_choice import ThreadChoice
from .workspace import Workspace

__all__ = ["Inference", "Prepared", "SmallInference"]

_KEPT = 8  # programs for calls of other shapes
Enter = Callable[[np.ndarray, int, np.ndarray], None]


class _Few:
    """Programs for 1, 2, 3 and 4 rows of one dtype, and the room that they read and write.

    Several shares have columns of each layer; the sums are the same.
    """

    def __init__(self, parameters: Parameters, X: np.ndarray, shares: int) -> None:
        architecture = parameters.architecture
        self._source = source = Source(X, architecture)
        self.direct = source.direct
        if not self.direct:
            return
        workspace = self._workspace = Workspace(parameters, choose.FEW)
        self.rows = np.zeros((choose.FEW, architecture.n_in), X.dtype)
        self.out = np.zeros((choose.FEW, architecture.n_out), parameters.dtype)
        self._order = np.arange(choose.FEW, dtype=np.int64)
        looks = X.dtype == parameters.dtype  # as the kernel that looks for NaN reads it
        # cleared by programs that look; integers always are
        self.found = (ctypes.c_int64 * shares)(*[1] * shares)
        self.known = looks or X.dtype.kind != "f"
        self.executables: list[Executable] = []
        job = job_of(parameters, workspace, source.kind, shares=shares)
        code = OUTPUTS[architecture.output]
        for count in range(1, choose.FEW + 1):
            phases = inference.by_columns(job, count, code, one_by_one=True, looks=looks)
            program = Program(shares, {"few": phases})
            executable = executable_of(parameters, workspace, program)
            executable.enter((("few", 0, 1),))
            source.enter(executable.bases, self.rows, scaled=False)
            executable.bases[Slot.ROWS] = self._order.ctypes.data
            executable.bases[Slot.OUT] = self.out.ctypes.data
            executable.bases[Slot.FINITE] = ctypes.addressof(self.found)
            executable.bases[Slot.N_ROWS] = count
            self.executables.append(executable)
        self.addresses = [executable.address for executable in self.executables]


class SmallInference:
    """Outputs of a few rows at a time, with everything prepared: for calls that come in often.

    The rows are copied to where a program expects them, which takes a tenth of what asking NumPy
    for their address and entering it would.

    Parameters
    ----------
    parameters : Parameters
    """

    def __init__(self, parameters: Parameters) -> None:
        self._parameters, self._n_in = parameters, parameters.architecture.n_in
        self._most = choose.threads_of_columns(parameters.architecture, choose.WAITING_ROWS)
        # by the number of shares, and by dtype: those that nobody uses
        self._free: list[dict[np.dtype, list[_Few]]] = [{} for _ in range(self._most + 1)]
        self._choices = [ThreadChoice() for _ in range(choose.FEW + 1)]  # by the number of rows
        self._run = serial_driver()

    def outputs(
        self, X: Any, threads: int | None = None, *, checked: bool = True
    ) -> np.ndarray | None:
        """Return the outputs; None where X takes the general way, or is not finite as far as is
        known, if nobody has `checked` that.
        """
        if type(X) is not np.ndarray or X.ndim != 2 or X.shape[1] != self._n_in:
            return None
        count = len(X)
        if not 0 < count <= choose.FEW or not X.flags.c_contiguous:
            return None
        shares, choice = 1, None
        if self._most > 1 and threads != 1:
            choice = self._choices[count] if threads is None else None
            if choice is None or choice.together:
                shares = min(threads or self._most, self._most)
        free = self._free[shares]
        try:
            few = free[X.dtype].pop()
        except (KeyError, IndexError):  # the first call, or others are on: the bits do not tell
            few, choice = _Few(self._parameters, X, shares), None
        try:
            if not few.direct or not (checked or few.known):
                return None
            few.rows[:count] = X
            begun = 0.0 if choice is None else perf_counter()
            if shares == 1:
                self._run(few.addresses[count - 1])
            else:
                run(few.executables[count - 1], shares)
            if choice is not None:
                choice.note(perf_counter() - begun)
            if few.found[0] if shares == 1 else all(few.found):
                return few.out[:count].copy()
            few.found[:] = [1] * shares
            return few.out[:count].copy() if checked else None
        finally:
            free.setdefault(X.dtype, []).append(few)


class Prepared:
    """What a network keeps ready for calls to come: each kind of call has its own workspace."""

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters
        self.small = SmallInference(parameters)
        self.rows = RowsInference(parameters)
        self._free: dict[int | None, list[Inference]] = {}

    @contextmanager
    def inference(self, threads: int | None) -> Iterator[Inference]:
        """Lend the inference that was used before, or a new one while another call has it."""
        free = self._free.setdefault(threads, [])
        try:
            lent = free.pop()
        except IndexError:
            lent = Inference(self._parameters, threads)
        try:
            yield lent
        finally:
            if not free:
                free.append(lent)


class Inference:
    """The forward pass only, over data of any size, without copying it.

    Parameters
    ----------
    parameters : Parameters
    threads : int or None
    data : array, optional
        Samples that will be asked for again and again: worth a list of their non-zeros.
    """

    def __init__(self, parameters: Parameters, threads: int | None, data: Any = None) -> None:
        self.parameters, self._threads = parameters, threads
        self.architecture = parameters.architecture
        self._data, self._index = data, None
        self._workspace: Workspace | None = None  # that of the call before
        self._passing: Index | None = None
        self._executables: dict[Hashable, Executable] = {}
        if data is not None:
            self._source = Source(data, self.architecture)
            if self._source.sparse:
                self._index = self._source.make_index(self._row_bytes())

    def _row_bytes(self) -> int:
        item = self.parameters.dtype.itemsize
        return row_length(self.architecture.layer_sizes[1], item) * item

    def activations(self, X: Any) -> list[np.ndarray]:
        """Return every layer's activations, the output last."""
        n = X.shape[0]
        workspace = Workspace(self.parameters, max(n, 1), backward=False)
        outputs = self._outputs(X, workspace)
        hidden = [
            np.ascontiguousarray(workspace.array(q.h, q.n_out, q.ld_h)[:n])
            for q in workspace.layers[:-1]
        ]
        return [*hidden, outputs]

    def outputs(self, X: Any) -> np.ndarray:
        """Return the network's outputs, (n, n_out)."""
        return self._outputs(X, None)

    def losses(
        self, X: Any, y: np.ndarray, sample_weight: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return each sample's weight times loss, and whether it was predicted right."""
        n = X.shape[0]
        losses, correct = np.zeros(n), np.zeros(n, np.int64)
        targets = padded_targets(y, self.parameters.dtype)

        def enter(bases: np.ndarray, start: int, order: np.ndarray) -> None:
            bases[Slot.Y] = targets.ctypes.data
            bases[Slot.WEIGHT] = 0 if sample_weight is None else sample_weight.ctypes.data
            bases[Slot.LOSSES] = losses[start:].ctypes.data
            bases[Slot.CORRECT] = correct[start:].ctypes.data
            bases[Slot.ORDER] = order.ctypes.data

        self._over(X, None, enter, loss_of(self.architecture, targets))
        return losses, correct

    def _outputs(self, X: Any, workspace: Workspace | None) -> np.ndarray:
        out = np.empty((X.shape[0], self.architecture.n_out), self.parameters.dtype)

        def enter(bases: np.ndarray, start: int, order: np.ndarray) -> None:
            bases[Slot.OUT] = out[start:].ctypes.data

        self._over(X, workspace, enter, None)
        return out

    def _room(self, rows: int) -> Workspace:
        """Return room for so many rows, if it can be that of the call before."""
        kept = self._workspace
        if kept is None or kept.rows < rows:
            self._executables.clear()
            kept = self._workspace = Workspace(self.parameters, rows, backward=False)
        return kept

    def _room_for_lists(self, X: Any, source: Source, rows: int) -> Index | None:
        """Return room to list the non-zeros of so many rows as they go by, where it is worth it:
        the lists are used once.
        """
        n_in, n_out = self.architecture.layers[0]
        item = self.parameters.dtype.itemsize
        pays = choose.lists_pay_in_passing(n_in, n_out, item)
        if not (source.direct and pays and choose.is_sparse(X)):
            return None
        if self._passing is None or len(self._passing.cuts) < rows:
            self._passing = room_for_lists(rows, n_in, self._row_bytes(), self.parameters.dtype)
        return self._passing

    def _lists(self, X: Any, source: Source, rows: int, *, spread: bool) -> tuple[Any, Any]:
        """Return lists of non-zeros and what programs are told of them; None for a dense X."""
        index, passing = (self._index if X is self._data else None), False
        if source.listed and index is None:
            index = source.rows_as_they_lie()
        elif index is None and not spread:
            index = self._room_for_lists(X, source, rows)
            passing = index is not None
        if index is None or not (source.listed or self.parameters.finite):
            return None, None
        return index, Lists(index.kind, index.cuts.shape[1], index.block, 1, passing)

    def _over(self, X: Any, workspace: Workspace | None, enter: Enter, loss: Loss | None) -> None:
        """Run over X, in pieces where NumPy has to convert the rows.

        With a `workspace` of the caller's every sample has a row of its own.
        """
        n, spread = X.shape[0], workspace is not None
        if n == 0:
            return
        source = self._source if X is self._data else Source(X, self.architecture)
        piece = n
        if not (source.direct or spread):
            piece = min(n, max(source.stage_rows, choose.BLOCK_ROWS))
        non_zeros = source.X.nnz if source.listed else None
        work = choose.forward_flops(self.architecture, piece, non_zeros)
        threads = choose.choose_threads(self._threads, work)
        shares, block = choose.inference_blocks(piece, threads)
        room = workspace or self._room(shares * block)
        index, lists = self._lists(X, source, shares * block, spread=spread)
        order = np.arange(max(n, shares * block), dtype=np.int64)
        for start in range(0, n, piece):
            part = order[start : min(start + piece, n)]
            data = X if source.direct else source.stage(part)
            key = (len(part), source.kind, shares, block, lists, repr(loss), spread)
            executable = self._executables.get(key)
            if executable is None or spread:
                job = job_of(
                    self.parameters, room, source.kind, shares=shares, chunk=block, loss=loss,
                    lists=lists,
                )  # fmt: skip
                code = OUTPUTS[self.architecture.output]
                phases = inference.blocks(job, len(part), code, spread=spread)
                executable = executable_of(self.parameters, room, Program(shares, {"all": phases}))
                executable.enter((("all", 0, 1),))
                if not spread:
                    self._keep(key, executable)
            bases = executable.bases
            source.enter(bases, data, scaled=not source.direct)
            bases[Slot.ROWS] = part.ctypes.data if source.direct else order.ctypes.data
            bases[Slot.NUMBERS] = order.ctypes.data
            if index is not None:
                for slot, address in index_bases(index).items():
                    bases[slot] = address
            enter(bases, start, part)
            run(executable, shares)

    def _keep(self, key: Hashable, executable: Executable) -> None:
        if len(self._executables) >= _KEPT:
            del self._executables[next(iter(self._executables))]
        self._executables[key] = executable
