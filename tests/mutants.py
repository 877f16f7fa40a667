"""Break the package one operator at a time and see whether the tests notice.

``python tests/mutants.py reference`` goes through a group of modules (``--list`` names them,
``--modules`` takes some of them, ``--function`` one, ``--part 2/5`` a fifth of the mutants):
comparisons, arithmetic, constants and conditions are changed, calls and assignments left out, and
the group's tests run on each change in a process of its own. What no test noticed is printed, to
be judged: a test that is missing, or a mutant that may live. Of the latter a comment on its line,
or right above it, says what the mutant has there, and why it may live::

    return np.where(z > 0, z, np.expm1(z))  # mutant >=: at 0 both branches are 0

It has an operator, a constant, ``not`` (the opposite condition), ``sign`` (none) or ``pass``
(nothing at all).
"""

from __future__ import annotations

import argparse
import ast
import copy
import gc
import importlib
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
CPU_SECONDS, SECONDS = 20, 200  # of a test, of a stage: a mutant that does not end is noticed
RECENT = 5
KERNELS = ROOT / "fastmlp/kernels"
# what steps of every kind leave
STEPS = [
    ["tests/whole/test_determinism.py", "tests/sklearn/test_one_sample.py", "-k",
     "not float64 and (once or chunks or dense_steps or zeros_out or predictions)"],
    ["tests/whole/test_parity.py", "tests/test_network.py", "tests/training/test_fit.py", "-k",
     "(every_variant and float32 and (epoch or gradients or forward)) or agree or steps_in"],
    ["tests/test_regularization.py", "tests/whole/test_determinism.py",
     "tests/whole/test_any_network.py", "-k",
     "(train_alike or converted or any_network) and not float64 and not layer"],
]  # fmt: skip
# modules, and what is run on their mutants, one after the other until one fails
GROUPS = {
    "reference": (
        sorted(ROOT.glob("fastmlp/reference/*.py")),
        [["tests/reference/test_reference.py", "tests/reference/test_optimizers.py",
          "tests/reference/test_products.py", "tests/reference/test_dropout.py"],
         ["tests/whole/test_parity.py"],
         ["tests/training/test_fit.py", "tests/test_regularization.py"],
         ["tests/kernels/test_out.py", "tests/sklearn/test_one_sample.py",
          "-k", "test_out or neither_teach"]],
    ),
    "drivers": (
        [
            ROOT / f"fastmlp/training/{name}.py"
            for name in ("options", "trainer", "samples", "evaluation")
        ],
        # one backend for all
        [["tests/training/test_epochs.py", "tests/training/test_fit.py",
          "tests/training/test_options.py", "tests/test_schedules.py",
          "tests/training/test_chunks.py", "-k", "not numba"],
         ["tests/callbacks", "tests/test_metrics.py", "tests/test_regularization.py",
          "-k", "not numba"],
         ["tests/training/test_divergence.py", "tests/whole/test_kill.py", "-k",
          "(numpy or resume or goes_on) and not numba and not killed_anywhere"],
         ["tests/training/test_fit.py", "tests/training/test_options.py",
          "tests/training/test_many.py", "tests/training/test_many_failures.py",
          "tests/support/test_frames.py"]],
    ),
    "compiled": (
        [KERNELS / f"run/{name}.py" for name in ("training", "steps", "source", "workspace")],
        [["tests/training/test_fit.py", "tests/whole/test_parity.py"],
         ["tests/whole/test_determinism.py", "tests/whole/test_any_network.py", "-k", "not layer"],
         ["tests/whole/test_memory.py"]],
    ),
    "programs": (
        [KERNELS / f"program/{name}.py" for name in
         ("full_batch", "inference", "job", "minibatch", "operation", "passes", "per_sample",
          "post_gradient", "sparse_input")],
        [["tests/kernels/program/test_shares.py", "tests/kernels/run/test_steps.py"],
         ["tests/kernels/run/test_partition.py", "tests/kernels/run/test_csr_rows.py", "-k",
          "partition or references"],
         ["tests/kernels/run/test_rows_inference.py", "tests/kernels/program/test_footprint.py"],
         *STEPS, ["tests/whole/test_precision.py", "-k", "round_the_same or bits"]],
    ),
    "machine code": (
        [KERNELS / "emit/executor.py", KERNELS / "emit/flow.py", KERNELS / "emit/threads.py",
         KERNELS / "run/executor.py"],
        [["tests/kernels/run/test_executor.py"], ["tests/kernels/run/test_executor_threads.py"],
         ["tests/kernels/run/test_steps.py", "tests/bench/test_profile.py"], *STEPS],
    ),
    "shares": (
        [KERNELS / "run/partition.py", KERNELS / "run/packed_weights.py"],
        [["tests/kernels/run/test_partition.py"], ["tests/kernels/run/test_steps.py"]],
    ),
    "decayed steps": (
        [KERNELS / "run/decayed.py"],
        [["tests/sklearn/test_one_sample.py", "tests/kernels/run/test_decayed.py"],
         ["tests/kernels/run/test_steps.py", "-k", "decayed"]],
    ),
    "files": (
        [
            ROOT / f"fastmlp/{name}.py"
            for name in ("support/atomic", "persistence", "training/divergence")
        ],
        [["tests/test_persistence.py", "tests/test_damaged_models.py",
          "tests/training/test_divergence.py"],
         ["tests/whole/test_saving.py", "tests/whole/test_kill.py", "-k", "not killed_anywhere"],
         ["tests/whole/test_hostile_files.py", "tests/whole/test_crafted_files.py", "-k",
          "model or header or history"]],
    ),
}  # fmt: skip
COMPILED = GROUPS["machine code"][0]
SWAPS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.And: ast.Or, ast.Or: ast.And,
    ast.MatMult: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip
