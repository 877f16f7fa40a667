"""What the library says beside its results: a log record, or a line on a terminal."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["notice", "notices", "warn", "watched"]

_PACKAGE = os.path.dirname(os.path.dirname(__file__))
LOGGER = logging.getLogger("fastmlp")
_wishes: list[bool] = []  # of the calls under way; threads see one another's


@contextmanager
def notices(shown: bool | None) -> Iterator[None]:
    """Show notices on standard error, or do not, while the block runs; None: no wish."""
    if shown is None:
        yield
        return
    _wishes.append(shown)
    try:
        yield
    finally:
        _wishes.remove(shown)


def watched() -> bool:
    """Tell whether someone is watching: standard error is a terminal, or a notebook's cell."""
    if sys.stderr is None:
        return False
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return sys.stderr.isatty() or hasattr(shell, "kernel")


def _shown() -> bool:
    if _wishes:
        return any(_wishes)
    told = LOGGER.disabled or LOGGER.level != logging.NOTSET
    return not told and watched()


def notice(text: str) -> None:
    """Say a line once: as a record of the logger ``fastmlp`` where INFO is on, else on stderr.

    Without logging it is shown where someone is watching, as a progress bar is, or where
    `notices` asks for it. A level of one's own for that logger leaves it to logging alone.
    """
    if LOGGER.isEnabledFor(logging.INFO):
        LOGGER.info(text)
    elif _shown():
        line = f"fastmlp: {text}"
        bars = sys.modules.get("tqdm")
        if bars is None:
            print(line, file=sys.stderr, flush=True)
        else:
            bars.tqdm.write(line, file=sys.stderr)  # above a bar, not into it


def _stacklevel() -> int:
    """Return which caller, seen from the function that calls this, is not of this package."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    return level


def warn(text: str) -> None:
    """Give a RuntimeWarning that points to the caller outside this package."""
    warnings.warn(text, RuntimeWarning, stacklevel=_stacklevel())
