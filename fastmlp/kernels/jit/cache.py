"""The one place for Numba's options and the cache on disk.

Numba keys its cache on the one file that holds a function, so an edit elsewhere would go unseen.
The folder used here is named by a hash of every kernel source, the list of activations that they
number, and the versions of numba, llvmlite, numpy and Python: whatever changes, machine code is
made anew.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import sys
import tempfile
from collections.abc import Callable
from contextlib import nullcontext, suppress
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from llvmlite.binding import ffi
from numba.core import caching, serialize
from numba.core.compiler_lock import global_compiler_lock

from ...support.notices import notice

__all__ = ["cache_folder", "is_cached", "jit"]


# llvmlite's own: a version that has none, or names it otherwise, goes without
_LLVM_LOCK: Any = getattr(getattr(ffi, "lib", None), "_lock", nullcontext())


def _hold() -> None:
    """Take the locks of Numba and LLVM before a fork, in the order in which compiling does.

    Else a child that was forked while another thread compiled would wait for it for ever: the
    thread stays behind, its locks do not.
    """
    global_compiler_lock.acquire()
    _LLVM_LOCK.__enter__()


def _let_go() -> None:
    _LLVM_LOCK.__exit__(None, None, None)
    global_compiler_lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_hold, after_in_parent=_let_go, after_in_child=_let_go)


def _sources() -> list[Path]:
    here = Path(__file__).parent.parent
    return [*sorted(here.rglob("*.py")), here.parent / "activations.py"]  # whose order is compiled


@cache
def _fingerprint() -> str:
    """Hash all that machine code depends on, beside what Numba itself looks at."""
    digest = hashlib.sha256()
    for version in (numba.__version__, llvmlite.__version__, np.__version__, sys.version):
        digest.update(version.encode())
    for name in ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES"):
        digest.update(f"{name}={os.environ.get(name)}".encode())
    for path in _sources():
        name = path.relative_to(Path(__file__).parent.parent.parent).as_posix()
        digest.update(name.encode() + path.read_bytes())
    return digest.hexdigest()[:20]


def _candidates() -> list[Path]:
    chosen = os.environ.get("FASTMLP_CACHE_DIR")
    if chosen:
        return [Path(chosen)]
    home = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    base = Path(home) if home else Path(os.path.expanduser("~")) / ".cache"
    user = os.getuid() if hasattr(os, "getuid") else "user"
    return [base / "fastmlp", Path(tempfile.gettempdir()) / f"fastmlp-{user}"]


def _usable(folder: Path) -> bool:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if hasattr(os, "getuid") and folder.stat().st_uid != os.getuid():
            return False  # machine code is only loaded from a folder of one's own
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


@cache
def cache_folder() -> Path | None:
    """Return the folder of compiled code, or None where no folder can be written.

    ``FASTMLP_CACHE_DIR`` names another one. Without a folder every process compiles anew.
    """
    for folder in _candidates():
        place = folder / _fingerprint()
        if _usable(place):
            return place
    return None


@cache
def _announce() -> None:
    """Say once that what follows takes seconds, and whether the next process is spared it."""
    folder = cache_folder()
    if folder is None:
        notice(
            "compiling kernels, for this process only: no cache folder can be written, "
            "FASTMLP_CACHE_DIR names another"
        )
    else:
        notice(f"compiling kernels for this processor, once; kept in {folder}")


class _Locator(caching._CacheLocator):
    def __init__(self, function: Any, _source: str) -> None:
        self._py_file = function.__code__.co_filename  # for Numba's warnings
        self._line = function.__code__.co_firstlineno

    def get_cache_path(self) -> str:
        return str(cache_folder())

    def get_source_stamp(self) -> str:
        return _fingerprint()

    def get_disambiguator(self) -> str:
        return str(self._line)

    @classmethod
    def from_function(cls, function: Any, source: str) -> _Locator | None:
        return cls(function, source)


class _Implementation(caching.CompileResultCacheImpl):
    _locator_classes = [_Locator]  # noqa: RUF012


def _digest(key: Any, payload: bytes) -> str:
    return hashlib.sha256(repr(key).encode() + payload).hexdigest()


class _Cache(caching.FunctionCache):
    """Numba's cache in our folder; what cannot be read or written costs time, never an error."""

    _impl_class = _Implementation

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            found = super().load_overload(sig, target_context)
        except Exception:
            found = None
        if found is None:
            _announce()
        return found

    def holds(self, sig: Any, target_context: Any) -> bool:
        """Tell whether there is an entry, without loading it."""
        try:
            target_context.refresh()
            key = self._index_key(sig, target_context.codegen())
            return key in self._cache_file._load_index()
        except Exception:
            return False

    def save_overload(self, sig: Any, data: Any) -> None:
        with suppress(OSError):
            try:
                super().save_overload(sig, data)
            except OSError:
                raise
            except Exception:  # the index is damaged: begin another
                self.flush()
                super().save_overload(sig, data)

    # Numba checks nothing: a flipped bit would run, and processes that compile different
    # signatures at once can each name their code number 1. Both are told by a digest.

    def _load_overload(self, sig: Any, target_context: Any) -> Any:
        key = self._index_key(sig, target_context.codegen())
        digest, payload = self._cache_file.load(key) or ("", b"")
        if digest != _digest(key, payload):
            return None
        return self._impl.rebuild(target_context, pickle.loads(payload))

    def _save_overload(self, sig: Any, data: Any) -> None:
        if self._impl.check_cachable(data):
            key = self._index_key(sig, data.codegen)
            payload = serialize.dumps(self._impl.reduce(data))
            self._cache_file.save(key, (_digest(key, payload), payload))


class _NoCache(caching.NullCache):
    """Where no folder can be written."""

    def load_overload(self, sig: Any, target_context: Any) -> None:
        _announce()

    def holds(self, sig: Any, target_context: Any) -> bool:
        return False


def jit(*, parallel: bool = False) -> Callable[[Callable[..., Any]], Any]:
    """Return the decorator of every compiled function: no GIL, strict IEEE arithmetic, cached.

    No fastmath: it would apply to the whole module, fold the rounding trick of exp away and hide
    NaN. Nothing is compiled before the first call.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        dispatcher: Any = numba.njit(nogil=True, parallel=parallel, error_model="numpy")(function)
        dispatcher._cache = _NoCache() if cache_folder() is None else _Cache(function)
        return dispatcher

    return decorate


def is_cached(function: Any, arguments: tuple[Any, ...]) -> bool:
    """Tell whether a compiled function need not be compiled for these arguments."""
    known = arguments in function.overloads
    return known or function._cache.holds(arguments, function.targetctx)
