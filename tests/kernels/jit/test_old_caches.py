"""Caches that other versions have left: shown, cleared, and gone after a year."""

from __future__ import annotations

import os
import time

import pytest

from fastmlp.cli import main
from fastmlp.kernels.jit import cache
from fastmlp.kernels.jit.old_caches import cache_folders, remove_old
from fastmlp.support.environment import environment

DAY = 24 * 3600


@pytest.fixture
def present(tmp_path, monkeypatch):
    """Make the present cache and three others, of which one is old, and what is none."""
    parent = tmp_path / "cache"
    for name, days in (("a" * 20, 0), ("b" * 20, 10), ("c" * 20, 364), ("d" * 20, 366)):
        folder = parent / name
        folder.mkdir(parents=True)
        (folder / "code.o").write_bytes(b"0" * 1000)
        os.utime(folder, (time.time() - days * DAY,) * 2)
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "mine").touch()
    (parent / ("e" * 20)).symlink_to(kept)
    (parent / "notes").mkdir()
    (parent / ("f" * 20)).touch()
    for name in ("notes", "f" * 20):
        os.utime(parent / name, (0, 0))
    monkeypatch.setattr(cache, "cache_folder", lambda: parent / ("a" * 20))
    return parent / ("a" * 20)


def left(present) -> str:
    return "".join(sorted(path.name[0] for path in present.parent.iterdir()))


def test_what_is_a_year_old_goes_and_nothing_else(present):
    assert [folder.name[0] for folder in cache_folders(present.parent)] == list("abcd")
    remove_old(present)
    assert left(present) == "abcefn"
    os.utime(present, (0, 0))
    remove_old(present)
    assert left(present) == "abcefn"  # the present one stays, however old


@pytest.mark.parametrize("error", [PermissionError, FileNotFoundError, NotADirectoryError])
def test_a_folder_that_may_not_be_read_holds_nothing(present, monkeypatch, error):
    def refuse(path):
        raise error(path)

    monkeypatch.setattr(type(present), "iterdir", refuse)
    assert cache_folders(present.parent) == {}
    assert environment()["cache_bytes"] == 0


def test_it_goes_when_something_is_compiled(present):
    cache.announce.cache_clear()
    try:
        cache.announce()
        assert left(present) == "abcefn"
    finally:
        cache.announce.cache_clear()


def test_the_command(present, capsys):
    assert main(["cache"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == f"{present.parent}: 0.0 MB"
    assert [line.split()[0][0] for line in out[1:]] == list("abcd")
    assert out[1].endswith("this version")
    assert out[2].endswith("another version")
    assert main(["cache", "--old"]) == 2
    assert "--old: expected --clear" in capsys.readouterr().err
    assert left(present) == "abcdefn"
    assert main(["cache", "--clear", "--old"]) == 0
    assert capsys.readouterr().out == "removed: 3 caches, 0.0 MB\n"
    assert left(present) == "aefn"
    assert main(["cache", "--clear"]) == 0
    assert left(present) == "efn"
    assert (present.parent / ("e" * 20) / "mine").exists()


def test_the_command_without_a_folder(monkeypatch, capsys):
    monkeypatch.setattr(cache, "cache_folder", lambda: None)
    assert main(["cache"]) == 0
    assert "no cache folder can be written" in capsys.readouterr().out


def test_no_candidate_lies_below_the_current_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("FASTMLP_CACHE_DIR", raising=False)
    monkeypatch.chdir(tmp_path)
    for name in ("XDG_CACHE_HOME", "HOME", "TMPDIR", "TEMP", "TMP"):
        for value in (None, "", ".", "below"):
            with monkeypatch.context() as patch:
                if value is None:
                    patch.delenv(name, raising=False)
                else:
                    patch.setenv(name, value)
                found = cache._candidates()
                assert found
                assert all(folder.is_absolute() for folder in found)
                assert not any(folder.is_relative_to(tmp_path) for folder in found)
