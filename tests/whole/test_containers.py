"""Where little is allowed: read-only file systems, few threads, little memory, no /proc."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fastmlp

HOME = Path.home()
CHECKOUT = Path(fastmlp.__file__).parents[1]
FIT = """
import os, sys
import numpy as np
import fastmlp
rng = np.random.default_rng(0)
X = rng.normal(size=(4000, 300)).astype("float32")
y = X[:, :5].argmax(1)
def fit(threads=None):
    net = fastmlp.MLP((300, 200, 5), rng=0, threads=threads)
    return net, net.fit(X, y, epochs=1, batch_size=512, progress=False)
"""
SHOW = """
net, history = fit()
from fastmlp.kernels.jit.cache import cache_folder
print("trained", len(history), cache_folder(), sorted(os.listdir()))
"""
# what a namespace of mounts is given before the program runs in it
HOME = os.path.expanduser("~")
READ_ONLY = "mount --bind {0} {0} && mount -o remount,ro,bind {0}"
MOUNTS = {
    "nothing can be written": ["ro /", "ro /tmp", "ro /var/tmp", f"ro {HOME}"],
    "a folder for temporary files": ["ro /", f"ro {HOME}", "mount -t tmpfs none /var/tmp"],
    "no /proc": ["mount -t tmpfs none /proc"],
    "no /dev/shm": ["mount -t tmpfs -o ro none /dev/shm"],
}


def run(program: str, folder: Path, **environment: str) -> subprocess.CompletedProcess:
    settings = {
        **os.environ, "PYTHONPATH": str(CHECKOUT), "PYTHONDONTWRITEBYTECODE": "1", **environment,
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, "-c", program], env=settings, cwd=folder, text=True, check=False,
        capture_output=True, timeout=120,
    )  # fmt: skip


def mounted(mounts: list[str], program: str, **environment: str) -> subprocess.CompletedProcess:
    """Run a program in mounts of its own; skip where that is not allowed."""
    if shutil.which("unshare") is None:
        pytest.skip("no unshare")
    tried = subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False)
    if tried.returncode:
        pytest.skip("only root mounts")
    lines = ["set -e", "mount --make-rprivate /"]
    for mount in mounts:
        what, place = mount.split(" ", 1)
        lines.append(READ_ONLY.format(place) if what == "ro" else mount)
    script = "\n".join([*lines, "cd /", 'exec "$0" "$@"'])
    settings = {k: v for k, v in os.environ.items() if k not in ("FASTMLP_CACHE_DIR", "TMPDIR")}
    settings |= {"PYTHONPATH": str(CHECKOUT), "PYTHONDONTWRITEBYTECODE": "1", **environment}
    return subprocess.run(
        ["unshare", "-m", "sh", "-c", script, sys.executable, "-c", program], env=settings,
        text=True, check=False, capture_output=True, timeout=120,
    )  # fmt: skip


@pytest.mark.parametrize(
    "kind",
    [kind if kind == "nothing can be written" else pytest.param(kind, marks=pytest.mark.slow)
     for kind in MOUNTS],
)  # fmt: skip
def test_it_trains_where_little_is_there(kind, tmp_path):
    own = {"FASTMLP_CACHE_DIR": str(tmp_path)} if kind.startswith("no ") else {}
    done = mounted(MOUNTS[kind], FIT + SHOW, **own)
    assert done.returncode == 0, done.stderr[-500:]
    assert done.stdout.startswith("trained 1 ")
    if kind == "nothing can be written":
        assert done.stdout.startswith("trained 1 None ")
    elif not own:
        assert done.stdout.startswith(f"trained 1 /var/tmp/fastmlp-{os.getuid()}/")


def test_the_current_folder_gets_no_machine_code(tmp_path):
    """No HOME, no folder for temporary files, another user's cache."""
    program = FIT + SHOW.replace("fit()", "fastmlp.MLP((2, 2), rng=0), [1]")
    environment = {"HOME": "", "XDG_CACHE_HOME": "cache", "TMPDIR": ".", "FASTMLP_CACHE_DIR": ""}
    done = run(program, tmp_path, **environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(" []\n")
    if os.geteuid() == 0:
        theirs = tmp_path / "theirs"
        theirs.mkdir()
        os.chown(theirs, 65534, 65534)
        done = run(program, tmp_path, FASTMLP_CACHE_DIR=str(theirs))
        assert done.stdout.startswith("trained 1 None ")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="root becomes nobody")