SYMBOLS = {
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=",
    ast.Is: "is", ast.IsNot: "is-not", ast.In: "in", ast.NotIn: "not-in", ast.Add: "+",
    ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.And: "and", ast.Or: "or", ast.BitAnd: "&",
    ast.BitOr: "|",
}  # fmt: skip
# of arithmetic that is emitted by a builder, `b`: methods and signs of comparisons
EMITTED = {
    "add": ("sub", "-"), "sub": ("add", "+"), "mul": ("add", "+"), "and_": ("or_", "|"),
    "or_": ("and_", "&"), "urem": ("udiv", "/"), "udiv": ("mul", "*"),
}  # fmt: skip
SIGNS = {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "=="}
UNTOUCHED = (ast.JoinedStr, ast.Raise, ast.Import, ast.ImportFrom)  # of no weight, or never run


def _emitted(function: ast.AST) -> bool:
    """Tell whether a function emits arithmetic."""
    if not isinstance(function, ast.Attribute) or function.attr not in EMITTED:
        return False
    return ast.unparse(function.value).rpartition(".")[2] == "b"


def changes(node: ast.AST) -> Iterator[tuple[str, str, ast.AST]]:
    """Yield what a node may become, how that is called, and what a verdict calls it."""
    if isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
        new = copy.deepcopy(node)
        new.ops[0] = SWAPS[type(node.ops[0])]()
        yield "comparison", SYMBOLS[type(new.ops[0])], new
    elif isinstance(node, ast.BinOp | ast.BoolOp | ast.AugAssign) and type(node.op) in SWAPS:
        new = copy.deepcopy(node)
        new.op = SWAPS[type(node.op)]()
        yield "operator", SYMBOLS[type(new.op)], new
    elif isinstance(node, ast.Call) and _emitted(node.func):
        new = copy.deepcopy(node)
        new.func.attr, called = EMITTED[node.func.attr]
        yield "operator", called, new
    elif isinstance(node, ast.Constant) and node.value in SIGNS:
        yield "comparison", SIGNS[node.value], ast.Constant(SIGNS[node.value])
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
        yield "sign", "sign", node.operand
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield "constant", repr(not node.value), ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        yield "constant", repr(node.value + 1), ast.Constant(node.value + 1)
    elif isinstance(node, ast.If | ast.IfExp | ast.While):
        new = copy.deepcopy(node)
        new.test = ast.UnaryOp(ast.Not(), new.test)
        yield "condition", "not", new
    if isinstance(node, ast.AugAssign | ast.Expr) or (
        isinstance(node, ast.Assign) and not isinstance(node.targets[0], ast.Name | ast.Tuple)
    ):
        yield "left out", "pass", ast.Pass()


