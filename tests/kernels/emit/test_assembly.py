"""Machine code on every processor class: tiles are full-width multiply-adds, nothing spilled.

The kernels' and the executor's own LLVM IR is compiled to text for processors of each class; none
of it is run, so any machine can check all of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cache, partial

import llvmlite.binding as llvm
import pytest
from llvmlite import ir

from fastmlp.kernels.emit import bfloat16, executor, microkernel, target
from fastmlp.kernels.emit.records import subroutine
from fastmlp.kernels.emit.target import _TARGETS, Target, current_target, is_arm, processor
from fastmlp.kernels.emit.vector_math import Vec
from fastmlp.kernels.jit import registry
from fastmlp.kernels.jit.registry import SPLIT

TILES = {
    "tile_forward": partial(microkernel.tile, forward=True),
    "tile_backward": partial(microkernel.tile, forward=False),
    "tile_update": microkernel.tile_update,
    "packed_tile_forward": partial(microkernel.packed_tile, forward=True),
    "packed_tile_backward": partial(microkernel.packed_tile, forward=False),
    "packed_tile_update": microkernel.packed_tile_update,
}
DTYPES = ("float32", "float64")
X86, ARM = "x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"
# table row -> processors that get it: (name, features)
PROCESSORS = {
    "avx512": [(X86, "skylake-avx512", ""), (X86, "znver4", "")],
    "avx2": [(X86, "haswell", ""), (X86, "znver3", "")],
    "neon": [(ARM, "cortex-a72", ""), (ARM, "apple-m1", ""), (ARM, "neoverse-n1", "")],
    "generic": [(X86, "x86-64", "+sse2")],
}
CALL = r"callq?\s|blr?\s"
ON_ARM = is_arm(llvm.get_process_triple())
REGISTER = {64: "%zmm", 32: "%ymm", 16: "%xmm"}


def compiled(module: ir.Module, processor: tuple[str, str, str]) -> list[str]:
    """Return the instructions and labels of a module."""
    triple, cpu, features = processor
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = llvm.Target.from_triple(triple).create_target_machine(
        cpu=cpu, features=features, opt=3
    )
    parsed = llvm.parse_assembly(str(module))
    parsed.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.loop_vectorization = True  # as the compiler sets them
    passes = llvm.create_pass_builder(machine, options)
    passes.getModulePassManager().run(parsed, passes)
    lines = map(str.strip, machine.emit_assembly(parsed).splitlines())
    return [line for line in lines if line.startswith(".L") or line[:1].isalpha()]


@cache
def assembly(
    target: Target, processor: tuple[str, str, str], dtype: str, tile: str, width: int,
    parts: int = 0,
) -> list[str]:  # fmt: skip
    """Return the instructions and labels of one tile."""
    module = ir.Module()
    module.triple = processor[0]
    caller = ir.Function(module, ir.FunctionType(ir.VoidType(), []), "caller")
    v = Vec(ir.IRBuilder(caller.append_basic_block()), dtype, target)
    split = {"parts": parts} if parts else {}
    emit = partial(TILES[tile], rows=target.tile_rows, vectors=width, **split)
    subroutine(v, tile, emit)
    v.b.ret_void()
    for function in module.functions:
        if not function.is_declaration:
            function.linkage = "external"  # or the optimizer drops it
    return compiled(module, processor)


def loops(lines: list[str]) -> list[list[str]]:
    """Return the innermost loops: a label, instructions, and a conditional jump to the label."""
    found, label, inside = [], "", []
    for line in lines:
        if line.startswith(".L"):
            label, inside = line.partition(":")[0], []
            continue
        inside.append(line)
        jump = re.match(r"(?:j(?!mp)\w+|b\.\w+|cbn?z|tbn?z)\s.*?(\.L\w+)$", line)
        if jump and jump[1] == label:
            found.append(inside[:])
    return found


@dataclass
class Loop:
    """What a loop over k is made of."""

    multiply_adds: int
    full_width: bool
    stack: list[str]


def read(lines: list[str], target: Target, triple: str, dtype: str) -> list[Loop]:
    """Return the loops that multiply: the one over k, once or unrolled."""
    kind = {"float32": "s", "float64": "d"}[dtype]
    framed = any(re.match(r"movq\s+%rsp, %rbp", line) for line in lines)
    register, stack = REGISTER[target.vector_bytes], r"\(%(rsp|rbp)\b" if framed else r"\(%rsp\b"
    multiply = add = rf"vfn?madd\d+p{kind}\s"
    if triple == ARM:
        multiply = add = rf"fmla\s+v\d+\.{ {'s': '4s', 'd': '2d'}[kind] },"
        register, stack = "v", r"\[(sp|x29)\b"
    elif not target.fma:
        multiply, add = rf"v?mulp{kind}\s", rf"v?addp{kind}\s"
    found = []
    for loop in loops(lines):
        products = [x for x in loop if re.match(multiply, x)]
        if products:
            sums = [x for x in loop if re.match(add, x)]
            assert len(products) == len(sums)
            wide = all(register in x for x in products + sums)
            found.append(Loop(len(sums), wide, [x for x in loop if re.search(stack, x)]))
    return found


CASES = [
    pytest.param(
        _TARGETS[row], processor, id=f"{row}-{processor[1]}",
        marks=() if processor is processors[0] else pytest.mark.slow,
    )
    for row, processors in PROCESSORS.items()
    for processor in processors
]  # fmt: skip


def check(target: Target, processor: tuple[str, str, str], dtype: str, tile: str) -> None:
    """Hold a full tile's loop over k against what the target's row of the table promises."""
    lines = assembly(target, processor, dtype, tile, target.tile_vectors)
    (loop,) = read(lines, target, processor[0], dtype)
    unrolled, rest = divmod(loop.multiply_adds, target.tile_rows * target.tile_vectors)
    assert (rest, unrolled in (1, 2, 4)) == (0, True)
    assert loop.full_width
    assert loop.stack == []
    assert not [x for x in lines if re.match(CALL, x)]


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.slow)])
@pytest.mark.parametrize(("target", "processor"), CASES)
def test_the_loop_is_multiply_adds_in_registers(target, processor, dtype, tile):
    check(target, processor, dtype, tile)


@pytest.mark.parametrize("parts", SPLIT)
@pytest.mark.parametrize("tile", [tile for tile in TILES if tile.startswith("packed")])
def test_split_operands_are_multiplied_by_the_instruction(monkeypatch, tile, parts):
    row, processor = _TARGETS["avx512"], (X86, "znver4", "+avx512bf16")
    monkeypatch.setattr(bfloat16, "multiplies_bfloat16", lambda: True)
    lines = assembly.__wrapped__(row, processor, "float32", tile, row.tile_vectors, parts)
    (loop,) = [x for x in loops(lines) if any(re.match(r"vdpbf16ps\s", line) for line in x)]
    products = [line for line in loop if re.match(r"vdpbf16ps\s.*%zmm", line)]
    unrolled, rest = divmod(len(products), row.tile_rows * row.tile_vectors * (2 * parts - 1))
    assert (rest, unrolled in (1, 2, 4)) == (0, True)
    assert not [line for line in loop if re.search(r"\(%rsp\b", line)]
    assert not [line for line in loop if re.match(r"vfn?madd|v?p?and|vpsll", line)]


def test_who_has_the_instruction(monkeypatch):
    for name, features, expected in (
        ("znver4", "+avx512bf16", True), ("znver4", "", False), ("haswell", "-avx512f", False),
        ("skylake-avx512", "-avx512bf16", False), ("cooperlake", "+sse2,+avx512bf16", True),
    ):  # fmt: skip
        monkeypatch.setenv("NUMBA_CPU_NAME", name)
        monkeypatch.setenv("NUMBA_CPU_FEATURES", features)
        assert (name, features, target.multiplies_bfloat16()) == (name, features, expected)


def test_every_row_of_the_table_is_looked_at():
    assert set(PROCESSORS) == set(_TARGETS)


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_this_processor(dtype, tile):
    check(current_target(), (ARM if ON_ARM else X86, *processor()), dtype, tile)


@pytest.mark.skipif(ON_ARM, reason="64-bit ARM has one row")
@pytest.mark.parametrize(
    ("name", "features"),
    [
        ("skylake-avx512", None), ("znver3", ""), ("haswell", "+avx512f"), ("haswell", "-fma"),
        ("haswell", "-avx2"), ("nehalem", None),
        pytest.param("x86-64", "+avx2, +fma", marks=pytest.mark.xfail(
            llvm.llvm_version_info[0] < 21, reason="LLVM 20 keeps some sums on the stack"
        )),
    ],
)  # fmt: skip
def test_the_processor_that_is_asked_for_is_compiled_for(name, features, monkeypatch):
    monkeypatch.setenv("NUMBA_CPU_NAME", name)
    monkeypatch.delenv("NUMBA_CPU_FEATURES", raising=False)
    if features is not None:
        monkeypatch.setenv("NUMBA_CPU_FEATURES", features)
    check(current_target(), (X86, *processor()), "float32", "tile_forward")


@pytest.mark.parametrize("features", ["", "+neon,-sve"])
@pytest.mark.parametrize("triple", [ARM, "arm64-apple-darwin20.0.0"])
def test_arm_has_neon_whatever_llvm_tells_of_it(triple, features, monkeypatch):
    monkeypatch.setattr(target, "process_triple", lambda: triple)
    monkeypatch.setattr(target, "_host", lambda: ("generic", features))
    for name in ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES"):
        monkeypatch.delenv(name, raising=False)
    assert current_target() == _TARGETS["neon"]
    check(current_target(), (ARM, *processor()), "float64", "tile_forward")


# the executor, and kernels whole

SYSTEM = {"sched_yield", "SwitchToThread", "clock_gettime", "QueryPerformanceCounter"}


def library_calls(lines: list[str]) -> set[str]:
    """Return the functions that are called by name and are not in the module."""
    own = {line.partition(":")[0] for line in lines if ":" in line}
    calls = [
        re.match(r"(?:callq?|bl)\s+_?([A-Za-z]\w*|_\w+)", x)
        or re.match(r"(?:movabsq?\s+\$|adrp\s+\w+, (?::got:)?_?)([A-Za-z_]\w*)", x)
        for x in lines
    ]
    return {call[1] for call in calls if call} - own


@pytest.mark.parametrize(
    "processor",
    [
        (X86, "haswell", ""), (X86, "not-known-yet", target._X86), (ARM, "cortex-a72", ""),
        (ARM, "generic", "+neon"), (ARM, "apple-m1", ""),
    ],
    ids=lambda p: p[1],
)  # fmt: skip
def test_the_executor_waits_and_flushes_in_the_processors_own_words(processor):
    module = ir.Module()
    module.triple = processor[0]
    executor.emit(module)
    lines = compiled(module, processor)
    text = "\n".join(lines)
    if processor[0] == ARM:
        words = [r"^isb$", r"^mrs\s+x\d+, FPCR", r"^msr\s+FPCR, ", r"^ldap?r\s", r"^stlr\s"]
        words.append(r"^(casal|ldaxr)\s")
    else:
        words = [r"^pause$", r"^stmxcsr|^vstmxcsr", r"^v?ldmxcsr", r"^lock\s+cmpxchgq"]
    for word in words:
        assert re.search(word, text, re.MULTILINE), word
    assert library_calls(lines) <= SYSTEM


@pytest.mark.parametrize(
    "group",
    [
        "forward:gelu", "backward:gelu", "update:adam", "labels", "packed update bf16x2:sgd",
        pytest.param("targets", marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_kernels_call_no_library_on_arm(group, monkeypatch):
    monkeypatch.setattr(registry, "current_target", lambda: _TARGETS["neon"])
    module = ir.Module()
    module.triple = ARM
    registry._emit_group("float32", group, module)
    lines = compiled(module, PROCESSORS["neon"][0])
    assert any(re.match(r"fmla\s+v", line) for line in lines)
    assert library_calls(lines) == set()


# the checks can fail


@pytest.mark.parametrize("row", PROCESSORS)
def test_a_tile_of_too_many_rows_is_seen_to_spill(row):
    target, processor = _TARGETS[row], PROCESSORS[row][0]
    larger = replace(target, tile_rows=16)
    lines = assembly(larger, processor, "float64", "tile_update", target.tile_vectors)
    (loop,) = read(lines, larger, processor[0], "float64")
    assert loop.multiply_adds == 16 * target.tile_vectors
    assert loop.stack


def test_narrow_vectors_are_seen():
    narrow = replace(_TARGETS["avx512"], vector_bytes=32)
    lines = assembly(narrow, PROCESSORS["avx512"][0], "float32", "tile_update", 2)
    assert not any(loop.full_width for loop in read(lines, _TARGETS["avx512"], X86, "float32"))


@pytest.mark.parametrize(("lanes", "seen"), [("4s", 1), ("2s", 0)])
def test_narrow_vectors_are_seen_on_arm(lanes, seen):
    lines = [".L0:", f"fmla v0.{lanes}, v1.{lanes}, v2.{lanes}", "b.ne .L0"]
    assert len(read(lines, _TARGETS["neon"], ARM, "float32")) == seen


@pytest.mark.parametrize(
    ("target", "processor"),
    [
        (replace(_TARGETS["generic"], fma=True), PROCESSORS["generic"][0]),
        (_TARGETS["neon"], (ARM, "generic", "-neon,-fp-armv8")),
    ],
    ids=["x86", "arm"],
)
def test_a_multiply_add_that_is_a_call_is_seen(target, processor):
    lines = assembly(target, processor, "float64", "tile_update", 2)
    assert [x for x in lines if re.match(CALL, x)]
    assert "fma" in library_calls(lines)
