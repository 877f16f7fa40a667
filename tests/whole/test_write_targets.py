"""Nothing but a regular file is replaced: all that writes, times all that a name may stand for."""

from __future__ import annotations

import io
import os
import re
import socket
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastmlp
from fastmlp import MLP
from fastmlp.cli import main
from fastmlp.cli.parser import build_parser
from fastmlp.support import atomic

PACKAGE = Path(fastmlp.__file__).parent
X, Y = np.eye(4, dtype=np.float32).repeat(10, axis=0), np.arange(4).repeat(10)

pytestmark = pytest.mark.skipif(os.name != "posix", reason="kinds of files that POSIX has")


def network() -> MLP:
    return MLP((4, 3, 4), rng=0, backend="numpy")


def fit_with(callback) -> None:
    network().fit(X, Y, epochs=1, callbacks=[callback])


def write_report(path: str) -> None:
    from fastmlp.report import write_report

    write_report(network(), path)


def save_model(path: str) -> None:
    """Save what `save_model` does not look into: skops writes what it is given."""
    pytest.importorskip("skops")
    from fastmlp.tables.model import save_model

    save_model({"a": 1}, path)


METHODS = {
    "save_model": (".skops", save_model),
    "save": (".npz", lambda path: network().save(path)),
    "to_onnx": (".onnx", lambda path: network().to_onnx(path)),
    "to_safetensors": (".safetensors", lambda path: network().to_safetensors(path)),
    "write_report": (".html", write_report),
    "ModelCheckpoint": (".npz", lambda path: fit_with(fastmlp.ModelCheckpoint(path))),
    "CSVLogger": (".csv", lambda path: fit_with(fastmlp.callbacks.CSVLogger(path))),
    "CSVLogger append": (
        ".csv", lambda path: fit_with(fastmlp.callbacks.CSVLogger(path, append=True))
    ),
}  # fmt: skip
TRAIN = ("train", "data.npz", "--backend", "numpy", "--epochs", "1", "--layers", "4,3,4")
TABLE = ("train", "table.csv", "--epochs", "1")
OPTIONS = {
    "train --out": (".npz", (*TRAIN, "--plot", "none", "--out")),
    "train --out of a table": (".skops", (*TABLE, "--plot", "none", "--out")),
    "train --plot of a table": (".png", (*TABLE, "--out", "none", "--plot")),
    "train --json of a table": (".json", (*TABLE, "--plot", "none", "--out", "none", "--json")),
    "train --checkpoint": (".npz", (*TRAIN, "--plot", "none", "--out", "none", "--checkpoint")),
    "train --plot": (".png", (*TRAIN, "--out", "none", "--plot")),
    "train --json": (".json", (*TRAIN, "--plot", "none", "--out", "none", "--json")),
    "report --out": (".html", ("report", "net.npz", "none", "--backend", "numpy", "--out")),
    "reproduce --json": (".json", ("reproduce", "--backend", "numpy", "--json")),
    "bench --json": (".json", ("bench", "--json")),
    "bench --plot": (".png", ("bench", "--plot")),
    "profile --json": (".json", ("profile", "--json")),
    "verify --json": (".json", ("verify", "--json")),
}
# where the package writes files; a place that is new here belongs into the tables above
WRITERS = {
    "persistence.py", "callbacks/files.py", "cli/commands.py", "cli/files.py", "cli/train.py",
    "cli/table.py", "tables/model.py", "interchange/onnx_file.py", "interchange/tensor_file.py",
    "report/_report.py",
}  # fmt: skip


def device(path: Path) -> None:
    try:
        os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))  # as /dev/null is
    except PermissionError:
        pytest.skip("only root makes devices")


def bound_socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # the length of a socket's path is limited
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def protected(path: Path) -> None:
    path.write_bytes(b"old")
    path.chmod(0o444)


def linked(make):
    def link(path: Path) -> None:
        other = path.with_name("other")
        make(other)
        path.symlink_to(other.name)

    return link


