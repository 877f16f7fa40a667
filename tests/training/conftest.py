"""What tests of training share."""

from __future__ import annotations

import pytest


@pytest.fixture
def four_cores(monkeypatch):
    """Let four networks train at a time, whatever the machine has."""
    monkeypatch.setattr("fastmlp.kernels.jit.threading_layer.thread_limit", lambda: 4)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(4)), raising=False)