VERDICT = re.compile(r"# mutant (\S+): (.+)")


class Verdicts:
    """What comments in a module say of mutants that may live.

    Attributes
    ----------
    unused : dict
        Line and name of those that no mutant has asked for.
    """

    def __init__(self, source: str) -> None:
        self._lines = source.splitlines()
        self.unused = {
            (number, found[1]) for number, line in enumerate(self._lines, 1)
            if (found := VERDICT.search(line))
        }  # fmt: skip

    def of(self, number: int, called: str) -> str | None:
        """Return why the change of a line may live, if it has been judged."""
        first = number
        while first > 1 and self._lines[first - 2].lstrip().startswith("#"):
            first -= 1
        for here in range(first, number + 1):
            found = VERDICT.search(self._lines[here - 1])
            if found and found[1] == called:
                self.unused.discard((here, called))
                return found[2]
        return None


Place = tuple[ast.AST, str, int | None, ast.AST, str]


def places(tree: ast.AST, within: str = "module") -> Iterator[Place]:
    """Yield (parent, field, index, node, function around it) of all that may be changed."""
    for field, value in ast.iter_fields(tree):
        if field in ("annotation", "returns", "decorator_list", "type_params"):
            continue
        for index, node in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if not isinstance(node, ast.AST) or isinstance(node, UNTOUCHED):
                continue
            docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            exported = isinstance(node, ast.Assign) and ast.unparse(node).startswith("__all__")
            checking = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
            if not (docstring or exported or checking):
                yield tree, field, index, node, within
                yield from places(node, getattr(node, "name", within))


def mutants(path: Path) -> Iterator[tuple[str, ast.Module, str | None]]:
    """Yield a description, the changed module and why it may live, for every change.

    Raises
    ------
    ValueError
        At the end, if there are verdicts on what is no mutant.
    """
    source = path.read_text("utf-8")
    tree, seen, verdicts = ast.parse(source), Counter[str](), Verdicts(source)
    for parent, field, index, node, within in list(places(tree)):
        for kind, called, new in changes(node):
            where = f"{path.relative_to(ROOT)}:{node.lineno}: {within}"
            ast.fix_missing_locations(ast.copy_location(new, node))
            here = getattr(parent, field)
            if index is None:
                setattr(parent, field, new)
            else:
                here[index] = new
            after = "" if kind == "left out" else f" -> {ast.unparse(new).splitlines()[0]}"
            name = f"{where}: {kind}: {ast.unparse(node).splitlines()[0]}{after}"
            seen[name] += 1
            name += f" #{seen[name]}" * (seen[name] > 1)  # the same twice in a line
            yield name, tree, verdicts.of(node.lineno, called)
            if index is None:
                setattr(parent, field, node)
            else:
                here[index] = node
    for number, called in sorted(verdicts.unused):
        raise ValueError(f"{path.relative_to(ROOT)}:{number}: a verdict on no mutant: {called}")


def compile_anew() -> None:
    """Have the executor neither taken from the cache nor kept there."""
    from fastmlp.kernels.jit import compiler

    load, save = compiler.load_code, compiler.save_code
    compiler.load_code = lambda name: None if name == "executor" else load(name)
    compiler.save_code = lambda name, code: None if name == "executor" else save(name, code)


