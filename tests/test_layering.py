"""The house: imports run one way, the package loads lightly, modules fit in one sitting."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import fastmlp

PACKAGE = Path(fastmlp.__file__).parent
REPOSITORY = Path(__file__).parents[1]
FILES = {path.relative_to(PACKAGE).as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}

# What a part may import lies below it or beside it. A part that is not named is on top of the
# trainer and below the command line: nothing here may need it.
LAYERS = (
    {
        "activations", "losses", "optimizers", "schedules", "initializers", "validation",
        "architecture", "atomic", "divergence", "operations", "parameters", "history", "extras",
        "interrupts", "metrics", "notices", "regularization", "__version__",
    },
    {"reference", "kernels", "plots", "datasets", "diagnostics", "verification"},
    {"backends"},
    {"network", "persistence", "callbacks", "interchange"},
    {"trainer", "samples", "evaluation"},
    {"distributed"},
    {"cli", "__main__"},
)  # fmt: skip
RANK = {part: rank for rank, parts in enumerate(LAYERS) for part in parts}
ABOVE = 5
# Methods that hand over to what stands above them, imported when they are called.
HANDED_OVER = {("network", "trainer"), ("history", "plots"), ("interchange", "sklearn")}
LLVM = {f"kernels/{name}.py" for name in ("_simd", "_target", "table", "_jit")}


def part(module: str) -> str:
    """Return the part of the package that a dotted name below fastmlp belongs to."""
    return module.split(".")[0]


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def walk(tree: ast.AST, functions: bool):
    """Yield nodes, but not what only a type checker reads; nor, unless asked, functions' bodies."""
    for node in ast.iter_child_nodes(tree):
        if is_type_checking(node):
            continue
        if not functions and isinstance(node, ast.FunctionDef | ast.Lambda):
            continue
        yield node
        yield from walk(node, functions)


def imports_of(name: str, source: str, *, functions: bool = True) -> set[str]:
    """Return what a file imports: dotted names; with a dot in front, modules of the package."""
    package = ("fastmlp/" + name).split("/")[:-1]
    found = set()
    for node in walk(ast.parse(source), functions):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            base += (node.module or "").split(".") if node.module else []
            found |= {".".join([*base, alias.name]) for alias in node.names}
    return {re.sub(r"^fastmlp\.", ".", item) for item in found}


def own(names: set[str]) -> set[str]:
    """Return the parts of the package among imported names."""
    return {part(name[1:]) for name in names if name.startswith(".")}


def libraries(names: set[str]) -> set[str]:
    return {part(name) for name in names if not name.startswith(".")}


ALL = {name: imports_of(name, path.read_text("utf-8")) for name, path in FILES.items()}


def upward(name: str, imports: set[str]) -> set[tuple[str, str]]:
    """Return the (part, part) of imports that do not run down."""
    here = part(name.removesuffix(".py").replace("/", "."))
    rank = RANK.get(here, ABOVE)
    return {
        (here, other)
        for other in own(imports)
        if RANK.get(other, ABOVE) > rank or {here, other} == {"reference", "kernels"}
    }


def test_the_reader_of_imports_sees_them():
    source = (
        "import numba.core\nfrom . import training\nfrom ..reference.dense import dense\n"
        "from fastmlp import cli\nif TYPE_CHECKING:\n    import torch\n"
        "def f():\n    from ..trainer import fit\n"
    )
    found = imports_of("kernels/new.py", source)
    assert found == {
        "numba.core", ".kernels.training", ".reference.dense.dense", ".cli", ".trainer.fit"
    }  # fmt: skip
    assert upward("kernels/new.py", found) == {
        ("kernels", "reference"), ("kernels", "cli"), ("kernels", "trainer")
    }  # fmt: skip
    assert ".trainer.fit" not in imports_of("kernels/new.py", source, functions=False)
    assert upward("network.py", {".recipes.base"}) == {("network", "recipes")}
    assert upward("sklearn.py", {".cli"}) == {("sklearn", "cli")}
    assert not upward("recipes/base.py", {".trainer", ".recipes.other"})


def test_imports_run_one_way():
    found = set()
    for name, imports in ALL.items():
        if name != "__init__.py":  # loads names on first use
            found |= upward(name, imports)
    assert found == HANDED_OVER


def test_nothing_is_imported_in_a_circle():
    graph = {}
    for name, path in FILES.items():
        if name == "__init__.py":
            continue
        here = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        needed = imports_of(name, path.read_text("utf-8"), functions=False)
        graph[here] = {
            module
            for item in needed
            if item.startswith(".")
            for module in (item[1:], item[1:].rpartition(".")[0])
            if f"{module.replace('.', '/')}.py" in FILES and module != here
        }
    assert "operations" in graph["reference.dense"]
    list(TopologicalSorter(graph).static_order())  # raises where there is a circle


def test_the_reference_is_independent():
    for name, imports in ALL.items():
        if name.startswith("reference/"):
            assert libraries(imports) <= {"__future__", "collections", "typing", "numpy"}, name
            assert "kernels" not in own(imports), name
        elif name.startswith("kernels/"):
            assert not {"reference", "backends"} & own(imports), name