def test_no_more_threads_are_no_end(tmp_path):
    """GNU OpenMP, which has a pool for every calling thread, would end the process."""
    program = FIT + (
        "import resource, threading\n"
        "fit()\n"
        "ready, go = threading.Event(), threading.Event()\n"
        "def late():\n"
        "    ready.set(); go.wait()\n"
        "    seen.append(fit()[0])\n"
        "    nets = [fastmlp.MLP((300, 200, 5), rng=0) for _ in range(3)]\n"
        "    fastmlp.fit_many(nets, X, y, epochs=1, batch_size=512, progress=False)\n"
        "    seen.extend(nets)\n"
        "seen, thread = [], threading.Thread(target=late)\n"
        "thread.start(); ready.wait()\n"
        "resource.setrlimit(resource.RLIMIT_NPROC, (1, 1)); os.setuid(65534)\n"
        "go.set(); thread.join()\n"
        "one = fit(1)[0]\n"
        "print([bool((net.weights[0] == one.weights[0]).all()) for net in seen])\n"
    )
    cache = tmp_path / "cache"
    cache.mkdir(mode=0o777)
    done = run(program, tmp_path, FASTMLP_CACHE_DIR=str(cache))
    assert (done.returncode, done.stdout) == (0, "[True, True, True, True]\n"), done.stderr[-500:]


@pytest.mark.parametrize("megabytes", [30, 60, pytest.param(300, marks=pytest.mark.slow)])
def test_little_memory_is_an_error_and_no_end(tmp_path, megabytes):
    if not os.path.exists("/proc/self/statm"):
        pytest.skip("no /proc")
    program = FIT + (
        "import resource\n"
        "import fastmlp.kernels\n"
        "pages = int(open('/proc/self/statm').read().split()[0])\n"
        f"room = pages * resource.getpagesize() + ({megabytes} << 20)\n"
        "resource.setrlimit(resource.RLIMIT_AS, (room, room))\n"
        "try: print(len(fit()[1]))\n"
        "except MemoryError: print('MemoryError')\n"
    )
    done = run(program, tmp_path, FASTMLP_CACHE_DIR=str(tmp_path))
    assert done.returncode == 0, done.stderr[-500:]
    assert done.stdout in (("1\n",) if megabytes == 300 else ("1\n", "MemoryError\n"))


def test_files_of_limited_length_are_an_error_that_names_them(tmp_path):
    program = FIT + (
        "import resource\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "net = fastmlp.MLP((300, 200, 5), rng=0, backend='numpy')\n"
        "try: net.save('net.npz')\n"
        "except OSError as error: print(error.filename, os.listdir())\n"
    )
    done = run(program, tmp_path)
    assert (done.returncode, done.stdout) == (0, "net.npz []\n"), done.stderr[-500:]


@pytest.mark.slow
def test_a_cache_of_limited_length_is_none(tmp_path):
    """No machine code of half its length is left, which another program would load."""
    limited = FIT.replace(
        "def fit",
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\ndef fit",
    )
    cache = tmp_path / "cache"
    done = run(limited + SHOW, tmp_path, FASTMLP_CACHE_DIR=str(cache))
    assert done.stdout.startswith("trained 1 "), done.stderr[-500:]
    assert all(path.stat().st_size <= 1000 for path in cache.rglob("*") if path.is_file())
    done = run(FIT + SHOW, tmp_path, FASTMLP_CACHE_DIR=str(cache))
    assert done.stdout.startswith("trained 1 "), done.stderr[-500:]
    assert any(path.stat().st_size > 1000 for path in cache.rglob("*"))
