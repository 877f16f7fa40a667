"""The house: imports run one way, the package loads lightly, modules fit in one sitting."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import fastmlp

PACKAGE = Path(fastmlp.__file__).parent
REPOSITORY = Path(__file__).parents[2]
FILES = {path.relative_to(PACKAGE).as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}

# What a part may import lies below it or beside it. A part that is not named is on top of the
# trainer and below the command line: nothing here may need it.
LAYERS = (
    {
        "support", "contract", "activations", "architecture", "losses", "optimizers",
        "schedules", "initializers", "metrics", "regularization", "training.divergence",
        "training.history", "__version__",
    },
    {"reference", "kernels", "plots", "datasets", "diagnostics"},
    {"backends"},
    {"network", "persistence", "callbacks", "interchange"},
    {"training"},
    {"training.many", "distributed", "support.environment"},
    {"cli", "__main__"},
)  # fmt: skip
RANK = {part: rank for rank, parts in enumerate(LAYERS) for part in parts}
ABOVE = 5
# Methods that hand over to what stands above them, imported when they are called.
HANDED_OVER = {
    ("network", "training"), ("network", "report"), ("interchange", "sklearn"),
    ("interchange", "tables"),
    ("training.history", "plots"), ("training.history", "report"),
}  # fmt: skip
CORE_LIBRARIES = {"numpy", "numba", "llvmlite", "tqdm"}
# Of the kernels: emitting LLVM code; compiling it; writing programs; running them. Modules beside
# these folders, the public operations, stand above.
FLOORS = ("emit", "jit", "program", "run")
LLVM = {
    f"kernels/{n}.py"
    for n in (
        "emit/flow",
        "emit/target",
        "jit/cache",
        "jit/compiler",
        "jit/registry",
        "jit/threading_layer",
    )
}
# Signatures that the contract or scikit-learn fix.
MOST_PARAMETERS = 8
PUBLIC_SIGNATURES = {
    "network.py: MLP.__init__", "network.py: MLP.fit", "training/many.py: fit_many",
    "distributed/_fit.py: fit", "distributed/_lbfgs.py: fit_lbfgs",
    "interchange/tensor_file.py: from_safetensors", "interchange/torch_model.py: from_torch",
    "interchange/keras_model.py: from_keras", "reference/epoch.py: train_epoch",
    "contract/signatures.py: train_epoch", "kernels/network_operations.py: train_epoch",
    "contract/operations.py: check_train_epoch",  # the same arguments, from both backends
    "sklearn/_classifier.py: MLPClassifier.__init__",
    "sklearn/_regressor.py: MLPRegressor.__init__",
}  # fmt: skip


def part(module: str) -> str:
    """Return the part of the package that a dotted name below fastmlp belongs to."""
    names = module.split(".")
    within = ".".join(names[:2])
    return within if within in RANK else names[0]


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def walk(tree: ast.AST, functions: bool, types: bool = False):
    """Yield nodes; what only a type checker reads, and functions' bodies, where asked for."""
    for node in ast.iter_child_nodes(tree):
        if not types and is_type_checking(node):
            yield from walk(ast.Module(node.orelse, []), functions, types)
            continue
        if not functions and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        yield node
        yield from walk(node, functions, types)


def imports_of(name: str, source: str, *, functions: bool = True, types: bool = False) -> set[str]:
    """Return what a file imports: dotted names; with a dot in front, modules of the package."""
    package = ("fastmlp/" + name).split("/")[:-1]
    found = set()
    for node in walk(ast.parse(source), functions, types):
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
        "from fastmlp import cli\nif TYPE_CHECKING:\n    import torch\nelse:\n    import numpy\n"
        "def f():\n    from ..training.trainer import fit\n"
    )
    found = imports_of("kernels/new.py", source)
    assert found == {
        "numba.core", ".kernels.training", ".reference.dense.dense", ".cli",
        ".training.trainer.fit", "numpy",
    }  # fmt: skip
    assert upward("kernels/new.py", found) == {
        ("kernels", "reference"), ("kernels", "cli"), ("kernels", "training")
    }  # fmt: skip
    assert ".training.trainer.fit" not in imports_of("kernels/new.py", source, functions=False)
    assert upward("network.py", {".recipes.base"}) == {("network", "recipes")}
    assert upward("network.py", {".training.history"}) == set()
    assert upward("sklearn.py", {".cli"}) == {("sklearn", "cli")}
    assert not upward("recipes/base.py", {".training.trainer", ".recipes.other"})