def test_who_knows_the_compilers():
    assert {name for name, imports in ALL.items() if "llvmlite" in libraries(imports)} <= LLVM
    for name, imports in ALL.items():
        knows = "numba" in libraries(imports)
        rank = RANK.get(part(name.removesuffix(".py").replace("/", ".")), ABOVE)
        assert not knows or name.startswith("kernels/") or rank >= ABOVE, name
    assert "numba" in libraries(ALL["kernels/_jit.py"])


# what is loaded when


def run(program: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True, text=True, env=environment, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


HEAVY = (
    "numba", "llvmlite", "matplotlib", "sklearn", "scipy", "pandas", "tqdm", "networkx", "onnx",
    "safetensors", "torch", "dask", "distributed", "pyarrow",
)  # fmt: skip
USE = """
import numpy as np, fastmlp
X, y = np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % 2
net = fastmlp.MLP((3, 4, 2), rng=1, backend="numpy")
net.fit(X, y, epochs=3, batch_size=8, optimizer=fastmlp.Adam(), schedule=fastmlp.OneCycle(),
        validation_split=0.2, progress=False)
net.loss_and_gradients(X, y), net.forward(X), net.predict(X), net.evaluate(X, y)
fastmlp.reference.softmax(np.zeros((1, 2)))
import copy, os, tempfile
with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "net.npz")
    net.save(path)
    copy.deepcopy(fastmlp.MLP.load(path, backend="numpy")).fit(X, y, epochs=1)
"""


def test_importing_the_package_is_light():
    shown = run(
        "import sys; before = set(sys.modules); import fastmlp; fastmlp.MLP; fastmlp.Adam; "
        f"print([m for m in {HEAVY} if m in set(sys.modules) - before])"
    )
    assert shown.strip() == "[]"
    bare = run("import sys, fastmlp; print('numpy' in sys.modules, fastmlp.__version__)")
    assert bare.split() == ["False", fastmlp.__version__]


def test_the_numpy_backend_loads_nothing_compiled():
    shown = run(USE + f"import sys; print([m for m in {HEAVY} if m in sys.modules])")
    assert shown.strip() == "[]"


def test_the_numpy_backend_works_without_numba():
    blocked = "import sys\nfor m in ('numba', 'llvmlite', 'scipy'): sys.modules[m] = None\n"
    assert run(blocked + USE + "print('done')").strip() == "done"


def test_the_cluster_s_libraries_load_on_first_use():
    program = "import fastmlp.distributed as d; d.fit, d.fit_lbfgs, d.DistributedError; "
    program += "import sys; print('dask' in sys.modules, 'scipy' in sys.modules)"
    assert run(program).split() == ["False", "False"]


def test_every_public_name_can_be_loaded():
    assert len(set(fastmlp.__all__)) == len(fastmlp.__all__)
    missing = [name for name in fastmlp.__all__ if not hasattr(fastmlp, name)]
    assert missing == []
    assert set(fastmlp.__all__) <= set(dir(fastmlp))
    with pytest.raises(AttributeError, match="nothing"):
        fastmlp.nothing  # noqa: B018


# one sitting, no loose ends


@pytest.mark.parametrize("name", FILES)
def test_a_module_has_at_most_450_lines(name):
    lines = FILES[name].read_text("utf-8").count("\n")
    assert lines <= 450


def undocumented(tree: ast.AST, prefix: str = ""):
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        setter = any(isinstance(d, ast.Attribute) for d in node.decorator_list)
        overload = any("overload" in ast.dump(d) for d in node.decorator_list)
        if node.name.startswith("_") or setter or overload:
            continue
        if not ast.get_docstring(node):
            yield prefix + node.name
        if isinstance(node, ast.ClassDef):
            yield from undocumented(node, f"{node.name}.")


def test_everything_public_has_a_docstring():
    tree = ast.parse("def a(): pass\nclass B:\n    def c(self): ''\n    def _d(self): pass")
    assert list(undocumented(tree)) == ["a", "B", "B.c"]
    found = []
    for name, path in FILES.items():
        tree = ast.parse(path.read_text("utf-8"))
        if not ast.get_docstring(tree):
            found.append(name)
        found += [f"{name}: {what}" for what in undocumented(tree)]
    assert found == []


MACHINE = re.compile(r"(?<![\w.\-/:~}])/(?:wor" + r"k|roo" + r"t|home|Users|tm" + r"p/\w*env)\b")
SKIPPED = {"__pycache__", ".git", ".asv", "build", "dist", ".venv", "venv", "env", ".mypy_cache",
           ".ruff_cache", ".hypothesis", "node_modules", ".pytest_cache"}  # fmt: skip


def test_no_text_names_a_place_on_one_machine():
    assert MACHINE.search("see /wor" + "k/shared")
    assert not MACHINE.search("a/work, ./root/x, https://home/page")
    found = []
    for folder, below, names in os.walk(REPOSITORY):
        below[:] = [name for name in below if name not in SKIPPED and ".egg-info" not in name]
        for name in set(names) - SKIPPED:  # a file .git is that of a linked work tree
            path = Path(folder, name)
            if path.stat().st_size > 2_000_000:
                continue
            try:
                text = path.read_text("utf-8")
            except UnicodeDecodeError:
                continue
            found += [f"{path}: {line}" for line in text.splitlines() if MACHINE.search(line)]
    assert found == []
