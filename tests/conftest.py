"""How many cases the long tests go through, here and in full, said at the end of a run.

``FASTMLP_FULL_TESTS=1 python -m pytest -m ""`` runs them in full. ``FASTMLP_TEST_RECORD=FILE`` adds
each test's outcome and each count to a JSON file, of which ``benchmarks/readme.py promises FILE``
makes a table. Counts are those of one process: a run with ``-n`` has none.
"""

from __future__ import annotations

import datetime
import json
import os
import signal
from collections import defaultdict
from pathlib import Path

import pytest

FULL = bool(os.environ.get("FASTMLP_FULL_TESTS"))
RECORD = os.environ.get("FASTMLP_TEST_RECORD")
COUNTS: dict[str, list[int]] = defaultdict(lambda: [0, 0])
OUTCOMES: dict[str, str] = {}


@pytest.fixture(scope="session", autouse=True)
def compiling_is_announced():
    """Say before all tests what a process says once, as soon as it compiles: else some test reads
    it, which one depends on what is in the cache.
    """
    from fastmlp.kernels.jit.cache import announce

    announce()


@pytest.fixture
def count(request):
    """Return what a test calls with the name of its cases, how many it does, and does in full."""

    def note(name: str, here: int, full: int | None = None) -> None:
        total = COUNTS[name]
        total[0] += here
        total[1] += here if full is None else full

    return note


@pytest.fixture(params=["numpy", "numba"])
def backend(request):
    """Return one backend after the other."""
    return request.param


@pytest.fixture
def ctrl_c_is_heard():
    """Have Ctrl-C raise KeyboardInterrupt, also where the tests run as a shell's background job."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def ctrl_c_is_ignored():
    """Have Ctrl-C ignored, as a process finds it that a shell has started as a background job."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)


def pytest_runtest_logreport(report) -> None:
    if report.when == "call" or report.outcome != "passed":
        OUTCOMES[report.nodeid] = report.outcome


def pytest_terminal_summary(terminalreporter, config) -> None:
    for name, (here, full) in sorted(COUNTS.items()):
        # without the slow tests nobody knows how many there are in full
        more = "" if here == full or config.option.markexpr else f", {full:,} in full"
        terminalreporter.write_line(f"{name}: {here:,}{more}")
    if COUNTS and not FULL:
        terminalreporter.write_line("in full: FASTMLP_FULL_TESTS=1 python -m pytest -m ''")


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node) -> None:
    """Add what was counted in a process of xdist's."""
    for name, (here, full) in getattr(node, "workeroutput", {}).get("counts", {}).items():
        total = COUNTS[name]
        total[0] += here
        total[1] += full


def pytest_sessionfinish(session) -> None:
    if hasattr(session.config, "workerinput"):
        session.config.workeroutput["counts"] = dict(COUNTS)
        return  # several would write at once
    if not RECORD:
        return
    path = Path(RECORD)
    record = json.loads(path.read_text()) if path.exists() else {"tests": {}, "counts": {}}
    record["date"] = datetime.datetime.now(datetime.UTC).date().isoformat()
    record["tests"] |= OUTCOMES
    for name, (here, full) in COUNTS.items():  # in place of an earlier run's
        known = record["counts"].setdefault(name, {})
        known["full" if FULL or here == full else "reduced"] = here
    path.write_text(json.dumps(record, indent=1))
