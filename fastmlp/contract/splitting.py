"""Which layers' products are computed of bfloat16 parts: a rule that both backends share.

The parts show in the bits, so sizes and data decide alone: not the processor, nor the threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..architecture import Architecture

__all__ = [
    "PARTS",
    "columns_fit",
    "density",
    "is_sparse",
    "layer_parts",
    "lists_fit",
    "mostly_zero",
]

# By `precision`: bfloat16 parts of an operand. Of two, the product of the second parts is left out.
PARTS = {"highest": 0, "high": 2, "medium": 1}

# Narrower layers gain little, and so do fewer samples: packing takes what the products save. Steps
# of n-n-n-10, Adam, one thread of AMD Zen 4 (`vdpbf16ps`), medium's speed over highest's: 64, 64
# samples 1.3; 128, 32 samples 1.1; 128, 64 samples 1.5; 256, 32 samples 1.4; 512, 32 samples 1.2;
# from 256, 64 samples on 1.6 to 1.9.
_LEAST_WIDTH = 128  # the harmonic mean of inputs and outputs
_LEAST_AREA = 1 << 13  # times the samples of a step

_DENSITY = 0.4  # above this share of non-zeros the dense tile is as fast as lists of them
_INPUTS = range(16, 1 << 16)  # at least a block, and columns of blocks are numbered by uint16
_FEWEST_SAMPLES = 64  # of a data set
_LOOKED_AT = 256  # rows whose density speaks for all


def density(X: np.ndarray) -> float:
    """Return the share of non-zeros in some rows."""
    step = max(1, len(X) // _LOOKED_AT)
    rows = X[::step][:_LOOKED_AT]
    return float(np.count_nonzero(rows != 0)) / max(1, rows.size)


def columns_fit(n_in: int) -> bool:
    """Tell whether rows of so many columns can be listed block by block."""
    return n_in in _INPUTS


def mostly_zero(non_zeros: int, elements: int) -> bool:
    """Tell whether lists of so few non-zeros are worth making."""
    return non_zeros <= _DENSITY * elements


def lists_fit(samples: int, n_in: int) -> bool:
    """Tell whether data of that shape may be worth listing, if most of them are zero."""
    return columns_fit(n_in) and samples >= _FEWEST_SAMPLES


def is_sparse(X: Any) -> bool:
    """Tell from a glance at some rows whether lists of non-zeros are worth making."""
    return X.ndim == 2 and lists_fit(*X.shape) and density(X) <= _DENSITY


def layer_parts(architecture: Architecture, batch_size: int, X: Any) -> tuple[int, ...]:
    """Return into how many parts the operands of each layer are split in a step; 0: not at all.

    Wide layers' are, the first one's only where X is neither a sparse matrix nor mostly zeros.

    Parameters
    ----------
    architecture : Architecture
    batch_size : int
        Samples of a step.
    X : ndarray, frame or scipy sparse matrix, (n, n_in)
    """
    parts = PARTS[architecture.precision]
    if not parts:
        return (0,) * architecture.n_layers

    def wide(n_in: int, n_out: int) -> bool:
        width = 2 * n_in * n_out / (n_in + n_out)
        return width >= _LEAST_WIDTH and width * batch_size >= _LEAST_AREA

    found = [parts * wide(*sizes) for sizes in architecture.layers]
    if found[0] and (hasattr(X, "toarray") or (isinstance(X, np.ndarray) and is_sparse(X))):
        found[0] = 0
    return tuple(found)
