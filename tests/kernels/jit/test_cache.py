"""Machine code on disk: never stale, never foreign, never in the way.

A copy of what compiles and one tiny function stand for the kernels: every process below compiles,
or loads, that function alone.
"""

from __future__ import annotations

import ast
import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import fastmlp
from fastmlp.kernels.jit import cache

PACKAGE = Path(fastmlp.__file__).parent
SCRIPT = """
import sys
from fastmlp.support import notices
from fastmlp.kernels.jit import cache, compiler
from fastmlp.kernels.tiny import triple
compiled = []
def compile_module(module, honest=compiler.compile_module):
    compiled.append(module)
    return honest(module)
compiler.compile_module = compile_module
with notices.notices(True):
    value = triple(14)
print(value, 1 - len(compiled), cache.cache_folder())
"""
TINY = """
import ctypes
from .emit.flow import Flow
from .emit.records import emit_function, record
from .jit.compiler import machine_code

@record("number")
def multiply(x, q):
    value = x.word(q.number)
    x.set_word(x.times(value, FACTOR), q.number)

def triple(value):
    address = machine_code("tiny", lambda module: emit_function(module, "triple", multiply, Flow))
    number = ctypes.c_int64(value)
    ctypes.CFUNCTYPE(None, ctypes.c_int64)(address("triple"))(ctypes.addressof(number))
    return number.value
"""
PARTS = (
    "activations.py", "kernels/emit/flow.py", "kernels/emit/records.py", "kernels/emit/target.py",
    "kernels/jit/cache.py", "kernels/jit/compiler.py", "kernels/jit/old_caches.py",
    "support/interrupts.py", "support/notices.py",
)  # fmt: skip


@pytest.fixture
def house(tmp_path):
    """Make a package of its own, light enough to be edited: what compiles and one function."""
    package = tmp_path / "house" / "fastmlp"
    for name in PARTS:
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        for folder in (package / name).parent.relative_to(package).parents:
            (package / folder / "__init__.py").touch()
        (package / name).with_name("__init__.py").touch()
        shutil.copy(PACKAGE / name, package / name)
    (package / "kernels" / "tiny.py").write_text(TINY.replace("FACTOR", "3"))
    return tmp_path


def start(house, script=SCRIPT, **environment) -> subprocess.Popen:
    names = ("FASTMLP_CACHE_DIR", "XDG_CACHE_HOME", "NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES")
    settings = {k: v for k, v in os.environ.items() if k not in names}
    settings |= {
        "PYTHONPATH": str(house / "house"), "PYTHONDONTWRITEBYTECODE": "1",
        "FASTMLP_CACHE_DIR": str(house / "cache"), **environment,
    }  # fmt: skip
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", script], env=settings, cwd=house, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def ended(process) -> tuple[int, bool, str]:
    """Return what the function gave, whether it came from the cache, and from which folder."""
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    value, hits, folder = out.split(maxsplit=2)
    assert ("compiling kernels" in err) == (hits == "0")
    return int(value), hits == "1", folder.strip()


def call(house, **environment) -> tuple[int, bool, str]:
    return ended(start(house, **environment))


def test_a_second_process_loads_and_an_edit_anywhere_compiles_anew(house):
    value, cached, folder = call(house)
    assert (value, cached) == (42, False)
    assert call(house) == (42, True, folder)
    kernels = house / "house" / "fastmlp" / "kernels"
    # an edit that leaves size, line and time as they were
    before = (kernels / "tiny.py").stat()
    (kernels / "tiny.py").write_text(TINY.replace("FACTOR", "4"))
    os.utime(kernels / "tiny.py", ns=(before.st_atime_ns, before.st_mtime_ns))
    value, cached, edited = call(house)
    assert (value, cached) == (56, False)
    assert edited != folder
    # a file that the function's own does not even name
    (kernels / "another.py").write_text("")
    value, cached, another = call(house)
    assert (value, cached) == (56, False)
    assert len({folder, edited, another}) == 3
    # and one outside of the folder that kernels take their numbers from
    with (kernels.parent / "activations.py").open("a") as file:
        file.write("# an edit\n")
    value, cached, outside = call(house)
    assert (value, cached) == (56, False)
    assert outside not in (folder, edited, another)


def test_an_edit_under_a_running_process_is_not_kept_as_if_it_had_been_imported(house):
    tiny = house / "house/fastmlp/kernels/tiny.py"
    edit = f"""
import pathlib
tiny = pathlib.Path({str(tiny)!r})
tiny.write_text(tiny.read_text().replace("value, 3", "value, 5"))
"""
    # the module is that of before the edit, a hash that is made now that of the new one
    late = SCRIPT.replace("compiled = []", edit + "compiled = []")
    assert ended(start(house, late)) == (42, False, "None")
    assert call(house)[:2] == (70, False)  # not what the other one has compiled
    # the hash is that of before the edit, the module the new one
    tiny.write_text(TINY.replace("FACTOR", "3"))
    imported = "from fastmlp.kernels.tiny import triple"
    early = SCRIPT.replace(imported, f"cache.cache_folder(){edit}{imported}")
    assert ended(start(house, early))[:2] == (70, False)
    tiny.write_text(TINY.replace("FACTOR", "3"))
    assert call(house)[:2] == (42, False)


