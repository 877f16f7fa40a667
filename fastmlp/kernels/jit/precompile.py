"""All that a job needs, compiled before it begins: by two processes where that is worth it.

Numba holds a lock while it compiles, so threads would wait for each other. Instead a helper
process goes through the same list from its other end, and the cache hands over what it has made.
Nothing waits for the helper: it can fail, hang or be ended at any time, which costs only time.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from threading import Lock, Timer
from typing import Any

from numba import types

from .cache import cache_folder, is_cached
from .registry import KERNELS, kernel_group, variant
from .threading_layer import start_threads, thread_limit

__all__ = ["Unit", "compiled", "groups_of", "prepare"]

_PACKAGE = "fastmlp.kernels"
# (module, function) of this package, or (dtype, group) of kernels.
Unit = tuple[str, str]

# Below this many missing units they are compiled sooner than a process has started.
_FEWEST = 4
_LONGEST = 300  # seconds
_helping = Lock()  # one helper, whatever the threads of this process do
_PROGRAM = (
    "import sys, json; path, units = json.loads(sys.argv[1]); sys.path[:] = path; "
    "from fastmlp.kernels.jit.precompile import help_with; help_with(units)"
)


def _function(unit: Unit) -> Any:
    place, name = unit
    if place in ("float32", "float64"):
        return kernel_group(place, name)
    return getattr(import_module(f".{place}", _PACKAGE), name)


def unit_of(function: Any) -> Unit:
    """Return the unit of a compiled function."""
    return function.__module__.removeprefix(f"{_PACKAGE}."), function.__name__


def groups_of(names: Iterable[str], activations: Iterable[str], rule: str) -> list[str]:
    """Return the groups that hold the kernels of these names.

    Parameters
    ----------
    names : iterable of str
    activations : iterable of str
        Of the hidden layers; no others are compiled.
    rule : str
        The optimizer's; no other is compiled.
    """
    activations = tuple(activations)
    return sorted({variant(KERNELS[name], activations, rule) for name in names})


def _argument_types(function: Any) -> tuple[Any, ...]:
    """Return what a compiled function is called with: integers, as many as it has parameters."""
    return (types.int64,) * function.py_func.__code__.co_argcount


def compiled(function: Any) -> Any:
    """Compile a function, or load it, and return it."""
    if function.targetoptions.get("parallel"):
        start_threads()  # or Numba would load its threading layer in its own way
    function.compile(_argument_types(function))
    return function


def prepare(dtype: str, groups: Sequence[str], functions: Sequence[Any]) -> None:
    """Compile or load groups of kernels, and functions with all that they call.

    ``FASTMLP_COMPILE_PROCESSES=1`` leaves it to this process alone.
    """
    # what is made of the same parts stands together, what is quick in the middle
    units = [unit_of(function) for function in functions]
    units[1:1] = [(dtype, group) for group in groups]
    made = [_function(unit) for unit in units]
    missing = [
        unit
        for unit, function in zip(units, made, strict=True)
        if not is_cached(function, _argument_types(function))
    ]
    with _helper(missing[::-1]):
        for function in made:
            compiled(function)


def _command(units: Sequence[Unit]) -> list[str] | None:
    """Return what starts a helper; None where there should be none."""
    alone = os.environ.get("FASTMLP_COMPILE_PROCESSES", "").strip() == "1"
    if alone or len(units) < _FEWEST or thread_limit() < 2 or cache_folder() is None:
        return None
    python = sys.executable or ""
    if getattr(sys, "frozen", False) or not Path(python).name.lower().startswith("python"):
        return None  # a program that has Python inside would start itself again
    flags = ["-I", *(["-B"] if sys.dont_write_bytecode else [])]
    return [python, *flags, "-c", _PROGRAM, json.dumps([sys.path, units])]


@contextmanager
def _helper(units: Sequence[Unit]) -> Iterator[None]:
    """Let another process compile `units` into the cache while the block runs."""
    command, helper = _command(units), None
    mine = command is not None and _helping.acquire(blocking=False)
    try:
        if command is not None and mine:
            environment = dict(os.environ, FASTMLP_CACHE_DIR=str(Path(str(cache_folder())).parent))
            with suppress(OSError):
                helper = subprocess.Popen(
                    command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )  # fmt: skip
        yield
    finally:
        if helper is not None:
            helper.kill()
            helper.wait()
        if mine:
            _helping.release()


def help_with(units: Sequence[Sequence[str]]) -> None:
    """Compile units in this order: the helper's whole work. It outlives no process for long."""
    watch = Timer(_LONGEST, os._exit, (1,))
    watch.daemon = True
    watch.start()
    for place, name in units:
        compiled(_function((place, name)))