def test_imports_run_one_way():
    found = set()
    for name, imports in ALL.items():
        if name != "__init__.py":  # loads names on first use
            found |= upward(name, imports)
    assert found == HANDED_OVER


def floor(module: str) -> int:
    """Return the floor of the kernels that a dotted name below fastmlp belongs to."""
    name = module.split(".")[1] if "." in module else ""
    return FLOORS.index(name) if name in FLOORS else len(FLOORS)


def above(name: str, imports: set[str]) -> set[str]:
    """Return what a file of the kernels imports from floors above its own."""
    own_floor = floor(name.removesuffix(".py").replace("/", "."))
    return {
        item for item in imports if item.startswith(".kernels.") and floor(item[1:]) > own_floor
    }


def test_every_floor_of_the_kernels_knows_those_below_it():
    new = "from ..jit import cache\nfrom ..emit import gemm\nfrom .. import layer_operations\n"
    imports = imports_of("kernels/jit/new.py", new)
    assert above("kernels/jit/new.py", imports) == {".kernels.layer_operations"}
    assert len(above("kernels/emit/new.py", imports)) == 2
    assert not above("kernels/new.py", imports)
    kernels = {name for name in ALL if name.startswith("kernels/")}
    assert {floor(name.replace("/", ".")) for name in kernels} == {0, 1, 2, 3, 4}
    assert {name: found for name in kernels if (found := above(name, ALL[name]))} == {}


def module_of(item: str, modules: set[str]) -> str:
    """Return which module an imported dotted name is, or is taken from."""
    name = item.lstrip(".")
    while name not in modules and name:
        name = name.rpartition(".")[0]
    return name


def packages_of(module: str) -> set[str]:
    names = module.split(".")
    return {".".join(names[:i]) for i in range(1, len(names))}


def import_graph(sources: dict[str, str]) -> dict[str, set[str]]:
    """Return what every module needs to be loaded, or to be type-checked.

    Also the packages around what it imports, unless it is within them. Imports within functions
    come later and do not count. The package's own ``__init__`` is left out: for type checkers it
    names everything, and when it is loaded nothing.
    """
    names = {file: file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
             for file in sources if file != "__init__.py"}  # fmt: skip
    modules, graph = set(names.values()), {}
    for file, module in names.items():
        needed = set()
        for item in imports_of(file, sources[file], functions=False, types=True):
            if item.startswith(".") and (found := module_of(item, modules)):
                needed |= {found} | (packages_of(found) - packages_of(module) - {module})
        graph[module] = needed - {module}
    return graph


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Return modules that import one another in a circle, if there are any."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


SOURCES = {name: path.read_text("utf-8") for name, path in FILES.items()}


@pytest.mark.parametrize(
    "planted",
    [
        {"activations.py": "from .network import MLP"},
        {"activations.py": "if TYPE_CHECKING:\n    from .training.trainer import fit"},
        {"activations.py": "from . import network"},
        {"optimizers.py": "class A:\n    from fastmlp.training.samples import hold_out"},
        {"metrics.py": "try:\n    import fastmlp.training.options\nexcept ImportError: pass"},
        {"losses.py": "from .plots._axes import a", "plots/__init__.py": "from .. import losses"},
        {"plots/_axes.py": "from . import plot_images"},
    ],
    ids=str,
)  # fmt: skip
def test_a_planted_circle_is_seen(planted):
    sources = SOURCES | {name: f"{SOURCES[name]}\n{text}\n" for name, text in planted.items()}
    found = circle(import_graph(sources))
    assert len(found) > 2
    assert next(iter(planted)).removesuffix(".py").replace("/", ".") in found


