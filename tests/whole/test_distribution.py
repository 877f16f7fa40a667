"""What is published: an sdist with all that is tracked, a wheel that works without the checkout."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import fastmlp

REPOSITORY = Path(__file__).parents[2]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
SOURCES = ("fastmlp", "tests", "benchmarks", ".ci", ".github", ".gitignore", "README.md", "LICENSE",
           "pyproject.toml", "asv.conf.json")  # fmt: skip
MADE = ("fastmlp.egg-info", "PKG-INFO", "setup.cfg")  # by building
JUNK = ("__pycache__/a.pyc", ".asv/results/a.json", "build/a.py", "dist/a.whl",
        ".hypothesis/a", "fastmlp/__pycache__/a.pyc", "tests/__pycache__/a.pyc")  # fmt: skip


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """Build a copy of the checkout, with junk in it, and return the folder of sdist and wheel."""
    if shutil.which("git") is None:
        pytest.skip("no git, which says what belongs into the sdist")
    folder = tmp_path_factory.mktemp("built")
    copy, out = folder / "checkout", folder / "dist"
    copy.mkdir(parents=True)
    for name in SOURCES:
        if (REPOSITORY / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(REPOSITORY / name, copy / name, ignore=ignored)
        else:
            shutil.copy(REPOSITORY / name, copy)
    for name in JUNK:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_text("")
    run("git", "init", "-q", cwd=copy)
    run("git", "add", "-A", cwd=copy)
    run(
        "git",
        "-c",
        "user.name=a",
        "-c",
        "user.email=a",
        "-c",
        "commit.gpgsign=false",
        "commit",
        "-qm",
        "all",
        cwd=copy,
    )
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, copy, cwd=folder)
    return out


def names(path: Path) -> set[str]:
    """Return the files of an archive; of an sdist, below its one folder."""
    if path.suffix == ".whl":
        return set(zipfile.ZipFile(path).namelist())
    with tarfile.open(path) as archive:
        return {m.name.partition("/")[2] for m in archive if m.isfile()}


def only(folder: Path, pattern: str) -> Path:
    (found,) = folder.glob(pattern)
    return found


def source_files() -> set[str]:
    """Return the package's files as they are here."""
    folder = REPOSITORY / "fastmlp"
    return {
        path.relative_to(REPOSITORY).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_sdist_has_all_that_is_needed_and_no_junk(built):
    found = names(only(built, "*.tar.gz"))
    for needed in (
        "README.md", "LICENSE", "pyproject.toml", "asv.conf.json", ".ci/run", "tests/README.md",
        "benchmarks/README.md", ".github/CONTRIBUTING.md", ".github/CHANGES.md",
        "benchmarks/speed.png", ".github/workflows/tests.yml", "benchmarks/bench_kernels.py",
        "tests/sklearn/test_own_tests.py", "fastmlp/datasets/data/mnist.xz",
    ):  # fmt: skip
        assert needed in found
    assert source_files() <= found
    tests = {path.relative_to(REPOSITORY).as_posix() for path in REPOSITORY.glob("tests/**/*.py")}
    assert tests <= found
    assert not {*JUNK} & found
    assert {name.split("/")[0] for name in found} == {*SOURCES, *MADE}


def test_the_wheel_is_the_package_and_nothing_else(built):
    path = only(built, "*.whl")
    assert path.name == f"fastmlp-{fastmlp.__version__}-py3-none-any.whl"
    found = {name for name in names(path) if not name.startswith("fastmlp-")}
    assert found == source_files()
    assert path.stat().st_size < 10e6  # MNIST is 9.1 MB of it, packed already
    metadata = zipfile.ZipFile(path).read(f"fastmlp-{fastmlp.__version__}.dist-info/METADATA")
    assert f"Version: {fastmlp.__version__}\n".encode() in metadata
    assert b"License-Expression: BSD-3-Clause\n" in metadata


USE = """
import sys
import fastmlp
from fastmlp.datasets import load_mnist

assert fastmlp.__file__.startswith(sys.argv[1]), fastmlp.__file__
data = load_mnist("uint8")
net = fastmlp.MLP((784, 32, 10), input_scale=255.0, rng=0, backend="numpy")
net.fit(data.x_train[:2000], data.y_train[:2000], epochs=1, optimizer="adam", progress=False)
net.save(sys.argv[2])
"""


@pytest.mark.slow
def test_the_wheel_works_without_the_checkout(built, tmp_path):
    site, source = tmp_path / "site", tmp_path / "source"
    run(sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--no-compile",
        "--target", site, only(built, "*.whl"), cwd=tmp_path)  # fmt: skip
    with tarfile.open(only(built, "*.tar.gz")) as archive:
        archive.extractall(source, filter="data")
    unpacked = only(source, "*")
    shutil.rmtree(unpacked / "fastmlp")
    here = {"PYTHONPATH": str(site), "cwd": tmp_path}
    run(sys.executable, "-c", USE, site, tmp_path / "net.npz", **here)
    shown = run(sys.executable, "-m", "fastmlp", "evaluate", tmp_path / "net.npz", **here)
    assert "accuracy" in shown
    script = only(site / "bin" if (site / "bin").exists() else site / "Scripts", "fastmlp*")
    assert run(script, "--version", **here) == f"fastmlp {fastmlp.__version__}\n"
    shown = run(
        sys.executable, "-P", "-m", "pytest", "-c", unpacked / "pyproject.toml",
        "--rootdir", unpacked, unpacked / "tests" / "reference" / "test_reference.py",
        site / "fastmlp" / "optimizers.py", **here,
    )  # fmt: skip
    assert re.search(r"^\d\d\d passed in ", shown, re.M), shown


# the version


def test_the_version_is_one_and_stands_in_one_place():
    assert re.fullmatch(r"\d+\.\d+\.\d+", fastmlp.__version__)
    shown = run(sys.executable, "-m", "fastmlp", "--version", cwd=REPOSITORY)
    assert shown == f"fastmlp {fastmlp.__version__}\n"
    assert importlib.metadata.version("fastmlp") == fastmlp.__version__
    assert "version" in PROJECT["dynamic"]
    stated = []
    for name in SOURCES:
        root = REPOSITORY / name
        for path in [root, *root.rglob("*")]:
            if path.is_file() and path.suffix not in (".png", ".xz", ".pyc"):
                stated += [
                    f"{path.relative_to(REPOSITORY).as_posix()}: {line.strip()}"
                    for line in path.read_text("utf-8").splitlines()
                    if re.search(rf"(?<![\d.]){re.escape(fastmlp.__version__)}(?![\d.])", line)
                ]
    home = f'fastmlp/__init__.py: __version__ = "{fastmlp.__version__}"'
    changes = f".github/CHANGES.md: **{fastmlp.__version__}** "  # what a release brought
    assert home in stated
    assert [line for line in stated if line != home and not line.startswith(changes)] == []


def test_the_versions_of_python_are_those_that_are_tested():
    least = re.search(r"3\.(\d+)", PROJECT["requires-python"])[1]
    listed = {
        int(found[1])
        for line in PROJECT["classifiers"]
        if (found := re.fullmatch(r"Programming Language :: Python :: 3\.(\d+)", line))
    }
    workflow = (REPOSITORY / ".github" / "workflows" / "tests.yml").read_text("utf-8")
    tested = {int(minor) for minor in re.findall(r'"3\.(\d+)"', workflow)}
    assert listed == tested == set(range(int(least), max(listed) + 1))


def test_the_workflows_take_steps_that_there_are():
    script = (REPOSITORY / ".ci" / "run").read_text("utf-8")
    steps = set(re.findall(r"^step_(\w+)\(\) \{$", script, re.MULTILINE))
    assert set(re.findall(r"^#   (\w+) {2,}", script, re.MULTILINE)) == steps  # as its head says
    for path in (REPOSITORY / ".github" / "workflows").glob("*.yml"):
        for named in re.findall(r"\.ci/run((?: \w+)+)", path.read_text("utf-8")):
            assert set(named.split()) <= steps, path.name
