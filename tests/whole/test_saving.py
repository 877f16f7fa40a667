"""A file that is saved is the old or the new one, whatever ends the process or fills the disk."""

from __future__ import annotations

import errno
import itertools
import multiprocessing
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from presses import everywhere

from fastmlp import (
    MLP,
    ModelCheckpoint,
)
from fastmlp.cli.files import write_json
from fastmlp.plots import save_history
from fastmlp.report import write_report
from fastmlp.support.atomic import replacing
from fastmlp.tables.model import save_model

FULL = bool(os.environ.get("FASTMLP_FULL_TESTS"))
X = np.random.default_rng(0).normal(size=(120, 6)).astype("float32")
LABELS = np.random.default_rng(1).integers(0, 3, 120)
# NumPy 1.26 leaves an archive open that it could not write; Python says so when it is forgotten.
FORGOTTEN = "ignore::pytest.PytestUnraisableExceptionWarning" if np.__version__ < "2" else "error"


def made() -> MLP:
    net = MLP((6, 300, 3), rng=0, backend="numpy")
    net.fit(X, LABELS, epochs=1)
    return net


def _checkpoint(net, path):
    net.fit(X, LABELS, epochs=1, callbacks=[ModelCheckpoint(path)])


def _picture(net, path):
    with replacing(path) as name:
        save_history(net.history, name, "title")


def save_and_die(path: Path, call: int | None, size: int | None) -> None:
    """Save another epoch's network over the old one, and be killed in a call or at a byte."""
    net = made()
    net.fit(X, LABELS, epochs=1)
    if size is not None:
        import resource

        sys.dont_write_bytecode = True
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    calls = itertools.count()

    def killing(function):
        def wrapper(*arguments, **options):
            for before in (True, False):
                if next(calls) == call:
                    os.kill(os.getpid(), signal.SIGKILL)
                if before:
                    result = function(*arguments, **options)
            return result

        return wrapper

    tempfile.mkstemp = killing(tempfile.mkstemp)
    for name in ("fsync", "chmod", "replace"):
        setattr(os, name, killing(getattr(os, name)))
    net.save(path)


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="needs limits of POSIX")
def test_killed_within_a_save_it_is_the_old_or_the_new_file(tmp_path, count):
    """Before and after each call to the system, and at bytes all through the file."""
    context = multiprocessing.get_context("forkserver")
    path, old = tmp_path / "net.npz", made()
    old.save(path)
    size, kills, seen = path.stat().st_size, 0, []
    moments = [(call, None) for call in range(12)]
    moments += [(None, at) for at in np.linspace(0, size - 1, 50 if FULL else 10).astype(int)]
    for call, at in moments:
        old.save(path)
        child = context.Process(target=save_and_die, args=(path, call, at and int(at)))
        child.start()
        child.join()
        if call is not None and child.exitcode == 0:  # there are fewer calls than that
            assert call >= 10
            continue
        assert child.exitcode == -(signal.SIGKILL if at is None else signal.SIGXFSZ)
        kills += 1
        steps = MLP.load(path, backend="numpy")._state.step
        assert steps in (old._state.step, 2 * old._state.step)
        if call is not None:
            seen.append(steps > old._state.step)
        else:
            assert steps == old._state.step
    assert seen == sorted(seen)  # the old one up to a call, from then on the new one
    assert set(seen) == {False, True}
    count("kills within a save", kills, kills if FULL else kills + 40)


WRITERS = {
    "save": ("net.npz", lambda net, path: net.save(path)),
    "checkpoint": ("net.npz", _checkpoint),
    "report": ("report.html", lambda net, path: write_report(net, path)),
    "json": ("run.json", lambda net, path: write_json(path, list(range(9999)))),
    "picture": ("loss.png", _picture),
    "safetensors": ("net.safetensors", lambda net, path: net.to_safetensors(path)),
    "onnx": ("net.onnx", lambda net, path: net.to_onnx(path)),
}


