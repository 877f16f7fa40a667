"""The reference on symbols, for those tests that ask for it."""

from __future__ import annotations

import importlib

import pytest

from fastmlp.reference import activations, backprop, losses, optimizers, penalties

dense = importlib.import_module("fastmlp.reference.dense")  # the function hides the module


@pytest.fixture
def symbolic(monkeypatch):
    """Let the reference's modules take arrays of symbols, without the checks of what users pass."""
    from symbols import SymbolNumPy, number, symbol  # SymPy is for those who ask for this alone

    for module in (activations, backprop, dense, losses, optimizers, penalties):
        monkeypatch.setattr(module, "np", SymbolNumPy())
        monkeypatch.setattr(module, "float", number, raising=False)
    for name in ("GELU_SCALE", "GELU_CUBIC", "LEAKY_SLOPE"):
        value = getattr(activations, name)
        monkeypatch.setattr(activations, name, symbol(name, value, positive=True))
    monkeypatch.setattr(losses, "check_softmax", lambda z: z)
    monkeypatch.setattr(losses, "check_output_loss", lambda z, y, output, loss, w: (z, y, w))
    monkeypatch.setattr(dense, "check_dense_backward", lambda *arrays: arrays)
    monkeypatch.setattr(optimizers, "check_optimizer_step", lambda o, p, g, s, rate: rate)
