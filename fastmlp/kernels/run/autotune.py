"""Whether steps are quicker on one thread or on a team, learned from what they take."""

from __future__ import annotations

import math

__all__ = ["Autotuner"]

_TRIAL = 3e-3  # seconds of the steps that are taken the other way to see how long that takes
_LONGEST = 5e-3  # seconds of a step: longer ones are not tried
_SHORTEST = 2e-3  # seconds of a run that tells something
_FIRST, _LAST = 0.1, 1.6  # seconds between trials: twice as many after one that changed nothing
_BETTER = 0.95  # the other way is taken where it needs this share of the time at most
_SLOWER = 1.3  # it is tried at once when the present one needs so many times as much as before


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
        self._period, self._left = _FIRST, 0.0 if alone else _FIRST

    @property
    def alone(self) -> bool:
        """Whether the steps that come now are for one thread."""
        return self._alone != self._trying

    def steps(self, most: int) -> int:
        """Return how many of `most` steps to take before `note` is called; sets `alone`."""
        known = self._seconds <= _LONGEST and most * self._seconds >= _TRIAL
        self._trying = self._left <= 0 and known
        return min(most, math.ceil(_TRIAL / self._seconds)) if self._trying else most

    def note(self, seconds: float, steps: int) -> None:
        """Learn what so many steps took, and choose the way of those that follow."""
        pace = seconds / steps
        if self._trying:
            better = pace <= _BETTER * self._seconds
            self._period = _FIRST if better else min(2 * self._period, _LAST)
            self._left = self._period
            if better:
                self._alone, self._seconds = not self._alone, pace
        elif seconds >= _SHORTEST:
            slower = pace > _SLOWER * self._seconds
            self._seconds, self._left = pace, 0.0 if slower else self._left - seconds
        self._trying = False
