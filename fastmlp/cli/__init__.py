"""The command line: the only place that prints."""

from .run import main

__all__ = ["main"]
