"""One cluster for a module's tests; nothing here may hang."""

from __future__ import annotations

import faulthandler

import pytest
from clusters import local_cluster

SECONDS = 240  # a test that takes longer hangs: all stacks are shown, and the run ends


@pytest.fixture(autouse=True)
def _no_hang():
    faulthandler.dump_traceback_later(SECONDS, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture(scope="module")
def client():
    """Return the client of two workers."""
    with local_cluster(2) as (_, client):
        yield client
