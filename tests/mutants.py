"""Break the package one operator at a time and see whether the tests notice.

``python tests/mutants.py reference`` goes through a group of modules (``--list`` names them,
``--modules`` takes some of them, ``--part 2/5`` a fifth of the mutants): comparisons, arithmetic,
constants and conditions are changed, calls and assignments left out, and the group's tests run on
each change in a process of its own. What no test noticed is printed, to be judged: a mutant that
means the same, or a test that is missing.
"""

from __future__ import annotations

import argparse
import ast
import copy
import gc
import importlib
import json
import os
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

ROOT = Path(__file__).parents[1]
CPU_SECONDS, SECONDS = 20, 200  # of a test, of a stage: a mutant that does not end is noticed
KERNELS = ROOT / "fastmlp/kernels"
# what steps of every kind leave
STEPS = [
    ["tests/test_determinism.py", "tests/sklearn/test_one_sample.py", "-k",
     "not float64 and (once or chunks or dense_steps or zeros_out or predictions)"],
    ["tests/test_parity.py", "tests/test_network.py", "tests/test_fit.py", "-k",
     "(every_variant and float32 and (epoch or gradients or forward)) or agree or steps_in"],
    ["tests/test_regularization.py", "tests/test_determinism.py", "-k",
     "(train_alike or converted or any_network) and not float64 and not layer"],
]  # fmt: skip
# modules, and what is run on their mutants, one after the other until one fails
GROUPS = {
    "reference": (
        sorted(ROOT.glob("fastmlp/reference/*.py")),
        [["tests/test_reference.py"], ["tests/test_parity.py"],
         ["tests/test_fit.py", "tests/test_regularization.py"]],
    ),
    "drivers": (
        [
            ROOT / f"fastmlp/training/{name}.py"
            for name in ("options", "trainer", "samples", "evaluation")
        ],
        # one backend for all
        [["tests/test_epochs.py", "tests/test_fit.py", "tests/test_chunks.py", "-k", "not numba"],
         ["tests/test_callbacks.py", "tests/test_regularization.py", "-k", "not numba"],
         ["tests/test_divergence.py", "tests/test_kill.py", "-k",
          "(numpy or resume or goes_on) and not numba and not killed_anywhere"],
         ["tests/test_fit.py", "tests/test_many.py"]],
    ),
    "compiled": (
        [KERNELS / f"run/{name}.py" for name in ("training", "steps", "source", "workspace")],
        [["tests/test_fit.py", "tests/test_parity.py"],
         ["tests/test_determinism.py", "-k", "not layer"], ["tests/test_memory.py"]],
    ),
    "programs": (
        [KERNELS / f"program/{name}.py" for name in
         ("full_batch", "inference", "job", "minibatch", "operation", "passes", "per_sample",
          "post_gradient", "sparse_input")],
        [["tests/test_steps.py"], ["tests/test_partition.py"], *STEPS],
    ),
    "machine code": (
        [KERNELS / "emit/executor.py", KERNELS / "emit/integers.py", KERNELS / "run/executor.py"],
        [["tests/test_executor.py"], ["tests/test_steps.py"], *STEPS],
    ),
    "shares": (
        [KERNELS / "run/partition.py", KERNELS / "run/packed_weights.py"],
        [["tests/test_partition.py"], ["tests/test_steps.py"]],
    ),
    "decayed steps": (
        [KERNELS / "run/decayed.py"],
        [["tests/sklearn/test_one_sample.py"], ["tests/test_steps.py", "-k", "decayed"]],
    ),
    "files": (
        [
            ROOT / f"fastmlp/{name}.py"
            for name in ("support/atomic", "persistence", "training/divergence")
        ],
        [["tests/test_persistence.py", "tests/test_divergence.py"],
         ["tests/test_kill.py", "-k", "not killed_anywhere"],
         ["tests/test_hostile_files.py", "-k", "model or header or history"]],
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
# survivors that have been looked at: file and function, the change, and why it may live
JUDGED: dict[tuple[str, str], str] = {
    ("activations.py: _elu", "z > 0 -> z >= 0"): "at 0 both branches are 0",
    (
        "backprop.py: hidden_and_logits",
        "rate and words is not None -> rate or words is not None",
    ): "a rate of 0 has factors of 1",
    ("activations.py: _softplus", "False -> True"): "a copy more, of the same values",
    ("options.py: check", "False -> True"): "of no progress, either is a bool",
    ("trainer.py: begin", "False -> True"): "preparations that pay only for more epochs",
    (
        "trainer.py: _evaluation",
        "s.epochs > 2 -> s.epochs >= 2",
    ): "preparations that pay only for more epochs",
    ("trainer.py: _epoch", "1 -> 2"): "schedules that know no number of steps have one rate",
    (
        "samples.py: hold_out",
        "np.cumsum(counts) - counts -> np.cumsum(counts) + counts",
    ): "the places of all classes move by 2",
    (
        "evaluation.py: _loss_and_accuracy",
        "False -> True",
    ): "preparations that pay only for more epochs",
    ("evaluation.py: __call__", "True -> False"): "both lists are of one length",
    ("decayed.py: module", "256 -> 257"): "another number of steps does as well",
    (
        "decayed.py: steady",
        "rates.max() * l2 <= 1 - _LEAST -> rates.max() * l2 < 1 - _LEAST",
    ): "at the bound both kinds of steps serve",
    ("decayed.py: __init__", "1 -> 2"): "single samples are for a single thread, whatever is said",
    ("decayed.py: steps", "1 -> 2"): "another number of steps does as well",
    (
        "decayed.py: steps",
        "scales < _LEAST -> scales <= _LEAST",
    ): "another number of steps does as well",
    ("decayed.py: _flat_weights", "True -> False"): "both lists are of one length",
    ("decayed.py: _changes", "True -> False"): "all lists are of one length",
    ("partition.py: module", "4 -> 5"): "who works on what changes no bit",
    ("integers.py: pause", "self.b.call(function, [])"): "waiting without pauses",
    (
        "atomics.py: codegen",
        "if builder.module.triple.startswith(('x86_64', 'i686')): -> "
        "if not builder.module.triple.startswith(('x86_64', 'i686')):",
    ): "waiting without pauses",
    ("executor.py: module", "1 -> 2"): "a phase that never comes",
    ("executor.py: module", "4000 -> 4001"): "looks before giving way",
    ("decayed.py: steps", "0 -> 1"): "the rate of biases is that of weights",
    ("executor.py: take_part", "1 -> 2"): "any number but 0 says that somebody leads",
    ("executor.py: take_part", "0 -> 1"): "looks before giving way",
    ("executor.py: work_on", "own + k -> own - k"): "in which order others' shares are claimed",
    ("backprop.py: batch_gradients", "False -> True"): "a copy more, of the same values",
    ("backprop.py: batch_gradients", "0.0 -> 1.0"): "it multiplies sums that are 0",
    (
        "epoch.py: train_steps",
        "architecture.n_layers - 1 -> architecture.n_layers + 1",
    ): "words of layers that are not there",
    ("losses.py: _huber", "size <= 1 -> size < 1"): "at 1 both branches are one half",
    ("optimizers.py: optimizer_step", "True -> False"): "both lists are of one length",
    (
        "penalties.py: clip_by_global_norm",
        "norm <= clip_norm -> norm < clip_norm",
    ): "at the bound the factor is 1",
    (
        "penalties.py: limit_norms",
        "norms > max_norm -> norms >= max_norm",
    ): "at the bound the factor is 1",
}
UNTOUCHED = (ast.JoinedStr, ast.Raise, ast.Import, ast.ImportFrom)  # of no weight, or never run


def changes(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Yield what a node may become, and how that is called."""
    if isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
        new = copy.deepcopy(node)
        new.ops[0] = SWAPS[type(node.ops[0])]()
        yield "comparison", new
    elif isinstance(node, ast.BinOp | ast.BoolOp | ast.AugAssign) and type(node.op) in SWAPS:
        new = copy.deepcopy(node)
        new.op = SWAPS[type(node.op)]()
        yield "operator", new
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
        yield "sign", node.operand
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield "constant", ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        yield "constant", ast.Constant(node.value + 1)
    elif isinstance(node, ast.If | ast.IfExp | ast.While):
        new = copy.deepcopy(node)
        new.test = ast.UnaryOp(ast.Not(), new.test)
        yield "condition", new
    if isinstance(node, ast.AugAssign | ast.Expr) or (
        isinstance(node, ast.Assign) and not isinstance(node.targets[0], ast.Name | ast.Tuple)
    ):
        yield "left out", ast.Pass()


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


def mutants(path: Path) -> Iterator[tuple[str, ast.Module]]:
    """Yield a description and the changed module, for every change."""
    tree, seen = ast.parse(path.read_text("utf-8")), Counter[str]()
    for parent, field, index, node, within in list(places(tree)):
        for kind, new in changes(node):
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
            yield name + f" #{seen[name]}" * (seen[name] > 1), tree  # the same twice in a line
            if index is None:
                setattr(parent, field, node)
            else:
                here[index] = node


def compile_anew() -> None:
    """Have the executor neither taken from the cache nor kept there."""
    from fastmlp.kernels.jit import compiler

    load, save = compiler.load_code, compiler.save_code
    compiler.load_code = lambda name: None if name == "executor" else load(name)
    compiler.save_code = lambda name, code: None if name == "executor" else save(name, code)


class Limit:
    """A plugin of pytest that ends the process in a test that takes too much of the processor."""

    def pytest_runtest_setup(self) -> None:
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)


def passes(path: Path, tree: ast.Module | None, tests: list[str], within: str = "module") -> bool:
    """Tell whether the tests pass on a changed module, in a child that is forked for it."""
    folder = tempfile.mkdtemp()  # several of these may run at once
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
        os._exit(int(pytest.main([*options, *tests], plugins=[Limit()])))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)  # what it has started
    shutil.rmtree(folder, ignore_errors=True)
    return code == 0


def prepare() -> None:
    """Do once what every child would have to do for itself."""
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    for module in ("pytest", "scipy.sparse", "sklearn.neural_network"):
        importlib.import_module(module)
    gc.freeze()  # else each looks through all of it at its end


def judgement(name: str) -> str | None:
    """Return why a survivor may live, if it has been judged."""
    name = name.split(" #")[0]
    for (where, change), reason in JUDGED.items():
        file, function = where.split(": ")
        if f"/{file}:" in name and f": {function}: " in name and name.endswith(f": {change}"):
            return reason
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("group", choices=GROUPS, nargs="?")
    parser.add_argument("--list", action="store_true", help="the groups and their modules")
    parser.add_argument("--modules", help="only some of them, as executor,integers")
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
        if len(modules) != len(names):
            parser.error(f"argument --modules: {args.group!r} has no such ones: {args.modules}")
    part, parts = map(int, args.part.split("/"))
    record = Path(args.record) if args.record else None
    known = json.loads(record.read_text()) if record and record.exists() else {}
    begun, number = time.monotonic(), 0
    if not known:
        for stage in stages:
            assert passes(modules[0], None, stage), f"{stage} fail on what is not changed"
    for path in modules:
        for name, tree in mutants(path):
            number += 1
            if number % parts != part % parts or name in known:
                continue
            if time.monotonic() - begun > args.seconds:
                break
            within = name.split(": ")[1]
            survived = all(passes(path, tree, stage, within) for stage in stages)
            known[name] = "survived" if survived else "noticed"
            if survived:
                print(name, f"({judgement(name) or 'NOT JUDGED'})", flush=True)
            if record:
                record.write_text(json.dumps(known, indent=0))
    survivors = [name for name, outcome in known.items() if outcome == "survived"]
    judged = sum(judgement(name) is not None for name in survivors)
    print(
        f"{args.group}: {len(known)} mutants, {len(survivors)} survived, {judged} judged harmless"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