def test_nothing_is_imported_in_a_circle():
    graph = import_graph(SOURCES)
    assert {"contract.operations", "support.validation"} <= graph["reference.backprop"]
    assert {"callbacks", "callbacks.early_stopping", "network"} <= graph["training.options"]
    assert "training.trainer" not in graph["network"]
    assert circle(graph) == []


def test_the_package_itself_loads_nothing_and_gives_only_its_version():
    assert own(imports_of("__init__.py", SOURCES["__init__.py"], functions=False)) == set()
    top = {name.removesuffix(".py").split("/")[0] for name in FILES}
    taken = {item[1:] for imports in ALL.values() for item in imports if item.rfind(".") == 0}
    assert taken - top == {"__version__"}


def test_the_reference_is_independent():
    for name, imports in ALL.items():
        if name.startswith("reference/"):
            assert libraries(imports) <= {"__future__", "collections", "typing", "numpy"}, name
            assert "kernels" not in own(imports), name
        elif name.startswith("kernels/"):
            assert not {"reference", "backends"} & own(imports), name


def test_the_core_knows_no_other_library_even_for_types():
    source = "if TYPE_CHECKING:\n    from .interchange import graph\n    import onnx\n"
    assert imports_of("network.py", source, types=True) == {".interchange.graph", "onnx"}
    for name, path in FILES.items():
        rank = RANK.get(part(name.removesuffix(".py").replace("/", ".")), ABOVE)
        if rank < ABOVE and not name.startswith(("interchange/", "plots/", "callbacks/")):
            found = imports_of(name, path.read_text("utf-8"), types=True)
            assert libraries(found) <= CORE_LIBRARIES | set(sys.stdlib_module_names), name
            assert "interchange" not in own(found), name


def test_who_knows_the_compilers():
    assert {name for name, imports in ALL.items() if "llvmlite" in libraries(imports)} <= LLVM
    for name, imports in ALL.items():
        knows = "numba" in libraries(imports)
        rank = RANK.get(part(name.removesuffix(".py").replace("/", ".")), ABOVE)
        assert not knows or name.startswith("kernels/") or rank >= ABOVE, name
    assert "numba" in libraries(ALL["kernels/jit/threading_layer.py"])


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


def test_what_the_guide_names_is_there_after_import():
    named = set(re.findall(r"`(fastmlp(?:\.\w+)+)`", f"{fastmlp.__doc__}{fastmlp.MLP.__doc__}"))
    assert {"fastmlp.sklearn", "fastmlp.activations.ACTIVATIONS"} <= named
    assert run(f"import fastmlp; print(len([{', '.join(named)}]))").strip() == str(len(named))


# one sitting, no loose ends


@pytest.mark.parametrize("name", FILES)
def test_a_module_has_at_most_450_lines(name):
    lines = FILES[name].read_text("utf-8").count("\n")
    assert lines <= 450


def functions(tree: ast.AST, prefix: str = ""):
    """Yield every function, nested ones too, and its number of parameters beside self and cls."""
    for node in ast.iter_child_nodes(tree):
        name = prefix
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            name += getattr(node, "name", "lambda")
            a = node.args
            found = [*a.posonlyargs, *a.args, *a.kwonlyargs, a.vararg, a.kwarg]
            yield name, len([x for x in found if x is not None and x.arg not in ("self", "cls")])
            name += "."
        elif isinstance(node, ast.ClassDef):
            name += f"{node.name}."
        yield from functions(node, name)


def test_no_function_takes_more_than_eight_parameters():
    source = "class A:\n    def b(self, /, c, *d, e, **f):\n        return lambda g: g"
    assert dict(functions(ast.parse(source))) == {"A.b": 4, "A.b.lambda": 1}
    found = {
        f"{name}: {function}"
        for name in FILES
        for function, count in functions(ast.parse(SOURCES[name]))
        if count > MOST_PARAMETERS
    }
    assert found == PUBLIC_SIGNATURES


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