def refusing(code):
    def refuse(*arguments, **options):
        raise OSError(code, os.strerror(code))

    return refuse


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.filterwarnings(FORGOTTEN)
def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch, kind):
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # Python would keep half of it
    file, write = WRITERS[kind]
    path, net = tmp_path / file, made()
    path.write_text("the old one")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))  # the next byte is an error
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            write(net, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.errno == errno.EFBIG
    assert caught.value.filename == str(path)
    assert path.read_text() == "the old one"
    assert os.listdir(tmp_path) == [file]
    write(net, path)
    assert path.stat().st_size > 2000
    assert os.listdir(tmp_path) == [file]


@pytest.fixture
def small_disk(tmp_path):
    """Mount a disk of 64 kB; only root may, and not everywhere."""
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(tmp_path)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no disk can be mounted here")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.filterwarnings(FORGOTTEN)
def test_a_disk_that_is_really_full(small_disk, kind):
    file, write = WRITERS[kind]
    path, net = small_disk / file, made()
    path.write_text("the old one")
    (small_disk / "other").write_bytes(bytes(58_000))
    with pytest.raises(OSError, match="No space left on device") as caught:
        write(net, path)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
    assert path.read_text() == "the old one"
    assert sorted(os.listdir(small_disk)) == sorted([file, "other"])


@pytest.mark.parametrize("call", ["fsync", "chmod", "replace"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_every_call_may_fail(tmp_path, monkeypatch, call, code):
    path, net = tmp_path / "net.npz", made()
    path.write_text("the old one")
    with monkeypatch.context() as patch:
        patch.setattr(os, call, refusing(code))
        with pytest.raises(OSError, match=os.strerror(code)) as caught:
            net.save(path)
    assert (caught.value.errno, caught.value.filename) == (code, str(path))
    assert path.read_text() == "the old one"
    assert os.listdir(tmp_path) == ["net.npz"]


def test_the_data_are_on_the_disk_before_the_name(tmp_path, monkeypatch):
    calls, fsync, replace = [], os.fsync, os.replace

    def synced(descriptor):
        kind = "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        calls.append((kind, os.fstat(descriptor).st_size > 2000))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", lambda a, b: (calls.append("rename"), replace(a, b)))
    made().save(tmp_path / "net.npz")
    assert [calls[0], calls[1], calls[2][0]] == [("file", True), "rename", "folder"]


@pytest.mark.skipif(os.name != "posix", reason="modes are a matter of POSIX")
@pytest.mark.parametrize("kind", WRITERS)
def test_a_folder_that_cannot_be_written(kind):
    file, write = WRITERS[kind]
    folder, net = Path(tempfile.mkdtemp()), made()
    path = folder / file
    write(net, path)  # what is imported on first use is, by who may read it
    path.write_text("the old one")
    folder.chmod(0o555)
    root = os.geteuid() == 0
    try:
        if root:
            os.seteuid(65534)  # nothing is forbidden to root
        with pytest.raises(PermissionError, match="Permission denied") as caught:
            write(net, path)
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o755)
    assert caught.value.filename == str(path)
    assert path.read_text() == "the old one"
    assert os.listdir(folder) == [file]
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("writer", "every"), [("net", 9), pytest.param("table", 31, marks=pytest.mark.slow)]
)
def test_ctrl_c_while_an_archive_is_written_is_nothing_else(
    tmp_path, ctrl_c_is_heard, writer, every
):
    net, path = made(), tmp_path / ("net.npz" if writer == "net" else "net.skops")
    write = (lambda: net.save(path)) if writer == "net" else (lambda: save_model(net, path))
    if writer == "table":
        net = pytest.importorskip("sklearn.preprocessing").StandardScaler().fit([[1.0], [2.0]])
        pytest.importorskip("skops")
    write()
    places = [*everywhere(write, ["zipfile.py", "zipfile/__init__.py", "persistence.py"], every)]
    assert len(places) > 10
    assert os.listdir(tmp_path) == [path.name]


def test_a_folder_that_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        made().save(tmp_path / "no" / "net.npz")
    assert caught.value.filename == str(tmp_path / "no" / "net.npz")


@pytest.mark.skipif(os.name != "posix", reason="links and modes are a matter of POSIX")
def test_links_and_modes_stay(tmp_path):
    real, link = tmp_path / "real.npz", tmp_path / "link.npz"
    real.write_text("the old one")
    real.chmod(0o640)
    link.symlink_to("real.npz")
    made().save(link)
    assert link.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert MLP.load(real, backend="numpy").layer_sizes == (6, 300, 3)


def test_what_a_killed_process_left_is_swept_in_time(tmp_path):
    path, net = tmp_path / "net.npz", made()
    left = [tmp_path / f".net.partial-{k}.npz" for k in ("older", "newer")]
    other = tmp_path / ".other.partial-older.npz"
    for file in (*left, other):
        file.write_text("half of it")
    for file in (left[0], other):
        os.utime(file, (time.time() - 4000,) * 2)
    net.save(path)
    assert sorted(tmp_path.iterdir()) == sorted([left[1], other, path])


def test_long_names_are_written(tmp_path):
    name = "ü" * 120 + ".npz"
    made().save(tmp_path / name)
    assert os.listdir(tmp_path) == [name]