class Limit:
    """A plugin of pytest that ends the process in a test that takes too much of the processor, and
    notes in a file which test it is in.
    """

    def __init__(self, file: Path) -> None:
        self.file = file

    def pytest_runtest_setup(self, item: Any) -> None:
        self.file.write_text(item.nodeid)
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)


def failing(path: Path, tree: ast.Module | None, tests: list[str]) -> str | None:
    """Return which of the tests fails first on a changed module, in a child that is forked for it:
    "" where it cannot even be imported, None where they pass.
    """
    folder = tempfile.mkdtemp()  # several of these may run at once
    running = Path(folder, "running")
    running.touch()
    child = os.fork()
    if child == 0:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        os.setpgid(0, 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's "&" has it ignored
        signal.alarm(SECONDS)
        honest = SourceFileLoader.get_code

        def get_code(loader, name):
            if tree is not None and loader.path == str(path):
                return compile(tree, loader.path, "exec")
            return honest(loader, name)

        SourceFileLoader.get_code = get_code
        if path in COMPILED and tree is not None:
            compile_anew()
        import pytest

        options = ["-x", "-q", "-m", "", f"--basetemp={folder}/pytest"]
        os._exit(int(pytest.main([*options, *tests], plugins=[Limit(running)])))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)  # what it has started
    test = running.read_text()
    shutil.rmtree(folder, ignore_errors=True)
    return None if code == 0 else test


def prepare() -> None:
    """Do once what every child would have to do for itself."""
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    for module in ("pytest", "scipy.sparse", "sklearn.neural_network"):
        importlib.import_module(module)
    gc.freeze()  # else each looks through all of it at its end


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("group", choices=GROUPS, nargs="?")
    parser.add_argument("--list", action="store_true", help="the groups and their modules")
    parser.add_argument("--modules", help="only some of them, as executor,threads")
    parser.add_argument("--function", help="only what is in one of this name")
    parser.add_argument("--part", default="1/1", help="which share of the mutants, as 2/5")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="end after so long")
    parser.add_argument("--record", help="a JSON file that results are added to, and gone on from")
    args = parser.parse_args()
    if args.list or args.group is None:
        for name, (modules, _) in GROUPS.items():
            print(f"{name}: {', '.join(str(path.relative_to(ROOT)) for path in modules)}")
        return 0
    os.chdir(ROOT)
    sys.path[:0] = [str(ROOT)]
    prepare()
    modules, stages = GROUPS[args.group]
    if args.modules:
        names = args.modules.split(",")
        modules = [path for path in modules if path.stem in names]
        if {path.stem for path in modules} != set(names):
            parser.error(f"argument --modules: {args.group!r} has no such ones: {args.modules}")
    part, parts = map(int, args.part.split("/"))
    record = Path(args.record) if args.record else None
    known = json.loads(record.read_text()) if record and record.exists() else {}
    if not known:
        for stage in stages:
            test = failing(modules[0], None, stage)
            assert test is None, f"{test or stage} fails on what is not changed"
    begun, number, survivors, judged = time.monotonic(), 0, 0, 0
    recent: list[str] = []  # tests that have noticed others: they come first
    for path in modules:
        for name, tree, verdict in mutants(path):
            if args.function and f": {args.function}: " not in name:
                continue
            number += 1
            if name not in known:
                if number % parts != part % parts or time.monotonic() - begun > args.seconds:
                    continue
                tests = [recent, *stages] if recent else stages
                found = next((t for s in tests if (t := failing(path, tree, s)) is not None), None)
                known[name] = "survived" if found is None else "noticed"
                if found:
                    recent = [found, *(test for test in recent if test != found)][:RECENT]
                if found is None:
                    print(name, f"({verdict or 'NOT JUDGED'})", flush=True)
                if record:
                    record.write_text(json.dumps(known, indent=0))
            survivors += known[name] == "survived"
            judged += known[name] == "survived" and verdict is not None
    print(f"{args.group}: {len(known)} mutants, {survivors} survived, {judged} judged harmless")
    return 0


if __name__ == "__main__":
    sys.exit(main())
