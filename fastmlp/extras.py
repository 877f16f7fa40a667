"""Optional libraries: imported on first use, and named with their extra when they are missing."""

from __future__ import annotations

import importlib
from types import ModuleType

__all__ = ["require"]


def require(module: str, extra: str) -> ModuleType:
    """Import an optional library.

    Raises
    ------
    ImportError
        Naming the extra that brings the library.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        name = module.split(".")[0]
        raise ImportError(
            f"{name} is needed for this; install it with: pip install 'fastmlp[{extra}]'"
        ) from error
