"""What this machine is: versions, processor, and what the compiled backend makes of it."""

from __future__ import annotations

import platform
from importlib import metadata
from pathlib import Path

from .. import __version__

__all__ = ["environment"]


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def processor_name() -> str:
    """Return the processor's name as the system gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _compiled() -> dict[str, str | int | None]:
    """Return what the compiled backend uses; nothing where Numba is missing."""
    found: dict[str, str | int | None] = dict.fromkeys(
        ("vector_path", "threading_layer", "threads", "cache_folder", "cache_bytes")
    )
    try:
        from numba import get_num_threads, threading_layer  # type: ignore[attr-defined]

        from ..kernels.emit import target as _target
        from ..kernels.jit import cache as _jit
        from ..kernels.jit import old_caches
        from ..kernels.jit import threading_layer as threads
    except (ImportError, OSError):  # without /dev/shm Numba cannot be imported
        return found
    found["vector_path"] = _target.current_target().name
    found["threads"] = threads.thread_limit()
    folder = _jit.cache_folder()
    if folder is not None:
        found["cache_folder"] = str(folder)
        found["cache_bytes"] = sum(old_caches.cache_folders(folder.parent).values())
    try:
        get_num_threads()  # loads the layer, which then can be named
        found["threading_layer"] = threading_layer()
    except ValueError:
        pass  # no layer can be loaded: everything runs on one thread
    return found


def environment() -> dict[str, str | int | None]:
    """Return versions, processor, vector path, threading layer, threads and cache folder.

    Returns
    -------
    dict
        Plain values by name; None for what is missing.

    Examples
    --------
    >>> from fastmlp.support.environment import environment
    >>> sorted(environment())[:3]
    ['cache_bytes', 'cache_folder', 'fastmlp']
    """
    return {
        "fastmlp": __version__,
        "python": platform.python_version(),
        "numpy": _version("numpy"),
        "numba": _version("numba"),
        "llvmlite": _version("llvmlite"),
        "platform": platform.platform(),
        "processor": processor_name(),
        **_compiled(),
    }
