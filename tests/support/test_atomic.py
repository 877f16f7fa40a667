"""Files on other systems: what Windows refuses, and what reaches the disk on macOS."""

from __future__ import annotations

import errno
import os
import sys

import pytest
from presses import everywhere

from fastmlp import MLP
from fastmlp.support.atomic import replacing


@pytest.mark.parametrize("winerror", [5, 32, 1224])
def test_a_file_that_is_mapped_cannot_be_replaced_and_is_named(tmp_path, monkeypatch, winerror):
    path = tmp_path / "net.npz"
    MLP((3, 2), backend="numpy").save(path)
    before = path.read_bytes()

    def refuse(*_):
        error = OSError(errno.EINVAL, "The requested operation cannot be performed")
        error.winerror = winerror
        raise error

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(PermissionError, match="open or mapped") as caught:
        MLP((3, 2), backend="numpy").save(path)
    assert caught.value.filename == str(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["net.npz"]


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fcntl")
@pytest.mark.parametrize("works", [True, False])
def test_a_file_is_behind_the_drives_cache_where_the_system_can(tmp_path, monkeypatch, works):
    import fcntl

    brought, synced = [], []

    def full(descriptor, command):
        assert command == 51
        if not works:
            raise OSError(errno.ENOTSUP, "not on this file system")
        brought.append(os.fstat(descriptor).st_ino)

    monkeypatch.setattr(fcntl, "F_FULLFSYNC", 51, raising=False)
    monkeypatch.setattr(fcntl, "fcntl", full)
    monkeypatch.setattr(os, "fsync", lambda d: synced.append(os.fstat(d).st_ino))
    with replacing(tmp_path / "a.txt") as name:
        number = os.stat(name).st_ino
    expected = [number, os.stat(tmp_path).st_ino]
    assert (brought, synced) == ((expected, []) if works else ([], expected))


@pytest.mark.skipif(os.name != "posix", reason="modes as POSIX has them")
@pytest.mark.usefixtures("ctrl_c_is_heard")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # between open, with
def test_wherever_ctrl_c_comes_the_file_is_the_old_or_the_new_one_and_alone(tmp_path):
    path = tmp_path / "a.txt"

    def write():
        path.write_text("old")
        with replacing(path) as name, open(name, "w") as file:
            file.write("new")

    os.umask(own := os.umask(0))
    seen = []
    for _ in everywhere(write, ["support/atomic.py"]):
        assert os.listdir(tmp_path) == ["a.txt"]
        seen.append(path.read_text())
        os.umask(umask := os.umask(own))
        assert umask == own
    assert {"old", "new"} <= set(seen)
    assert len(seen) > 30
