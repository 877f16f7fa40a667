"""That kernels are being compiled is said once, to whoever watches, and can be silenced."""

from __future__ import annotations

import logging
import os
import subprocess
import sys

import pytest

from fastmlp.support.notices import LOGGER, notice, notices


@pytest.fixture
def terminal(capsys, monkeypatch):
    """Return a function that makes standard error pass for a terminal and returns its reader."""

    def watch():  # the stream of a test is another one than that of its fixtures
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
        return lambda: capsys.readouterr().err

    return watch


def test_a_terminal_gets_a_line(terminal):
    shown = terminal()
    notice("compiling")
    assert shown() == "fastmlp: compiling\n"


def test_a_file_gets_one_only_where_it_is_asked_for(capsys):
    notice("compiling")
    assert capsys.readouterr().err == ""
    with notices(True), notices(False):  # the command line above a fit without a bar
        notice("compiling")
    assert capsys.readouterr().err == "fastmlp: compiling\n"
    notice("compiling")
    assert capsys.readouterr().err == ""


def test_without_a_progress_bar_nothing_is_said(terminal):
    shown = terminal()
    with notices(False):
        notice("compiling")
    assert shown() == ""
    with notices(None):
        notice("compiling")
    assert shown() == "fastmlp: compiling\n"


def test_a_level_of_its_own_leaves_it_to_logging(terminal, caplog):
    shown = terminal()
    with caplog.at_level(logging.INFO, "fastmlp"):
        notice("compiling")
    assert [(r.name, r.levelname, r.message) for r in caplog.records] == [
        ("fastmlp", "INFO", "compiling")
    ]
    LOGGER.setLevel(logging.WARNING)
    try:
        notice("compiling")
    finally:
        LOGGER.setLevel(logging.NOTSET)
    assert shown() == ""
    assert len(caplog.records) == 1


def test_a_line_stands_above_a_progress_bar(terminal):
    shown = terminal()
    from tqdm.auto import tqdm

    with notices(True), tqdm(total=2) as bar:
        bar.update()
        notice("compiling")
    assert "\rfastmlp: compiling\n" in shown()


# what compiles, says so

TWO_GROUPS = """
import sys, logging
from fastmlp.support.notices import notices
from fastmlp.kernels.jit.registry import kernel_addresses
logging.basicConfig(level=sys.argv[1], format="log: %(message)s")
with notices({"show": True, "hide": False}.get(sys.argv[2])):
    kernel_addresses("float32", "groups"), kernel_addresses("float64", "groups")
"""


def said(cache, level: str = "WARNING", wish: str = "none") -> str:
    environment = {**os.environ, "FASTMLP_CACHE_DIR": str(cache)}
    done = subprocess.run(
        [sys.executable, "-c", TWO_GROUPS, level, wish], env=environment, capture_output=True,
        text=True, timeout=120, check=True,
    )  # fmt: skip
    return done.stderr


@pytest.mark.slow
def test_compiling_is_said_once_and_a_cached_start_says_nothing(tmp_path):
    first = said(tmp_path / "a", wish="show")
    assert first.startswith("fastmlp: compiling kernels that are new to this processor; kept in ")
    assert str(tmp_path / "a") in first
    assert first.count("\n") == 1
    assert said(tmp_path / "a", wish="show") == ""
    assert said(tmp_path / "b") == ""  # no terminal: silent unless logging is on
    assert said(tmp_path / "c", "INFO").startswith("log: compiling kernels")


@pytest.mark.slow
def test_without_a_folder_every_process_says_it(tmp_path):
    (tmp_path / "file").touch()
    shown = said(tmp_path / "file" / "folder", wish="show")
    assert "for this process only" in shown
    assert "FASTMLP_CACHE_DIR" in shown
    assert shown.count("\n") == 1
