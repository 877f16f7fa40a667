"""When to stop, and when to lower the rate: scikit-learn's published rules."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Progress"]


@dataclass
class Progress:
    """Counts epochs that brought less than `tol`.

    Attributes
    ----------
    tol : float
    higher : bool
        Whether a score is watched (higher is better) or a loss.
    best : float
    waited : int
        Consecutive epochs without an improvement of `tol`.

    Examples
    --------
    >>> from fastmlp.sklearn._stopping import Progress
    >>> progress = Progress(tol=0.1, higher=False, best=float("inf"))
    >>> [progress.note(loss) for loss in (1.0, 0.95, 0.5)]
    [True, True, True]
    >>> progress.waited, progress.best
    (0, 0.5)
    """

    tol: float
    higher: bool
    best: float
    waited: int = 0

    def note(self, value: float) -> bool:
        """Count an epoch's loss or score; return whether it is the best so far.

        A NaN is no improvement by value, but neither does it count as waiting: every comparison
        with it is false.
        """
        if self.higher:
            waiting, better = value < self.best + self.tol, value > self.best
        else:
            waiting, better = value > self.best - self.tol, value < self.best
        self.waited = self.waited + 1 if waiting else 0
        if better:
            self.best = value
        return better


def lowered(learning_rate: float) -> float | None:
    """Return the rate that ``learning_rate="adaptive"`` goes on with; None where it stops."""
    return None if learning_rate <= 1e-6 else learning_rate / 5.0
