"""Machine code by way of LLVM: what is compiled, when, and what becomes of what fails."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest
from executors import compiled
from llvmlite.binding import ffi

from fastmlp import MLP, SGD, Adam
from fastmlp.kernels.emit import executor
from fastmlp.kernels.emit.activations import ACTIVATIONS
from fastmlp.kernels.emit.flow import Flow, const
from fastmlp.kernels.emit.optimizers import OPTIMIZERS
from fastmlp.kernels.emit.records import emit_function, record
from fastmlp.kernels.jit import compiler, registry
from fastmlp.kernels.run import training

# groups of kernels


@pytest.mark.parametrize("group", ["labels", "update:adam", "forward:relu", "index f32"])
def test_a_group_has_the_addresses_of_its_kernels_only(group):
    addresses = registry.kernel_addresses("float32", group)
    family = group.partition(":")[0]
    expected = {name for name, kernel in registry.KERNELS.items() if kernel.family == family}
    assert set(addresses) == expected
    assert all(addresses.values())
    with pytest.raises(LookupError, match="dropout"):
        addresses["dropout"]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_forward_group_has_its_activations_and_no_others(name):
    codes = {ACTIVATIONS[name], ACTIVATIONS["identity"]}
    (group,) = registry.groups_of(["forward"], [name], "adam")
    module = compiler.module_for(group)
    registry._emit_group("float32", group, module)
    tiles = [f for f in module.functions if f.name.startswith("tile_forward")]
    for tile in tiles:
        cases = {block.name for block in tile.blocks if block.name.startswith("case")}
        assert cases == {f"case{code}" for code in codes}
    assert tiles


def test_every_kernel_is_in_the_group_that_its_cases_ask_for():
    for name, kernel in registry.KERNELS.items():
        (group,) = registry.groups_of([name], ["gelu"], "adam")
        family, _, cases = group.partition(":")
        assert family == kernel.family
        assert ("adam" in cases) == (kernel.cases == "rule")
        assert ("gelu" in cases) == (kernel.cases in ("activations", "derivatives"))


def declared(module) -> set[str]:
    """Return the names of functions that a module calls and does not have."""
    return {f.name for f in module.functions if f.is_declaration}


@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.slow)])
def test_kernels_call_nothing_but_the_processor(dtype):
    """No allocation, no lock, no library: what a kernel does not have, LLVM has."""
    for group in registry.groups_of(registry.KERNELS, ACTIVATIONS, "+".join(OPTIMIZERS)):
        module = compiler.module_for(group)
        registry._emit_group(dtype, group, module)
        assert all(name.startswith("llvm.") for name in declared(module)), group


def test_the_executor_calls_the_scheduler_and_the_clock():
    module = compiler.module_for("executor")
    executor.emit(module)
    system = {name for name in declared(module) if not name.startswith("llvm.")}
    windows = {"SwitchToThread", "QueryPerformanceCounter"}
    assert system == (windows if sys.platform == "win32" else {"sched_yield", "clock_gettime"})


# jobs

SETTINGS = {
    "batches": {"batch_size": 16, "optimizer": Adam()},
    "chunks": {"batch_size": 600, "optimizer": Adam()},
    "full batch": {"batch_size": None, "optimizer": Adam()},
    "single": {"batch_size": 1, "optimizer": SGD(0.1)},
}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("job", SETTINGS)
@pytest.mark.parametrize("zeros", [False, True])
def test_what_was_prepared_is_what_runs(job, threads, zeros, monkeypatch):
    """What was forgotten would be written in the first epoch, and count as its time."""
    events = []

    def noting(owner, name):
        real = getattr(owner, name)

        def call(*arguments, **options):
            events.append(name)
            return real(*arguments, **options)

        monkeypatch.setattr(owner, name, call)

    noting(training, "layout_of")
    noting(training.Training, "train")
    training._layout_of_sections.cache_clear()  # of fits before this one
    rng = np.random.default_rng(0)
    X = rng.integers(1, 255, (700, 40)).astype(np.uint8)
    if zeros:
        X *= rng.random(X.shape) < 0.2
    wide = 600 if job == "chunks" else 8  # too large for groups with gradients of their own
    net = MLP((40, wide, wide, 3), activation="relu", input_scale=255, rng=0, threads=threads)
    net.fit(X, rng.integers(0, 3, 700), epochs=1, **SETTINGS[job])
    assert events[:2] == ["layout_of", "train"]
    assert set(events[1:]) == {"train"}


# functions of integers


@record("result a b")
def of_integers(x: Flow, q: Any) -> None:
    """Use every kind of block."""
    with x.between(const(2), q.b) as number:
        for odd in x.either(x.b.icmp_signed("==", x.b.urem(number, const(2)), const(1))):
            more = const(100) if odd else x.b.sub(x.times(number, q.a), const(1))
            x.set_word(x.b.add(x.word(q.result), more), q.result)

    def goes_on(state: list[Any]) -> Any:
        return x.b.icmp_signed("<", state[0], const(1000))

    with x.repeat([x.word(q.result)], goes_on) as state:
        state[0] = x.at(x.times(state[0], 2), 1)
    x.set_word(state[0], q.result)


def expected_of_integers(a: int, b: int) -> int:
    total = 0
    for number in range(2, b):
        total += 100 if number % 2 else number * a - 1
    while total < 1000:
        total = 1 + total * 2
    return total


@pytest.mark.parametrize(("a", "b"), [(3, 9), (-3, 4), (7, 4), (1 << 40, 5)])
def test_integers_are_pythons(a, b):
    result = ctypes.c_int64(0)
    (function,) = compiled(of_integers)
    function(ctypes.addressof(result), a, b)
    assert result.value == expected_of_integers(a, b)


def test_a_function_that_was_not_compiled_is_refused():
    module = compiler.module_for("one")
    emit_function(module, "one", of_integers, Flow)
    address = compiler.loaded(compiler.compile_module(module))
    with pytest.raises(LookupError, match="another: no function of that name was compiled"):
        address("another")


# what goes wrong


def test_an_interrupt_while_it_compiles_leaves_nothing_behind(monkeypatch):
    """Python remembers no failure: the next call compiles what is missing."""
    monkeypatch.setattr(compiler, "load_code", lambda name: None)
    monkeypatch.setattr(compiler, "save_code", lambda name, code: None)
    registry._group_addresses.cache_clear()
    registry.kernel_addresses.cache_clear()
    honest, calls = compiler.compile_module, []

    def interrupted(module):
        calls.append(module)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return honest(module)

    monkeypatch.setattr(compiler, "compile_module", interrupted)
    X, y = np.zeros((40, 5), np.float32), np.zeros(40, np.int64)
    with pytest.raises(KeyboardInterrupt):
        MLP((5, 4, 2), rng=0).fit(X, y, epochs=1)
    history = MLP((5, 4, 2), rng=0).fit(X, y, epochs=1)
    assert len(history.loss) == 1
    assert len(calls) > 3


def test_threads_that_compile_at_once_have_the_same_kernels(monkeypatch):
    monkeypatch.setattr(compiler, "load_code", lambda name: None)
    monkeypatch.setattr(compiler, "save_code", lambda name, code: None)
    registry._group_addresses.cache_clear()
    registry.kernel_addresses.cache_clear()
    found = []
    threads = [
        threading.Thread(
            target=lambda: found.append(registry.kernel_addresses("float32", "labels"))
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 4
    assert all(set(each) == {"softmax_labels"} and all(each.values()) for each in found)


ONE_THREAD = """
import sys
import numpy as np
import fastmlp
net = fastmlp.MLP((20, 100, 2), rng=0, threads=1)
net.fit(np.zeros((9, 20), np.float32), np.zeros(9, np.int64), epochs=1)
net.predict_proba(np.zeros((9, 20), np.float32))
print("numba" in sys.modules, "scipy" in sys.modules)
"""


def test_one_thread_needs_no_import_of_numba():
    """Importing it takes a quarter of a second, and its first function another half."""
    done = subprocess.run(
        [sys.executable, "-c", ONE_THREAD], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.split() == ["False", "False"]


def test_a_fit_asks_llvm_for_nothing_once_its_kernels_are_there(monkeypatch):
    """llvmlite frees a string twice where Ctrl-C comes meanwhile, and the process ends."""
    X, y = np.ones((40, 5), np.float32), np.arange(40) % 2
    options = {"batch_size": 8, "optimizer": Adam(), "validation_data": (X, y)}
    made = []

    def job():
        net = MLP((5, 4, 2), rng=0, threads=2)
        net.fit(X, y, epochs=2, **options)
        net.predict(X[:1]), net.predict_proba(X), net.loss_and_gradients(X, y)

    job()
    for kind in (ffi.ObjectRef, ffi.OutputString):

        def begin(self, *arguments, honest=kind.__init__, **options):
            made.append(type(self).__name__)
            honest(self, *arguments, **options)

        monkeypatch.setattr(kind, "__init__", begin)
    job()
    assert made == []
    compiler.llvm.get_process_triple()
    assert made == ["OutputString"]
