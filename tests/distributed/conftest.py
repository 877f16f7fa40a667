"""A cluster for all tests of this folder; nothing here may hang."""

from __future__ import annotations

import faulthandler
from pathlib import Path

import pytest
from clusters import shared

SECONDS = 240  # a test that takes longer hangs: all stacks are shown, and the run ends


@pytest.fixture(autouse=True)
def _no_hang():
    faulthandler.dump_traceback_later(SECONDS, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture
def client():
    """Return the client of two workers, which all tests share."""
    return shared.get(2)[1]


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(nextitem):
    if nextitem is None or Path(__file__).parent not in nextitem.path.parents:
        shared.close()
