"""What `fastmlp verify` checks on the user's own machine.

That the two backends agree, that gradients are those of the losses, that threads change no bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import reference
from ..losses import OUTPUTS
from ..network import MLP
from ..optimizers import Adam
from .cases import TOLERANCE, Sizes, all_cases, difference, outcome

__all__ = ["CHECKS", "Finding", "verify"]

_SIZES = (Sizes(1, 3, 2), Sizes(16, 8, 16), Sizes(37, 33, 17))
_STEP = 6e-6  # about the cube root of the rounding unit: where central differences are best
_GRADIENT_TOLERANCE = 1e-7
_THREADS = (1, 2, 3)


@dataclass(frozen=True)
class Finding:
    """What came out of one check.

    Attributes
    ----------
    name : str
    error : float
        The largest difference, relative to the largest element.
    allowed : float
        The most that it may be.
    """

    name: str
    error: float
    allowed: float

    @property
    def ok(self) -> bool:
        """Whether the difference is within what is allowed; NaN is not."""
        return self.error <= self.allowed


def parity() -> Iterator[Finding]:
    """Call every operation in every variant on both backends, in both dtypes."""
    from .. import kernels

    for case in all_cases():
        for dtype, allowed in TOLERANCE.items():
            worst = 0.0
            for sizes in _SIZES:
                arguments = case.make(np.random.default_rng(0), dtype, sizes)
                theirs = outcome(reference, case, arguments)  # type: ignore[arg-type]
                worst = max(worst, difference(outcome(kernels, case, arguments), theirs))
            yield Finding(f"parity {case} {dtype}", worst, allowed)


def _central_difference(net: MLP, array: np.ndarray, at: Any, X: Any, y: Any) -> float:
    before, values = array[at], []
    for step in (_STEP, -_STEP):
        array[at] = before + step
        values.append(net.loss_and_gradients(X, y, l2=0.1)[0])
    array[at] = before
    return (values[0] - values[1]) / (2 * _STEP)


def gradients() -> Iterator[Finding]:
    """Hold gradients of every output and loss against central differences of the loss."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((9, 5))
    for output, losses in OUTPUTS.items():
        for loss in losses:
            y = rng.integers(0, 2, (9, 4)).astype(float)
            target = rng.integers(0, 4, 9) if output == "softmax" else y
            net = MLP((5, 7, 4), activation="tanh", output=output, loss=loss, dtype="float64",
                      rng=0)  # fmt: skip
            _, found = net.loss_and_gradients(X, target, l2=0.1)
            worst = 0.0
            for arrays, slopes in ((net.weights, found.weights), (net.biases, found.biases)):
                for array, slope in zip(arrays, slopes, strict=True):
                    expected = np.zeros_like(slope)
                    for at in np.ndindex(array.shape):
                        expected[at] = _central_difference(net, array, at, X, target)
                    worst = max(worst, difference([slope], [expected]))
            yield Finding(f"finite differences {output} {loss}", worst, _GRADIENT_TOLERANCE)


def threads() -> Iterator[Finding]:
    """Train with 1, 2 and 3 threads, dense and mostly zeros; the bits have to be equal."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 10, 640)
    for kind, filled in (("dense", 1.0), ("mostly zeros", 0.2)):
        X = (rng.random((640, 96)) * (rng.random((640, 96)) < filled)).astype(np.float32)
        for name, batch_size in (("mini-batch", 64), ("full batch", None), ("one sample", 1)):
            results = []
            for count in _THREADS:
                net = MLP((96, 72, 40, 10), rng=0, threads=count)
                net.fit(X, y, epochs=2, batch_size=batch_size, optimizer=Adam(), dropout=0.2,
                        progress=False)  # fmt: skip
                results.append([*net.weights, *net.biases])
            worst = max(difference(result, results[0]) for result in results)
            yield Finding(f"same bits with {_THREADS} threads, {name}, {kind}", worst, 0.0)


CHECKS: dict[str, Callable[[], Iterator[Finding]]] = {
    "parity": parity,
    "gradients": gradients,
    "threads": threads,
}


def verify(names: list[str] | None = None) -> Iterator[Finding]:
    """Yield what the named checks find; by default all.

    Parameters
    ----------
    names : list of str, optional
        Of `CHECKS`.

    Raises
    ------
    ValueError
        If there is no such check.

    Examples
    --------
    >>> from fastmlp.verification.checks import verify
    >>> all(finding.ok for finding in verify(["gradients"]))
    True
    """
    chosen = names or list(CHECKS)
    unknown = [name for name in chosen if name not in CHECKS]
    if unknown:
        raise ValueError(f"names: expected any of {', '.join(CHECKS)}, got {unknown[0]!r}")
    for name in chosen:
        yield from CHECKS[name]()
