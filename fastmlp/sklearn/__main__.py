"""``python -m fastmlp.sklearn program.py args...`` runs a program that was not changed.

The program sees what it sees with plain ``python program.py args...``: its arguments, its folder
first in ``sys.path``, itself as ``__main__``; it ends with its own exit code and traceback.
"""

from __future__ import annotations

import os
import runpy
import sys
from types import ModuleType
from typing import Any, NoReturn

from ._patch import patch

_USAGE = "usage: python -m fastmlp.sklearn [--verbose] (program.py | -m module) [argument ...]"


def _wrong(text: str) -> NoReturn:
    print(f"fastmlp: error: {text}; {_USAGE}", file=sys.stderr)
    raise SystemExit(2)


def _read(path: str) -> bytes:
    if os.path.isdir(path):
        _wrong(f"{path}: expected a program's file, got a folder")
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        _wrong(f"{path}: {error.strerror}")


def _run_module(name: str, arguments: list[str]) -> None:
    sys.argv = [name, *arguments]
    sys.path[0] = os.getcwd()
    runpy.run_module(name, run_name="__main__", alter_sys=True)


def _run_file(path: str, arguments: list[str]) -> None:
    source = _read(path)
    program = ModuleType("__main__")
    program.__file__ = os.path.abspath(path)
    program.__dict__["__builtins__"] = __builtins__
    sys.modules["__main__"] = program
    sys.argv = [path, *arguments]
    sys.path[0] = os.path.dirname(os.path.realpath(path))
    exec(compile(source, program.__file__, "exec", dont_inherit=True), program.__dict__)


def _without_launcher(traceback: Any) -> Any:
    """Return a traceback from the program's first line on."""
    launcher = {__file__, runpy.__file__, "<frozen runpy>"}
    while traceback is not None and traceback.tb_frame.f_code.co_filename in launcher:
        traceback = traceback.tb_next
    return traceback


def _main(arguments: list[str]) -> None:
    verbose = False
    while arguments and arguments[0].startswith("-") and arguments[0] != "-m":
        option = arguments.pop(0)
        if option in ("-h", "--help"):
            print(_USAGE)
            return
        if option != "--verbose":
            _wrong(f"{option}: no such option")
        verbose = True
    module = arguments[:1] == ["-m"]
    if module:
        del arguments[0]
    if not arguments:
        _wrong("expected a program")
    patch(verbose=verbose)
    try:
        (_run_module if module else _run_file)(arguments[0], arguments[1:])
    except BaseException:
        shown = sys.excepthook

        def hook(kind: type[BaseException], error: BaseException, traceback: Any) -> None:
            traceback = _without_launcher(traceback)
            shown(kind, error.with_traceback(traceback), traceback)

        sys.excepthook = hook
        raise


if __name__ == "__main__":
    _main(sys.argv[1:])
