"""What keeps weights small: penalties on the loss, clipped gradients, bounded weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["clip_by_global_norm", "limit_norms", "penalty", "penalty_gradient"]

Arrays = Sequence[np.ndarray]


def penalty(weights: Arrays, l1: float, l2: float) -> float:
    """Return ``l1 sum |W| + l2 / 2 sum W^2`` over all weights; biases are none.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp.reference.penalties import penalty
    >>> penalty([np.array([[-2.0, 1.0]])], 0.1, 0.2)
    0.8
    """
    total = 0.0
    for w in weights:
        if l1:
            total += l1 * float(np.abs(w).sum(dtype=np.float64))
        if l2:
            total += l2 / 2 * float(np.square(w).sum(dtype=np.float64))
    return total


def penalty_gradient(w: np.ndarray, l1: float, l2: float) -> np.ndarray:
    """Return ``l1 sign W + l2 W``; the sign of 0 is 0, one of the subgradients."""
    gradient = l2 * w
    return gradient + l1 * np.sign(w) if l1 else gradient


def clip_by_global_norm(gradients: Arrays, clip_norm: float) -> float:
    """Scale gradients in place, ``g <- g c / |g|`` where ``|g| > c`` (Pascanu et al. 2013).

    |g| is the norm of all weights' and biases' gradients as one vector, penalties included,
    summed in float64; a gradient with a NaN or an infinity becomes NaN.

    Parameters
    ----------
    gradients : sequence of ndarray
    clip_norm : float
        The c.

    Returns
    -------
    float
        The norm before.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp.reference.penalties import clip_by_global_norm
    >>> g = [np.array([[3.0]]), np.array([4.0])]
    >>> clip_by_global_norm(g, 1.0), g[0].tolist(), g[1].tolist()
    (5.0, [[0.6000000000000001]], [0.8])
    """
    norm = float(np.sqrt(sum(float(np.square(g, dtype=np.float64).sum()) for g in gradients)))
    if not norm <= clip_norm:  # mutant <: at the bound the factor is 1
        factor = clip_norm / norm
        for g in gradients:
            g *= g.dtype.type(factor)
    return norm


def limit_norms(weights: Arrays, max_norm: float) -> None:
    """Scale each neuron's incoming weights in place, ``W_:j <- W_:j c / |W_:j|`` where
    ``|W_:j| > c`` (Srebro and Shraibman 2005; Srivastava et al. 2014, section 5.1).

    It follows the optimizer's step, in every layer, the output too; norms are summed in float64,
    biases are left alone.

    Parameters
    ----------
    weights : sequence of ndarray, (n_in, n_out) each
    max_norm : float
        The c.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp.reference.penalties import limit_norms
    >>> W = np.array([[3.0, 0.3], [4.0, 0.4]])
    >>> limit_norms([W], 2.5)
    >>> W.tolist()
    [[1.5, 0.3], [2.0, 0.4]]
    """
    for w in weights:
        norms = np.sqrt(np.square(w, dtype=np.float64).sum(axis=0))
        # mutant >=: at the bound the factor is 1
        factors = np.where(norms > max_norm, max_norm / np.maximum(norms, max_norm), 1.0)
        w *= factors.astype(w.dtype)
