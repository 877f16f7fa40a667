"""From what was typed to an exit code; every error is one line."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress

from ..support.notices import notices
from .console import Console
from .parser import UsageError, build_parser

__all__ = ["main"]

_USAGE, _INTERRUPTED = 2, 130


def _run(argv: Sequence[str] | None, console: Console) -> int:
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.command is None:
        console.say(parser.format_help().rstrip())
        raise UsageError("expected a command")
    from . import commands

    with notices(not getattr(args, "quiet", False)):
        code: int = getattr(commands, args.command)(args, console)
    return code


def _explained(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) or type(error).__name__


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    argv : sequence of str, optional
        What was typed behind ``fastmlp``; by default the process's own arguments.

    Returns
    -------
    int
        0 done, 1 a check fell short, 2 wrong usage or unreadable input, 130 interrupted.

    Examples
    --------
    >>> from fastmlp.cli import main
    >>> main(["--version"])  # doctest: +ELLIPSIS
    fastmlp ...
    0
    """
    console = Console()
    try:
        with warnings.catch_warnings():
            # A diverging run is worth a line, not a traceback's worth of path and source.
            warnings.filterwarnings("always", message="the loss of epoch|training diverged")
            warnings.showwarning = lambda message, *_, **__: console.note(f"warning: {message}")
            return _run(argv, console)
    except SystemExit as stop:  # argparse leaves this way after --help and --version
        return int(stop.code or 0)
    except KeyboardInterrupt:
        console.note("interrupted")
        return _INTERRUPTED
    except BrokenPipeError:
        # Whoever read has seen enough. Nothing is left to be flushed when Python ends.
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (UsageError, ValueError, TypeError, OSError, ImportError, MemoryError) as error:
        console.note(f"error: {_explained(error)}")
        return _USAGE
