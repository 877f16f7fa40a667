"""From what was typed to an exit code; every error is one line."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from ..support.notices import notices
from .console import Console
from .parser import UsageError, build_parser

__all__ = ["run"]

_USAGE = 2


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
    if isinstance(error, MemoryError) and not str(error):
        return "there is not enough memory"
    # the command line has no argument of that name
    return str(error).removeprefix("path: ") or type(error).__name__


def run(argv: Sequence[str] | None, console: Console) -> int:
    """Run a command; return its exit code."""
    try:
        with warnings.catch_warnings():
            # A diverging run is worth a line, not a traceback's worth of path and source.
            warnings.filterwarnings("always", message="the loss of epoch|training diverged")
            warnings.showwarning = lambda message, *_, **__: console.note(f"warning: {message}")
            return _run(argv, console)
    except SystemExit as stop:  # argparse leaves this way after --help and --version
        return int(stop.code or 0)
    except BrokenPipeError:
        console.close()  # whoever read has seen enough
        return 0
    except (UsageError, ValueError, TypeError, OSError, ImportError, MemoryError) as error:
        console.note(f"error: {_explained(error)}")
        return _USAGE
