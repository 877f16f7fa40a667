"""Whether calls of a few microseconds to milliseconds are quicker on one thread or on several."""

from __future__ import annotations

__all__ = ["ThreadChoice"]

_TRIAL = 3  # calls that are made the other way to see how long they take
_WAKING = 5e-4  # seconds that threads may take to be there again before they count as busy
_REST = 20.0  # times what a trial took pass at least before the next one: it costs 5 %
_LONGEST_REST = 2.0  # seconds of calls
_SMOOTH = 0.25  # of a call in the mean of those of its way
_HOPELESS = 2.0  # a trial ends where a call takes so many times as long as the present way's


class ThreadChoice:
    """Which way to make a call that is made again and again, learned from what calls take.

    Where other processes have the cores, a call on several threads waits for one that the system
    has put aside: for milliseconds, whatever the work. So calls begin on one thread. Some are made
    on several now and then, the more rarely the less that helped; the way with the lesser mean is
    taken, and a single long wait is enough to leave the threads alone for a while. After calls on
    one thread the others may be asleep: that the first call has to wake them does not count.

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
        self._means: list[float | None] = [None, None]  # seconds alone, together
        self._asleep = True  # whether the last call was on one thread
        self._left = 0  # calls of a trial to come
        self._trial = 0.0  # seconds of a trial
        self._rest, self._rested = 0.0, 0.0  # seconds between trials: how many, and gone by

    def note(self, seconds: float) -> None:
        """Learn what the call took, and choose the way of the next one."""
        way = self.together
        mean = self._means[way]
        wakes, self._asleep = way and self._asleep, not way
        if wakes and seconds < _HOPELESS * (self._means[False] or 0.0) + _WAKING:
            self._trial += seconds
            return
        if self._left:
            done = _TRIAL - self._left
            self._means[way] = mean = (
                seconds if mean is None else mean + (seconds - mean) / (done + 1)
            )
            self._left -= 1
            self._trial += seconds
            other = self._means[not way]
            if other is not None and seconds > _HOPELESS * other:
                self._left = 0
            if not self._left:
                self._end(way)
            return
        self._means[way] = seconds if mean is None else mean + _SMOOTH * (seconds - mean)
        self._rested += seconds
        known = self._means[not way]
        if known is not None and self._means[way] > known:  # type: ignore[operator]
            self.together = not way
        elif self._rested >= self._rest:
            self._left, self._trial = _TRIAL, 0.0
            self.together = not way
            self._means[not way] = None

    def _end(self, tried: bool) -> None:
        mean, other = self._means[tried], self._means[not tried]
        better = mean is not None and other is not None and mean < other
        least = _REST * self._trial
        self._rest = least if better else min(max(least, 2 * self._rest), max(least, _LONGEST_REST))
        self._rested = 0.0
        self.together = tried if better else not tried
