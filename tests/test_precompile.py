"""What is compiled before a job begins: all of it and nothing else, by one process or by two."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
from numba.core.errors import NumbaWarning

from fastmlp import MLP, SGD, Adam
from fastmlp.kernels.emit.activations import ACTIVATIONS
from fastmlp.kernels.emit.optimizers import ADD, STORE
from fastmlp.kernels.jit import precompile, registry, threading_layer
from fastmlp.kernels.run import training
from fastmlp.kernels.run.atomics import spin_wait

# groups


@pytest.mark.parametrize("group", ["labels", "update:adam", "forward:relu", "index f32"])
def test_a_group_has_the_addresses_of_its_kernels_only(group):
    addresses = registry.kernel_addresses("float32", group)
    family = group.partition(":")[0]
    expected = {name for name, kernel in registry.KERNELS.items() if kernel.family == family}
    assert set(addresses) == expected
    assert all(addresses.values())
    with pytest.raises(LookupError, match="dropout: is in no group that was compiled"):
        addresses["dropout"]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_forward_group_has_its_activations_and_no_others(name):
    codes = {ACTIVATIONS[name], ACTIVATIONS["identity"]}
    (group,) = precompile.groups_of(["forward"], [name], "adam")
    assert registry._kept(group) & set(ACTIVATIONS.values()) >= codes
    assert registry._kept(group) - codes == {STORE, ADD}


def test_every_kernel_is_in_the_group_that_its_cases_ask_for():
    for name, kernel in registry.KERNELS.items():
        (group,) = precompile.groups_of([name], ["gelu"], "adam")
        family, _, cases = group.partition(":")
        assert family == kernel.family
        assert ("adam" in cases) == (kernel.cases == "rule")
        assert ("gelu" in cases) == (kernel.cases in ("activations", "derivatives"))


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
    """What was forgotten would be compiled later, by one process."""
    prepared, used, ran = [], [], []

    def prepare(dtype, groups, functions):
        prepared.append((set(groups), set(functions)))
        precompile.prepare(dtype, groups, functions)

    def addresses(dtype, *groups):
        used.append(set(groups))
        return registry.kernel_addresses(dtype, *groups)

    def run(drivers, shares, *arguments):
        ran.append(threading_layer.choose_driver(drivers, shares))
        threading_layer.run(drivers, shares, *arguments)

    monkeypatch.setattr(training, "prepare", prepare)
    monkeypatch.setattr(training, "kernel_addresses", addresses)
    monkeypatch.setattr(training, "run", run)
    rng = np.random.default_rng(0)
    X = rng.integers(1, 255, (700, 40)).astype(np.uint8)
    if zeros:
        X *= rng.random(X.shape) < 0.2
    wide = 600 if job == "chunks" else 8  # too large for groups with gradients of their own
    net = MLP((40, wide, wide, 3), activation="relu", input_scale=255, rng=0, threads=threads)
    net.fit(X, rng.integers(0, 3, 700), epochs=1, **SETTINGS[job])
    (groups, functions), = prepared  # fmt: skip
    assert used
    assert all(each <= groups for each in used)
    assert ("index u8" in groups) == zeros
    assert set(ran) <= functions
    for function in functions:
        assert set(function.overloads) == {precompile._argument_types(function)}, function


# the helper


def test_a_helper_is_started_where_it_can_help(monkeypatch):
    units = [("run.atomics", "spin_wait")] * precompile._FEWEST
    monkeypatch.setattr(precompile, "thread_limit", lambda: 2)
    assert precompile._command(units)[0] == sys.executable
    assert precompile._command(units[1:]) is None
    for where, name, value in (
        (precompile, "thread_limit", lambda: 1),
        (precompile, "cache_folder", lambda: None),
        (sys, "frozen", True),
        (sys, "executable", os.path.join("bin", "blender")),
        (sys, "executable", None),
    ):
        with monkeypatch.context() as changed:
            changed.setattr(where, name, value, raising=False)
            assert precompile._command(units) is None, name
    monkeypatch.setenv("FASTMLP_COMPILE_PROCESSES", "1")
    assert precompile._command(units) is None


HELPED = """
from fastmlp.kernels.jit import cache, precompile
from fastmlp.kernels.run.atomics import spin_wait
from fastmlp.kernels.run.executor import enter_bases
import time
precompile._FEWEST, precompile.thread_limit = 1, lambda: 2
with precompile._helper([precompile.unit_of(enter_bases), precompile.unit_of(spin_wait)]):
    end = time.monotonic() + 60
    arguments = precompile._argument_types(spin_wait)
    while not cache.is_cached(spin_wait, arguments) and time.monotonic() < end:
        time.sleep(0.05)
print(cache.is_cached(spin_wait, arguments), len(spin_wait.overloads))
"""


def test_what_the_helper_compiles_is_found_in_the_cache(tmp_path):
    environment = {**os.environ, "FASTMLP_CACHE_DIR": str(tmp_path)}
    environment.pop("FASTMLP_COMPILE_PROCESSES", None)
    done = subprocess.run(
        [sys.executable, "-c", HELPED], env=environment, capture_output=True, text=True,
        timeout=120, check=True,
    )  # fmt: skip
    assert (done.stdout.split(), done.stderr) == (["True", "0"], "")


@pytest.mark.parametrize("program", ["import time; time.sleep(600)", "raise SystemExit(3)"])
def test_a_helper_that_hangs_or_fails_is_not_waited_for(program, monkeypatch):
    started = []
    popen = subprocess.Popen

    def start(*arguments, **options):
        started.append(popen(*arguments, **options))
        return started[-1]

    monkeypatch.setattr(precompile, "_PROGRAM", program)
    monkeypatch.setattr(precompile, "thread_limit", lambda: 2)
    monkeypatch.setattr(subprocess, "Popen", start)
    begun = time.monotonic()
    with (
        pytest.raises(KeyboardInterrupt),
        precompile._helper([("run.atomics", "spin_wait")] * precompile._FEWEST),
    ):
        raise KeyboardInterrupt
    assert len(started) == 1
    assert started[0].returncode is not None  # ended, and no zombie
    assert not precompile._helping.locked()
    assert time.monotonic() - begun < 60


def test_a_helper_that_cannot_start_is_done_without(monkeypatch):
    monkeypatch.setattr(precompile, "_command", lambda units: ["no such program"])
    with precompile._helper([]), precompile._helper([]):
        assert precompile._helping.locked()
    assert not precompile._helping.locked()


# the cache


def test_code_that_cannot_be_cached_is_warned_of():
    result = SimpleNamespace(
        lifted=[SimpleNamespace(can_cache=False)], fndesc=SimpleNamespace(qualname="spin_wait")
    )
    with pytest.warns(NumbaWarning, match='Cannot cache compiled function "spin_wait"') as caught:
        assert not spin_wait._cache._impl.check_cachable(result)
    assert caught[0].filename.endswith("atomics.py")
