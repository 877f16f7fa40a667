"""Compiled steps take subnormal numbers for zero, and leave the caller's arithmetic as it was."""

from __future__ import annotations

import ctypes
import threading

import numpy as np
import pytest

from fastmlp import MLP, SGD, Adam, RMSProp
from fastmlp.callbacks import Callback
from fastmlp.kernels.jit import threading_layer

TINY = {"float32": np.float32(1e-41), "float64": np.float64(1e-310)}
MODES = {"mini-batches": 16, "full batch": None, "one sample": 1}


def is_ieee() -> bool:
    """Tell whether this thread computes with subnormal numbers."""
    return all(bool((value * np.ones(64, value.dtype)).all()) for value in TINY.values())


def subnormal(arrays) -> int:
    return sum(
        int(((a != 0) & (np.abs(a) < np.finfo(a.dtype).tiny)).sum())
        for a in map(np.asarray, arrays)
    )


def job(dtype: str, threads: int, optimizer, **options):
    """Train where most inputs are not zero in the first sample alone: their moments decay."""
    rng = np.random.default_rng(0)
    X = rng.random((1600, 40)).astype(dtype)
    X[1:, :20] = 0
    net = MLP((40, 24, 3), activation="relu", rng=0, dtype=dtype, threads=threads)
    net.fit(X, rng.integers(0, 3, 1600), optimizer=optimizer, shuffle=False, **options)
    return net, X


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", TINY)
@pytest.mark.parametrize(
    "optimizer", [Adam(), SGD(0.01, momentum=0.8), RMSProp()], ids=lambda o: o.rule
)
def test_no_subnormal_number_is_left(optimizer, dtype, threads):
    epochs = 12 if dtype == "float32" else 80  # until moments have decayed by 1e-38 or 1e-308
    net, _ = job(dtype, threads, optimizer, epochs=epochs, batch_size=16)
    slots = [net._parameters.flat, *net._parameters.slots]
    assert subnormal(slots) == 0
    assert any((array == 0).any() for array in slots[1:]) or optimizer.rule == "rmsprop"
    assert is_ieee()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("threads", [1, 2, 8])
def test_the_caller_goes_on_as_before(mode, threads, monkeypatch):
    monkeypatch.setattr(threading_layer, "thread_limit", lambda: 2)
    net, X = job("float32", threads, SGD(0.01), epochs=1, batch_size=MODES[mode])
    assert is_ieee()
    for rows in (1, 3, 500):
        net.predict_proba(X[:rows])
        assert is_ieee()
    found = []
    address = ctypes.POINTER(ctypes.c_int64)

    @ctypes.CFUNCTYPE(None, address, address, address, ctypes.c_int64)
    def part(first, counts, distances, data):
        found.append((threading.get_ident(), is_ieee()))

    at = ctypes.cast(part, ctypes.c_void_p).value
    if threading_layer.run_on_threads(at, 0, 4, 2, lambda: None):  # Numba's own threads
        assert all(ieee for _, ieee in found)


def test_a_setting_of_the_callers_own_is_kept():
    """A caller who flushes subnormals, as PyTorch's set_flush_denormal does, still does after."""
    torch = pytest.importorskip("torch")
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot")
    try:
        job("float32", 1, SGD(0.01), epochs=1, batch_size=16)
        assert not is_ieee()
    finally:
        torch.set_flush_denormal(False)
    assert is_ieee()


def test_an_interrupt_leaves_the_callers_arithmetic():
    class StopError(Exception):
        pass

    class Watching(Callback):
        def on_epoch_end(self, *_):
            assert is_ieee()
            raise StopError

    with pytest.raises(StopError):
        job("float32", 2, Adam(), epochs=2, batch_size=16, callbacks=[Watching()])
    assert is_ieee()


def test_a_subnormal_probability_is_zero():
    net = MLP((2, 2), rng=0)
    net.weights[0][:] = [[0, -90], [0, 0]]
    answer = net.predict_proba(np.array([[1.0, 0.0]], np.float32))
    assert answer[0, 1] == 0
    reference = MLP((2, 2), rng=0, backend="numpy")
    reference.weights[0][:] = net.weights[0]
    assert 0 < reference.predict_proba(np.array([[1.0, 0.0]], np.float32))[0, 1] < 1.2e-38
