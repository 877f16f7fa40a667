"""LLVM, as Numba sets it up: from a module to machine code in memory, by way of the cache.

Numba's own pipeline is not used: what is compiled here has no types to infer. That pipeline takes
0.05 s for a function of one line, and half a second before its first function, cached or not.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Callable
from contextlib import nullcontext
from threading import RLock
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from llvmlite.binding import ffi

from ...support.interrupts import CtrlC
from ..emit.target import native, process_triple, processor
from .cache import announce, load_code, save_code

__all__ = ["compile_module", "loaded", "machine_code", "module_for"]

# address space that LLVM takes for the largest group of kernels, and a margin
_COMPILE_BYTES, _LOAD_BYTES = 32 << 20, 8 << 20
_lock = RLock()  # one thread compiles at a time
# llvmlite's own: a version that has none, or names it otherwise, goes without
_LLVM_LOCK: Any = getattr(getattr(ffi, "lib", None), "_lock", nullcontext())


def _hold() -> None:
    """Take both locks before a fork, in the order in which compiling does.

    Else a child that was forked while another thread compiled would wait for it for ever: the
    thread stays behind, its locks do not.
    """
    _lock.acquire()
    _LLVM_LOCK.__enter__()


def _let_go() -> None:
    _LLVM_LOCK.__exit__(None, None, None)
    _lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_hold, after_in_parent=_let_go, after_in_child=_let_go)


def _machine() -> llvm.TargetMachine:
    """Return a description of the processor; who runs code needs one of its own."""
    name, features = processor()
    target = native()
    reloc = "static" if target.name.startswith("x86") else "default"
    return target.create_target_machine(
        cpu=name, features=features, opt=3, reloc=reloc, codemodel="jitdefault", jit=True
    )


def module_for(name: str) -> ir.Module:
    """Return an empty module for this processor."""
    module = ir.Module(name)
    module.triple = process_triple()
    return module


def compile_module(module: ir.Module) -> bytes:
    """Return the object code of a module.

    Arithmetic is strict: no fastmath, which would apply to the whole module, fold the rounding
    trick of exp away and hide NaN.
    """
    machine = _machine()
    module.data_layout = str(machine.target_data)
    parsed = llvm.parse_assembly(str(module))
    parsed.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.loop_vectorization = True
    passes = llvm.create_pass_builder(machine, options)
    passes.getModulePassManager().run(parsed, passes)
    return machine.emit_object(parsed)


def loaded(code: bytes) -> Callable[[str], int]:
    """Return what tells where a function of an object file begins, loaded for as long as the
    process lives; it raises LookupError where there is none of a name, over a jump to nowhere.
    """
    native()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine())
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    # Never freed, not at the process's end either: threads may still be on their way out.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(engine))

    def address(name: str) -> int:
        found = engine.get_function_address(name)
        if not found:
            raise LookupError(f"{name}: no function of that name was compiled")
        return int(found)

    return address


def _check_memory(n_bytes: int) -> None:
    """Raise MemoryError where so much cannot be had: LLVM would end the process."""
    try:
        mmap.mmap(-1, n_bytes).close()  # touches no page of it
    except OSError:
        raise MemoryError(
            f"compiled code: {n_bytes >> 20} MB of memory are needed to make and load it"
        ) from None


def machine_code(name: str, emit: Callable[[ir.Module], None]) -> Callable[[str], int]:
    """Return what tells the addresses of a module's functions, out of the cache or compiled.

    The cache knows the module by its name; `emit` emits functions into an empty one. MemoryError
    if there is not enough memory for LLVM.
    """
    with CtrlC(), _lock:  # what LLVM has begun is not to be broken off
        code = load_code(name)
        _check_memory(_COMPILE_BYTES if code is None else _LOAD_BYTES)
        if code is None:
            announce()
            module = module_for(name)
            emit(module)
            code = compile_module(module)
            save_code(name, code)
        return loaded(code)
