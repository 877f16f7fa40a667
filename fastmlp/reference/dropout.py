"""Dropout: which activations a step leaves out.

A draw is a function of where it is used: a key, the number of the step, the layer, the sample's
place in the batch and the unit. Nothing is kept between draws, so they are the same in whatever
order and by however many threads they are made. All arithmetic is on 32 bits, modulo 2^32: two
multiplications a draw, and shifts.
"""

from __future__ import annotations

import numpy as np

from ..regularization import threshold

__all__ = ["draws", "dropout_factors", "key_words", "mix"]

# The multipliers of lowbias32 (C. Wellons, hash-prospector), which a search has found to leave
# little bias: nearly every output bit changes with probability 1/2 when an input bit does.
_FIRST, _SECOND = np.uint32(0x7FEB352D), np.uint32(0x846CA68B)


def mix(x: np.ndarray) -> np.ndarray:
    """Return a bijective hash of 32 bits: ``x ^= x >> 16; x *= c1; x ^= x >> 15; x *= c2;
    x ^= x >> 16``.

    Parameters
    ----------
    x : ndarray of uint32

    Returns
    -------
    ndarray of uint32, shaped as x
    """
    x = (x ^ (x >> np.uint32(16))) * _FIRST
    x = (x ^ (x >> np.uint32(15))) * _SECOND
    return x ^ (x >> np.uint32(16))


def key_words(key: np.ndarray, first_step: int, n_steps: int, n_hidden: int) -> np.ndarray:
    """Return two words per step t and hidden layer l: ``k_i = mix(mix(key_i + t) + l)``.

    Parameters
    ----------
    key : ndarray of uint32, (2,)
    first_step : int
        Steps taken before, modulo 2^32.
    n_steps, n_hidden : int

    Returns
    -------
    ndarray of uint32, (n_steps, n_hidden, 2)

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp.reference.dropout import key_words
    >>> key = np.array([1, 2], np.uint32)
    >>> bool((key_words(key, 5, 3, 2)[1:] == key_words(key, 6, 2, 2)).all())
    True
    """
    steps = np.arange(first_step, first_step + n_steps).astype(np.uint32)  # modulo 2^32
    layers = np.arange(n_hidden, dtype=np.uint32)
    return mix(mix(key + steps[:, None])[:, None] + layers[:, None])


def draws(words: np.ndarray, n: int, n_units: int) -> np.ndarray:
    """Return a number for every sample i of a batch and every unit j of a layer.

    ``a_i = mix(k_0 + i)``, ``b_i = mix(k_1 + i)``; the draw is `mix` of ``a_i + j``, with
    ``b_i`` added bit by bit (xor) after the first multiplication.

    Parameters
    ----------
    words : ndarray of uint32, (2,)
        The step's and layer's; see `key_words`.
    n, n_units : int

    Returns
    -------
    ndarray of uint32, (n, n_units)
    """
    places = np.arange(n, dtype=np.uint32)
    a, b = mix(words[0] + places)[:, None], mix(words[1] + places)[:, None]
    x = a + np.arange(n_units, dtype=np.uint32)
    x = (x ^ (x >> np.uint32(16))) * _FIRST ^ b
    x = (x ^ (x >> np.uint32(15))) * _SECOND
    return x ^ (x >> np.uint32(16))


def dropout_factors(
    words: np.ndarray, n: int, n_units: int, rate: float, dtype: np.dtype
) -> np.ndarray:
    """Return what the activations of a hidden layer are multiplied by.

    Inverted dropout (Srivastava et al. 2014, section 10): 0 with probability `rate`, else
    ``1 / (1 - rate)``, so that the expected activation is what it is without dropout, and a
    trained network is used as it is. The derivatives f'(z) are multiplied by the same factors.

    Parameters
    ----------
    words : ndarray of uint32, (2,)
        The step's and layer's; see `key_words`.
    n, n_units : int
    rate : float in [0, 1)
    dtype : numpy dtype

    Returns
    -------
    ndarray, (n, n_units)

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp.reference.dropout import dropout_factors
    >>> words = np.array([1, 2], np.uint32)
    >>> np.unique(dropout_factors(words, 4, 50, 0.5, np.dtype("float32"))).tolist()
    [0.0, 2.0]
    """
    kept = draws(words, n, n_units) >= threshold(rate)
    return kept * dtype.type(1 / (1 - rate))
