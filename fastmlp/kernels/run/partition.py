"""Which rows of every W, and which blocks of its lists of non-zeros, are a share's own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..emit.target import current_target
from ..program.job import BLOCK, Layer
from .csr_index import Index

__all__ = ["row_bounds"]

# mutant 5: who works on what changes no bit
_STEP = 4  # stepping a vector of W, as often as it is multiplied and added


def row_bounds(
    layers: Sequence[Layer], shares: int, samples: int, index: Index | None = None, panels: int = 0
) -> tuple[tuple[int, ...], ...]:
    """Return where each share's part begins, and the last one's ends: first of the blocks of lists,
    then of the rows of every W, in whole blocks of 16.

    All shares get equally much to do, of so many samples at a time. Panels, where the first layer
    goes through lists (`index`), are not cut: who has the smaller ones gets more of the other
    layers.
    """
    bounds = np.zeros((len(layers) + 1, shares + 1), np.int64)
    costs, work, first = [_block_costs(q, samples) for q in layers], np.zeros(shares), 0
    if index is not None:
        bounds[0] = index.shares(shares)
        listed = index.columns.size / len(index.cuts)  # of a sample
        costs[0] = _block_costs(layers[0], samples * listed / layers[0].n_in)
        if panels >= shares:
            vectors = layers[0].vectors_out
            edges = vectors * (panels * np.arange(shares + 1) // shares) // panels
            work, first = np.diff(edges) / vectors * costs[0].sum(), 1
    cumulative = np.cumsum(np.concatenate([np.zeros(1), *costs[first:]]))
    middles = (cumulative[:-1] + cumulative[1:]) / 2
    cuts = np.searchsorted(middles, np.cumsum(_filled_up(work, cumulative[-1])))
    for number, blocks in enumerate(costs[first:], first + 1):
        bounds[number, 1:] = np.clip(cuts, 0, blocks.size) * BLOCK
        cuts -= blocks.size
    return tuple(tuple(row) for row in bounds.tolist())


def _block_costs(q: Layer, samples: float) -> np.ndarray:
    """Return what the blocks of a W's rows cost: the last one's tiles may be fewer."""
    tile = current_target().tile_rows
    rows = -(-q.n_in // tile) * tile - np.arange(0, q.blocks * BLOCK, BLOCK)
    return np.asarray(np.minimum(rows, BLOCK) * q.vectors_out * (samples + _STEP), np.float64)


def _filled_up(work: np.ndarray, more: float) -> np.ndarray:
    """Share `more` work out so that all have equally much, or nothing where they have more."""
    levels = (more + np.cumsum(np.sort(work))) / np.arange(1, len(work) + 1)
    return np.maximum(levels.min() - work, 0.0)
