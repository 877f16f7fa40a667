"""Whether steps are quicker on one thread or on a team, learned from what they take."""

from __future__ import annotations

import math

from . import choose

__all__ = ["Autotuner"]


class Autotuner:
    """Which way to take steps: what a processor's cores have in common changes while it works.

    Two of a virtual machine's cores may be threads of one, for good or for some minutes, and then
    a team is slower than one thread alone. So a few steps are taken the other way now and then,
    ever more rarely while that changes nothing. It changes no bit of what comes out.

    Parameters
    ----------
    alone : bool
        Whether to begin on one thread, and to try a team after the first run that tells anything:
        for steps so short that a fit may be over before it would be known.
    """

    def __init__(self, alone: bool) -> None:
        self._alone, self._trying = alone, False
        self._seconds = math.inf  # of a step, the way that is taken now
        self._period, self._left = choose.FIRST_TRIAL, 0.0 if alone else choose.FIRST_TRIAL

    @property
    def alone(self) -> bool:
        """Whether the steps that come now are for one thread."""
        return self._alone != self._trying

    def steps(self, most: int) -> int:
        """Return how many of `most` steps to take before `note` is called; sets `alone`."""
        known = self._seconds <= choose.LONGEST_STEP and most * self._seconds >= choose.TRIAL
        self._trying = self._left <= 0 and known
        return min(most, math.ceil(choose.TRIAL / self._seconds)) if self._trying else most

    def note(self, seconds: float, steps: int) -> None:
        """Learn what so many steps took, and choose the way of those that follow."""
        pace = seconds / steps
        if self._trying:
            better = pace <= choose.BETTER * self._seconds
            period = choose.FIRST_TRIAL if better else 2 * self._period
            self._left = self._period = min(period, choose.LAST_TRIAL)
            if better:
                self._alone, self._seconds = not self._alone, pace
        elif seconds >= choose.SHORTEST_RUN:
            slower = pace > choose.SLOWER * self._seconds
            self._seconds, self._left = pace, 0.0 if slower else self._left - seconds
        self._trying = False
