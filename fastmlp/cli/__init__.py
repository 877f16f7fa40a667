"""The command line: the only place that prints."""

from __future__ import annotations

from collections.abc import Sequence

from .console import Console
from .signals import Signals

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    argv : sequence of str, optional
        What was typed behind ``fastmlp``; by default the process's own arguments.

    Returns
    -------
    int
        0 done, 1 a check fell short, 2 wrong usage or unreadable input; 130 interrupted, 143 and
        129 ended by SIGTERM and SIGHUP.

    Examples
    --------
    >>> from fastmlp.cli import main
    >>> main(["--version"])  # doctest: +ELLIPSIS
    fastmlp ...
    0
    """
    console = Console()
    with Signals(last=argv is None) as signals:
        try:
            from .run import run  # loads NumPy, which takes a while

            return run(argv, console)
        except KeyboardInterrupt as stop:
            console.note(str(stop) or console.when_interrupted())
            return signals.exit_code
