"""What ends a command: Ctrl-C, SIGTERM, SIGHUP, a pipe that closes; exit codes and files."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import fastmlp
from fastmlp.cli import main
from fastmlp.cli.signals import Signals
from fastmlp.support.wording import counted

PACKAGE = Path(fastmlp.__file__).parent
HEARD = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
PROGRAM = HEARD + "import sys; from fastmlp.cli import main; sys.exit(main())"
ENDLESS = ("train", "data.npz", "--epochs", "1000000", "--plot", "none", "--backend", "numpy")

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(PACKAGE.parent))
    X = np.random.default_rng(0).random((700, 6))
    y = (X[:, 0] > 0.5).astype(int)
    np.savez("data.npz", x_train=X, y_train=y, x_test=X, y_test=y)


def start(*arguments: str, program: str = PROGRAM, before=(), **options) -> subprocess.Popen:
    return subprocess.Popen(
        [*before, sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, **options,
    )  # fmt: skip


def an_epoch_is_over(process: subprocess.Popen, file: str = "net.npz") -> None:
    while not Path(file).exists():
        assert process.poll() is None
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("number", "times"),
    [(signal.SIGINT, 1), (signal.SIGINT, 2), (signal.SIGINT, 10), (signal.SIGTERM, 1),
     (signal.SIGTERM, 3), (signal.SIGHUP, 1)],
)  # fmt: skip
def test_a_signal_ends_it_with_its_code_and_the_model(here, number, times):
    chance = random.Random(times)
    with start(*ENDLESS, "--out", "out.npz", "--checkpoint", "net.npz") as process:
        an_epoch_is_over(process)
        for _ in range(times):
            process.send_signal(number)
            time.sleep(chance.uniform(0, 0.01))
        _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert "interrupted after" in err
    assert "saved to out.npz" in err
    assert len(fastmlp.MLP.load("out.npz", backend="numpy").history) > 0


def test_what_has_learnt_nothing_replaces_nothing(here, capsys, monkeypatch):
    Path("out.npz").write_bytes(b"of yesterday")

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(fastmlp.MLP, "fit", interrupt)
    assert main([*ENDLESS, "--out", "out.npz"]) == 130
    assert capsys.readouterr().err == "fastmlp: interrupted after 0 whole epochs, not saved\n"
    assert Path("out.npz").read_bytes() == b"of yesterday"


def test_three_signals_end_what_hears_none(here):
    """As in a step of compiled code that takes long, in which Python runs no handler."""
    program = (
        HEARD + "import ctypes, sys\nfrom fastmlp.cli.signals import Signals\n"
        "with Signals(last=True):\n"
        "    try:\n        print('ready', flush=True)\n        ctypes.CDLL(None).pause()\n"
        "    except KeyboardInterrupt: pass\n"
        "    while True: ctypes.CDLL(None).pause(); sys.stdin.read()\n"
    )
    with start(program=program, stdin=subprocess.PIPE) as process:
        assert process.stdout.readline() == "ready\n"
        for _ in range(3):
            assert process.poll() is None
            process.send_signal(signal.SIGTERM)
            time.sleep(0.1)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 143
    assert err == "fastmlp: ended at the third signal\n"


@pytest.mark.parametrize(
    ("command", "number"),
    [
        pytest.param(["nohup"], signal.SIGHUP, id="nohup"),
        pytest.param(["sh", "-c", '"$@" & wait $!', "sh"], signal.SIGINT, id="background job"),
    ],
)
def test_what_is_ignored_stays_so(here, command, number):
    run = "import os; open('pid', 'w').write(str(os.getpid())); " + PROGRAM.removeprefix(HEARD)
    with start(
        *ENDLESS, "--out", "out.npz", "--checkpoint", "net.npz", program=run, before=command
    ) as process:
        an_epoch_is_over(process)
        training = int(Path("pid").read_text())
        os.kill(training, number)
        Path("net.npz").unlink()
        an_epoch_is_over(process)  # it trains on
        os.kill(training, signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 143
    assert Path("out.npz").exists()


@pytest.mark.skipif(shutil.which("timeout") is None, reason="no timeout")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=["TERM", "HUP"])
def test_a_signal_that_timeout_hands_on(here, number):
    """As schedulers and containers run it: a process before it gets the signal."""
    given = *ENDLESS, "--out", "out.npz", "--checkpoint", "net.npz"
    with start(*given, before=["timeout", "600"]) as process:
        an_epoch_is_over(process)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert "saved to out.npz" in err


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("timeout") is None, reason="no timeout")
@pytest.mark.parametrize("seconds", ["0.05", "0.4", "1", "3"])
@pytest.mark.parametrize("name", ["TERM", "HUP", "INT"])
def test_a_time_limit_ends_it_whatever_it_does_just_then(here, name, seconds):
    """Python begins, NumPy is loaded, data are read, it compiles or trains."""
    limit = ["timeout", "-s", name, "--preserve-status", seconds]
    given = "train", "data.npz", "--epochs", "1000000", "--plot", "none", "--out", "out.npz"
    environment = os.environ | {"FASTMLP_CACHE_DIR": os.path.abspath("cache")}
    with start(*given, before=limit, env=environment) as process:
        _, err = process.communicate(timeout=120)
    number = getattr(signal, f"SIG{name}")
    begun = "Fatal Python error" not in err  # as Ctrl-C makes of Python's own beginning
    assert process.returncode in (128 + number, -number) or not begun
    assert Path("out.npz").exists() == ("saved to out.npz" in err)
    if Path("out.npz").exists():  # also after steps of the first epoch
        net = fastmlp.MLP.load("out.npz")
        assert f"interrupted after {counted(len(net.history), 'whole epoch')}," in err
        assert net._state.step > 0
    assert {*os.listdir()} <= {"data.npz", "out.npz", "cache"}


@pytest.mark.parametrize(
    "times", [1, pytest.param(2, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)]
)
def test_a_signal_while_it_compiles(here, times):
    environment = os.environ | {"FASTMLP_CACHE_DIR": os.path.abspath("cache")}
    given = "train", "data.npz", "--epochs", "1", "--plot", "none", "--out", "out.npz"
    with start(*given, env=environment) as process:
        told = process.stderr.readline()
        assert "compil" in told, told + process.stderr.read()
        for _ in range(times):
            process.send_signal(signal.SIGTERM)
            time.sleep(0.05)
        _, err = process.communicate(timeout=120)
    assert process.returncode == 143
    assert "interrupted" in err or times == 3, err
    assert not Path("out.npz").exists()
    if times > 1:  # what is left in the cache serves, or is made anew
        with start(*given, env=environment) as process:
            assert process.wait(timeout=120) == 0
        assert len(fastmlp.MLP.load("out.npz").history) == 1


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
@pytest.mark.parametrize("figures", ["run.json", "/dev/stdout"])
def test_head_takes_a_line_and_goes(here, figures):
    script = '"$@" | head -1; exit "${PIPESTATUS[0]}"'
    given = "train", "data.npz", "--epochs", "3", "--backend", "numpy", "--plot", "none"
    with start(
        *given, "--out", "out.npz", "--json", figures, before=["bash", "-c", script, "bash"]
    ) as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert out.startswith("6-")
    assert out.count("\n") == 1
    assert Path("out.npz").exists()


def test_a_reader_that_goes_leaves_training_alone(here):
    with start("train", "data.npz", "--epochs", "2", "--backend", "numpy", "--plot", "none",
               "--out", "out.npz", "--json", "run.json") as process:  # fmt: skip
        process.stdout.close()
        assert process.wait(timeout=60) == 0
        assert process.stderr.read() == ""
    assert Path("out.npz").exists()
    assert Path("run.json").exists()


@pytest.mark.usefixtures("ctrl_c_is_heard")
def test_handlers_are_given_back_and_others_kept():
    mine = lambda *_: None  # noqa: E731
    before = signal.signal(signal.SIGTERM, mine)
    try:
        assert main(["--version"]) == 0
        with Signals(last=False):
            assert signal.getsignal(signal.SIGTERM) is mine
            assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert signal.set_wakeup_fd(-1) == -1
    finally:
        signal.signal(signal.SIGTERM, before)
