"""Whether calls of a few microseconds to milliseconds are quicker on one thread or on several."""

from __future__ import annotations

__all__ = ["ThreadChoice"]

_FEWEST = 3  # calls of a way, before it is judged
_SHORTEST = 3e-3  # seconds of calls likewise: the system finds cores for threads in some of them
_WAKING = 5e-4  # seconds that threads may take to be there again before they count as busy
_SMOOTH = 0.25  # of a call in what its way takes typically
_OUTLIER = 2.0  # times what a call takes alone: more is a wait, not typical
_LOSS = 8e-3  # seconds that waits may cost before threads are left alone: two time slices
_TOLERATED = 1.1  # times what calls take alone, on average: waits may cost so much
_REST = 20.0  # times what a trial has cost pass at least before the next one: it costs 5 %
_LONGEST_REST = 0.5  # seconds of calls: a trial may have met a bad moment


class ThreadChoice:
    """Which way to make a call that is made again and again, learned from what calls take.

    Where other processes have the cores, a call on several threads waits for one that the system
    has put aside: for milliseconds, whatever the work. So calls begin on one thread. Some are made
    on several now and then, the more rarely the less that helped. Threads are left alone where a
    call typically takes longer on them, and where waits, which are no part of what is typical, have
    cost more than they saved: after a wait or two if all of them wait, never if a wait is rare.
    After calls on one thread the others may be asleep: that the first call has to wake them does
    not count.

    Attributes
    ----------
    together : bool
        Whether the next call is for several threads.

    Examples
    --------
    >>> from fastmlp.kernels.run.thread_choice import ThreadChoice
    >>> choice = ThreadChoice()
    >>> for _ in range(10):
    ...     choice.note(0.001 if choice.together else 0.002)
    >>> choice.together
    True
    """

    def __init__(self) -> None:
        self.together = False
        self._typical: list[float | None] = [None, None]  # seconds alone, together
        self._calls = 0  # since this way was taken
        self._saved = 0.0  # seconds together, compared to what is tolerated: at most _LOSS
        self._cost = 0.0  # seconds that this turn together took more than alone
        self._rest, self._rested = 0.0, 0.0  # seconds on this way: how many, and gone by
        self._known = 0.0  # seconds together after which it is looked again what they take alone

    def note(self, seconds: float) -> None:
        """Learn what the call took, and choose the way of the next one."""
        self._calls += 1
        self._rested += seconds
        if self.together:
            self._note_together(seconds)
            return
        self._learn(seconds, self._typical[False])
        if self._calls >= _FEWEST and self._rested >= self._rest:
            self._typical[True] = None
            self._cost = self._saved = 0.0
            self._turn(together=True)

    def _note_together(self, seconds: float) -> None:
        alone = self._typical[False]
        assert alone is not None
        self._cost += seconds - alone
        if self._calls == 1 and seconds < _OUTLIER * alone + _WAKING:
            return
        self._saved = min(_LOSS, self._saved + _TOLERATED * alone - seconds)
        typical = self._learn(seconds, alone)
        least = _REST * max(self._cost, 0.0)
        if self._saved < -_LOSS:  # others have the cores, mostly for moments
            self._leave(least)
        elif typical >= alone:
            if self._calls > _FEWEST and self._rested >= _SHORTEST:
                self._leave(max(least, min(2 * self._rest, _LONGEST_REST)))
        elif self._rested >= max(self._known, _REST * _FEWEST * alone):
            known = min(max(2 * self._rested, self._known), _LONGEST_REST)
            self._leave(0.0)
            self._known = known

    def _leave(self, rest: float) -> None:
        """Make calls on one thread for so many seconds."""
        self._rest, self._known = rest, 0.0
        self._turn(together=False)

    def _learn(self, seconds: float, alone: float | None) -> float:
        """Return what a call of this way takes typically."""
        before = self._typical[self.together]
        if alone is not None:
            seconds = min(seconds, _OUTLIER * alone)
        weight = max(_SMOOTH, 1 / self._calls)
        now = seconds if before is None else before + weight * (seconds - before)
        self._typical[self.together] = now
        return now

    def _turn(self, *, together: bool) -> None:
        self.together, self._calls, self._rested = together, 0, 0.0