KINDS = {
    "folder": Path.mkdir,
    "pipe": os.mkfifo,
    "socket": bound_socket,
    "device": device,
    "protected file": protected,
    "link to a folder": linked(Path.mkdir),
    "link to a pipe": linked(os.mkfifo),
    "link to a device": linked(device),
    "link to a protected file": linked(protected),
    "links in a circle": lambda path: (
        path.symlink_to("other"),
        path.with_name("other").symlink_to(path.name),
    ),
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("data.npz", x_train=X, y_train=Y, x_test=X, y_test=Y)
    network().save("net.npz")
    rows = [f"{x},{x % 7},{'yes' if x % 2 else 'no'}" for x in range(60)]
    Path("table.csv").write_text("\n".join(["age,size,label", *rows]))
    return tmp_path


@pytest.fixture
def no_work(monkeypatch):
    """Fail where anything that takes time is begun."""
    from fastmlp import bench, recipes, report
    from fastmlp.training import trainer

    def work(*_, **__):
        raise AssertionError("the work has begun")

    monkeypatch.setattr(trainer._Fit, "run", work)
    monkeypatch.setattr(recipes, "reproduce", work)
    monkeypatch.setattr(report, "write_report", work)
    monkeypatch.setattr("fastmlp.cli.table.train_model", work)
    monkeypatch.setattr("fastmlp.verification.checks.verify", work)
    for name in ("compare", "fma_peak", "profile_step"):
        monkeypatch.setattr(bench, name, work)


def seen(folder: Path):
    """Return what there is, without following links."""
    return {
        path.name: (os.lstat(path).st_mode, os.lstat(path).st_ino, os.lstat(path).st_size)
        for path in folder.iterdir()
    }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS)
def test_a_method_leaves_it(here, no_work, monkeypatch, method, kind):
    suffix, write = METHODS[method]
    if method == "write_report":
        monkeypatch.undo()
        monkeypatch.chdir(here)
    path = here / f"target{suffix}"
    KINDS[kind](path)
    before = seen(here)
    with pytest.raises((ValueError, OSError), match=re.escape(path.name)):
        write(str(path))
    assert seen(here) == before


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_leaves_it_and_says_so_first(here, no_work, capsys, option, kind):
    suffix, arguments = OPTIONS[option]
    path = here / f"target{suffix}"
    KINDS[kind](path)
    before = seen(here)
    assert main([*arguments, path.name]) == 2
    err, name = capsys.readouterr().err, option.split()[1]
    assert re.fullmatch(rf"fastmlp: error: {name}: .*{re.escape(path.name)}.*\n", err)
    assert seen(here) == before


@pytest.mark.parametrize("method", METHODS)
def test_a_file_and_a_link_to_one_are_replaced(here, method):
    suffix, write = METHODS[method]
    path, link = here / f"target{suffix}", here / f"link{suffix}"
    for there in (False, True):
        path.unlink(missing_ok=True)
        if there:
            path.write_bytes(b"")
        link.unlink(missing_ok=True)
        link.symlink_to(path.name)
        write(str(link))
        assert link.is_symlink()
        assert path.stat().st_size > 0


def test_the_tables_know_all_that_writes():
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if re.search(r"with replacing\(|open\([^)]*\"a\"", path.read_text("utf-8"))
    } - {"support/atomic.py"}
    assert found == WRITERS


def test_the_table_knows_every_option_that_writes():
    (commands,) = (a.choices for a in build_parser()._actions if a.dest == "command")
    found = {
        f"{command} {max(action.option_strings, key=len)}"
        for command, parser in commands.items()
        for action in parser._actions
        if action.metavar == "FILE"
    }
    assert found == {name for name in OPTIONS if " of " not in name}


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_an_open_stream_is_written_to(here, name):
    if not os.path.exists(name):
        pytest.skip("this system has no such name")
    program = (
        "import sys, fastmlp; print('before'); "
        f"fastmlp.MLP((4, 3, 4), rng=0, backend='numpy').save('{name}')"
    )
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, env=environment
    )
    assert done.stdout.startswith(b"before\n")
    with np.load(io.BytesIO(done.stdout.removeprefix(b"before\n"))) as arrays:
        assert np.array_equal(arrays["weights_0"], network().weights[0])
    Path("out").write_bytes(b"")
    with open("out", "ab") as out:
        number = os.fstat(out.fileno()).st_ino
        subprocess.run([sys.executable, "-c", program], stdout=out, check=True, env=environment)
    assert os.stat("out").st_ino == number  # written to, not replaced
    assert Path("out").read_bytes() == done.stdout


def test_a_stream_takes_figures_and_no_checkpoints(here, capfd):
    assert (
        main([*TRAIN, "--plot", "none", "--out", "none", "--quiet", "--json", "/dev/stdout"]) == 0
    )
    assert '"history"' in capfd.readouterr().out
    assert main([*TRAIN, "--plot", "none", "--out", "none", "--checkpoint", "/dev/stdout"]) == 2
    assert "--checkpoint" in capfd.readouterr().err
    with pytest.raises(OSError, match=r"fd/987"):
        network().save("/dev/fd/987")


def test_a_pipe_that_comes_while_a_file_is_written_is_left(here):
    def write():
        with atomic.replacing("late") as name:
            Path(name).write_bytes(b"new")
            os.mkfifo("late")

    with pytest.raises(ValueError, match="is a pipe"):
        write()
    assert stat.S_ISFIFO(os.lstat("late").st_mode)
    assert sorted(os.listdir()) == ["data.npz", "late", "net.npz", "table.csv"]
