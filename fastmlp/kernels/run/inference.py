"""Inference: the forward pass only, over data of any size."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np

from ...contract.parameters import Parameters, row_length
from ...contract.splitting import is_sparse
from ..program.job import Lists, Loss
from ..program.operation import Slot
from . import choose
from .csr_index import Index, room_for_lists
from .rows_inference import Blocks, RowsInference
from .source import Source, loss_of, padded_targets

__all__ = ["Inference"]


class Inference:
    """The forward pass only, over data of any size, without copying it.

    Samples that will be asked for again and again, `data`, are worth a list of their non-zeros.
    Most rows may also take a shorter way, `rows`.
    """

    def __init__(self, parameters: Parameters, data: Any = None) -> None:
        self.parameters, self.rows = parameters, RowsInference(parameters)
        self.architecture = a = parameters.architecture
        item = parameters.dtype.itemsize
        self._row_bytes = row_length(a.layer_sizes[1], item) * item
        self._pays_in_passing = choose.lists_pay_in_passing(*a.layers[0], item)
        self._free: dict[Hashable, list[Blocks]] = {}  # programs that nobody uses
        self._data, self._index = data, None
        if data is not None:
            self._source = Source(data, a)
            if self._source.sparse:
                self._index = self._source.make_index(self._row_bytes)

    def activations(self, X: Any, threads: int | None) -> list[np.ndarray]:
        """Return every layer's activations, the output last."""
        n = X.shape[0]
        outputs = self._outputs_of(n)
        workspace = self._over(X, {Slot.OUT: outputs}, threads, kept=True)
        hidden = [
            np.ascontiguousarray(workspace.array(q.h, q.n_out, q.ld_h)[:n])
            for q in workspace.layers[:-1]
        ]
        return [*hidden, outputs]

    def _outputs_of(self, n: int) -> np.ndarray:
        return np.empty((n, self.architecture.n_out), self.parameters.dtype)

    def outputs(self, X: Any, threads: int | None) -> np.ndarray:
        """Return the network's outputs, (n, n_out)."""
        out = self._outputs_of(X.shape[0])
        self._over(X, {Slot.OUT: out}, threads)
        return out

    def losses(
        self, X: Any, y: np.ndarray, sample_weight: np.ndarray | None, threads: int | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return each sample's weight times loss, and whether it was predicted right."""
        n = X.shape[0]
        losses, correct = np.zeros(n), np.zeros(n, np.int64)
        targets = padded_targets(y, self.parameters.dtype)
        arrays = {Slot.LOSSES: losses, Slot.CORRECT: correct, Slot.Y: targets}
        if sample_weight is not None:
            arrays[Slot.WEIGHT] = sample_weight
        a = self.architecture
        self._over(X, arrays, threads, loss_of((a.output, a.loss), targets.strides))
        return losses, correct

    def _lists(self, X: Any, source: Source, *, kept: bool) -> tuple[Index | None, Lists | None]:
        """Return lists of non-zeros and what programs are told of them; None for a dense X.

        Those that are made of the samples on their way, where it is worth it, are used once.
        """
        index = self._index if X is self._data else None
        if source.listed:
            index = index or source.rows_as_they_lie()
        elif index is None:
            pays = source.direct and self._pays_in_passing and not kept
            if pays and is_sparse(X) and self.parameters.finite:
                block = choose.block_columns(self._row_bytes)
                blocks = -(-X.shape[1] // block)
                return None, Lists("values", blocks + 1, block, 1, passing=True)
            return None, None
        elif not self.parameters.finite:
            return None, None
        return index, index.described()

    def _over(
        self, X: Any, arrays: Mapping[Slot, np.ndarray], threads: int | None,
        loss: Loss | None = None, *, kept: bool = False,
    ) -> Any:  # fmt: skip
        """Run over X, in pieces where NumPy has to convert the rows, with arrays that have a row
        a sample; return the workspace, which has all samples if they are to be `kept`.
        """
        n = X.shape[0]
        source = self._source if X is self._data else Source(X, self.architecture)
        piece = n
        if not (source.direct or kept):
            piece = min(n, max(source.stage_rows, choose.BLOCK_ROWS))
        non_zeros = source.X.nnz if source.listed else None
        work = choose.forward_flops(self.architecture, piece, non_zeros)
        shares = choose.inference_shares(piece, choose.choose_threads(threads, work))
        block = max(1, -(-n // (16 * shares))) * 16 if kept else choose.BLOCK_ROWS
        index, lists = self._lists(X, source, kept=kept) if n else (None, None)
        key = (source.kind, shares, lists, repr(loss))
        free = [] if kept else self._free.setdefault(key, [])
        try:
            ready = free.pop()
        except IndexError:  # none yet, or other calls have them
            ready = Blocks(self.parameters, source, shares, block=block, loss=loss, lists=lists)
            if lists is not None and lists.passing:
                n_in, dtype = self.architecture.n_in, self.parameters.dtype
                ready.room = room_for_lists(ready.workspace.rows, n_in, self._row_bytes, dtype)
        index = ready.room or index
        if index is not None:
            for slot, address in index.bases().items():
                ready.bases[slot] = address
        ready.bases[Slot.WEIGHT] = 0
        for start in range(0, n, max(1, piece)):
            part = slice(start, min(start + piece, n))
            ready.divide(part.stop - start)
            rows = X if source.direct else source.stage(np.arange(start, part.stop))
            source.enter(ready.bases, rows)
            for slot, array in arrays.items():
                address = array[part].ctypes.data
                if slot in (Slot.Y, Slot.WEIGHT):  # whose rows are looked up
                    ready.bases[slot] = address
                else:
                    ready.enter(slot, address, array.strides[0])
            ready.run()
        free.append(ready)
        return ready.workspace
