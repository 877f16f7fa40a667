"""Where the first release had `History`: what it pickled, networks too, names this module."""

from .training.history import History

__all__ = ["History"]
