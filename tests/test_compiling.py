"""What is compiled before a job begins: all of it and nothing else, by one process or by two."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
from fastmlp.kernels.regions import argument_types
from numba.core.errors import NumbaWarning

from fastmlp import MLP, SGD, Adam
from fastmlp.kernels import training
from fastmlp.kernels.emit.activations import ACTIVATIONS
from fastmlp.kernels.emit.optimizers import OPTIMIZERS
from fastmlp.kernels.jit import precompile as compiling
from fastmlp.kernels.jit import registry as table
from fastmlp.kernels.jit import threading_layer as pool

# groups


def test_every_kernel_is_in_one_group():
    assert set(table._FAMILY.values()) == {*table._FAMILIES, "common"}
    for name, family in table._FAMILY.items():
        fitting = [f for f, beginnings in table._FAMILIES.items() if name.startswith(beginnings)]
        assert fitting == ([] if family == "common" else [family]), name


@pytest.mark.parametrize("group", ["common", "update:adam", "forward:linear"])
def test_a_group_has_the_addresses_of_its_kernels_only(group):
    addresses = table.kernel_addresses("float32", group)
    target = table.current_target()
    for name, (_, emit) in table.KERNELS.items():
        widest = name.startswith("tile_") and int(name[-1]) > target.tile_vectors
        expected = table._FAMILY[name] == group.partition(":")[0] and emit is not None
        assert bool(addresses[table.NUMBER[name]]) == (expected and not widest), name


def test_the_short_group_is_for_the_activations_that_it_has():
    for name in ACTIVATIONS:
        short = table.forward_group("forward", ["relu", name]) == "forward:linear"
        assert short == (ACTIVATIONS[name] in table._VARIANTS["linear"])
    for rule, code in OPTIMIZERS.items():
        assert code in table._VARIANTS[rule]


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
    """What was forgotten would be compiled later, by one process; of regions, crash."""
    prepared, used, ran = [], [], []

    def prepare(dtype, groups, functions):
        prepared.append((set(groups), set(functions)))
        compiling.prepare(dtype, groups, functions)

    def addresses(dtype, *groups):
        used.append(set(groups))
        return table.kernel_addresses(dtype, *groups)

    def run(drivers, shares, *arguments):
        ran.append(pool.choose_driver(drivers, shares))
        pool.run(drivers, shares, *arguments)

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
    assert len(used) == 1
    assert used[0] <= groups
    assert ("index u8" in groups) == zeros
    assert set(ran) <= functions
    for function in functions:
        assert set(function.overloads) == {argument_types(function)}, function


# the helper


def test_a_helper_is_started_where_it_can_help(monkeypatch):
    units = [("shares", "share")] * compiling._FEWEST
    monkeypatch.setattr(compiling, "thread_limit", lambda: 2)
    assert compiling._command(units)[0] == sys.executable
    assert compiling._command(units[1:]) is None
    for where, name, value in (
        (compiling, "thread_limit", lambda: 1),
        (compiling, "cache_folder", lambda: None),
        (sys, "frozen", True),
        (sys, "executable", os.path.join("bin", "blender")),
        (sys, "executable", None),
    ):
        with monkeypatch.context() as changed:
            changed.setattr(where, name, value, raising=False)
            assert compiling._command(units) is None, name
    monkeypatch.setenv("FASTMLP_COMPILE_PROCESSES", "1")
    assert compiling._command(units) is None


HELPED = """
from fastmlp.kernels import compiling, _jit
from fastmlp.kernels.regions import argument_types
from fastmlp.kernels.shares import rows_of, share
import time
compiling._FEWEST, compiling.thread_limit = 1, lambda: 2
with compiling._helper([("shares", "share"), ("shares", "rows_of")]):
    end = time.monotonic() + 60
    while not _jit.is_cached(rows_of, argument_types(rows_of)) and time.monotonic() < end:
        time.sleep(0.05)
print(_jit.is_cached(rows_of, argument_types(rows_of)), len(rows_of.overloads))
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

    monkeypatch.setattr(compiling, "_PROGRAM", program)
    monkeypatch.setattr(compiling, "thread_limit", lambda: 2)
    monkeypatch.setattr(subprocess, "Popen", start)
    begun = time.monotonic()
    with (
        pytest.raises(KeyboardInterrupt),
        compiling._helper([("shares", "share")] * compiling._FEWEST),
    ):
        raise KeyboardInterrupt
    assert len(started) == 1
    assert started[0].returncode is not None  # ended, and no zombie
    assert not compiling._helping.locked()
    assert time.monotonic() - begun < 60


def test_a_helper_that_cannot_start_is_done_without(monkeypatch):
    monkeypatch.setattr(compiling, "_command", lambda units: ["no such program"])
    with compiling._helper([]), compiling._helper([]):
        assert compiling._helping.locked()
    assert not compiling._helping.locked()


# the cache


def test_code_that_cannot_be_cached_is_warned_of():
    from fastmlp.kernels.shares import share

    result = SimpleNamespace(
        lifted=[SimpleNamespace(can_cache=False)], fndesc=SimpleNamespace(qualname="share")
    )
    with pytest.warns(NumbaWarning, match='Cannot cache compiled function "share"') as caught:
        assert not share._cache._impl.check_cachable(result)
    assert caught[0].filename.endswith("shares.py")