def test_what_kernels_take_from_elsewhere_is_code_or_in_the_hash():
    """A constant of another file is compiled in: its file has to count, or there is none."""
    here = {path.resolve() for path in cache._sources()}
    for path in sorted(PACKAGE.glob("kernels/**/*.py")):
        assert path.resolve() in here
        outside = len(path.relative_to(PACKAGE).parts)  # so many dots lead out of kernels
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level == outside and node.module:
                source = PACKAGE / (node.module.replace(".", "/") + ".py")
                module = importlib.import_module(f"fastmlp.{node.module}")
                for name in [alias.name for alias in node.names]:
                    value = module if name == "*" else getattr(module, name)
                    values = [value]
                    if isinstance(value, ModuleType):
                        values = [getattr(value, each) for each in value.__all__]
                    code = all(callable(each) for each in values)
                    assert code or source.resolve() in here, (path.name, name)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_library_without_the_lock_that_a_fork_takes(house):
    site = house / "house" / "sitecustomize.py"
    site.write_text(
        "from llvmlite.binding import ffi\n"
        "class Lib:\n"
        "    def __getattr__(self, name, real=ffi.lib):\n"
        "        if name == '_lock':\n"
        "            raise AttributeError(name)\n"
        "        return getattr(real, name)\n"
        "ffi.lib = Lib()\n"
    )
    forked = (
        "import os\nif (child := os.fork()) == 0:\n"
        "    from fastmlp.kernels.tiny import triple\n"
        "    os._exit(triple(14))\n"
        "assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42\n"
    )
    assert ended(start(house, script=SCRIPT + forked))[:2] == (42, False)


@pytest.mark.slow
def test_another_version_or_processor_compiles_anew(house):
    _, _, folder = call(house)
    _, cached, generic = call(house, NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="")
    assert not cached
    assert generic != folder
    site = house / "house" / "sitecustomize.py"
    for module, name in (("numba", "__version__"), ("llvmlite", "__version__")):
        site.write_text(f"import numba, {module}; {module}.{name} = '9.9.9'")
        value, cached, other = call(house)
        assert (value, cached) == (42, False)
        assert other != folder
    site.write_text(
        "import llvmlite.binding as b; b.get_host_cpu_name = lambda: 'x86-64'\n"
        "b.get_host_cpu_features = lambda: b.FeatureMap()"
    )
    value, cached, _ = call(house)  # the same folder on another machine, over a network
    assert (value, cached) == (42, False)
    site.unlink()
    assert call(house) == (42, True, folder)


@pytest.mark.slow
def test_processes_that_compile_at_once_do_not_break_each_other(house):
    together = [start(house) for _ in range(4)]
    assert [ended(process)[0] for process in together] == [42] * 4
    assert call(house)[:2] == (42, True)


@pytest.mark.slow
def test_a_damaged_file_is_replaced(house):
    _, _, folder = call(house)
    (file,) = Path(folder).glob("*.o")
    good = file.read_bytes()
    for bad in (good[: len(good) // 2], b"", good[:9] + os.urandom(len(good) - 9), good[:32]):
        file.write_bytes(bad)
        assert call(house)[:2] == (42, False)
    assert file.read_bytes() == good
    assert call(house)[:2] == (42, True)
    file.unlink()
    file.mkdir()  # nothing can be written there either
    assert call(house)[:2] == (42, False)
    assert os.listdir(folder) == [file.name]


def test_every_flipped_bit_is_seen(house):
    _, _, folder = call(house)
    (file,) = Path(folder).glob("*.o")
    good = file.read_bytes()
    at = 32  # behind the digest: the machine code itself
    for place in (at + 64, (at + len(good)) // 2):
        file.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        assert call(house)[:2] == (42, False)


def test_code_under_another_name_is_not_taken(house):
    _, _, folder = call(house)
    (file,) = Path(folder).glob("*.o")
    tiny = house / "house" / "fastmlp" / "kernels" / "tiny.py"
    tiny.write_text(TINY.replace("FACTOR", "3").replace('"tiny"', '"other"'))
    _, cached, other = call(house)
    assert not cached
    shutil.copy(file, Path(other) / "other.o")
    assert call(house)[:2] == (42, False)
    assert call(house)[:2] == (42, True)


@pytest.mark.skipif(os.name != "posix", reason="modes are a matter of POSIX")
@pytest.mark.slow
def test_without_a_folder_it_takes_time_and_no_error(house):
    blocked = house / "blocked"
    blocked.write_text("a file is no folder")
    assert call(house, FASTMLP_CACHE_DIR=str(blocked / "cache")) == (42, False, "None")
    _, _, folder = call(house)
    shutil.rmtree(folder)
    assert call(house) == (42, False, folder)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="modes are a matter of POSIX")
def test_a_folder_that_may_only_be_read(house):
    _, _, folder = call(house)
    place = Path(folder)
    place.chmod(0o500)
    try:
        value, _, used = call(house)
    finally:
        place.chmod(0o700)
    assert value == 42
    assert used == (folder if os.geteuid() == 0 else "None")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid(), reason="only root gives away")
@pytest.mark.slow
def test_the_folder_of_another_user_is_left_alone(house):
    _, _, folder = call(house)
    os.chown(folder, 65534, 65534)
    assert call(house) == (42, False, "None")


@pytest.mark.slow
def test_a_full_disk_takes_time_and_no_error(house):
    pytest.importorskip("resource")
    site = house / "house" / "sitecustomize.py"
    site.write_text("import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))")
    value, cached, folder = call(house)
    assert (value, cached) == (42, False)
    site.unlink()
    assert call(house) == (42, False, folder)
    assert call(house) == (42, True, folder)
