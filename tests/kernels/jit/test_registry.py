"""The registry refuses what it does not have: an address of 0 would be jumped to."""

from __future__ import annotations

import re
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from llvmlite import ir

from fastmlp.kernels.emit.flow import I64
from fastmlp.kernels.emit.records import emit_kernel, record, subroutine
from fastmlp.kernels.emit.target import current_target
from fastmlp.kernels.emit.vector_math import Vec
from fastmlp.kernels.jit.registry import (
    KERNELS,
    KINDS,
    groups_of,
    kernel_addresses,
    launch,
)

DTYPES = ("float32", "float64")


@pytest.mark.parametrize(
    "group", ["forwards", "update:sdg", "", "forward:", "forwards:relu", "forward:relu+", "add"]
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_an_unknown_group_is_refused(dtype, group):
    with pytest.raises(LookupError):
        kernel_addresses(dtype, group)


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_unknown_kernel_is_refused(dtype):
    with pytest.raises(LookupError, match="multiply"):
        launch("multiply", dtype, dst=0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_kernel_of_a_group_that_was_not_compiled_is_refused(dtype):
    addresses = kernel_addresses(dtype, "penalties")
    assert set(addresses) == {"penalties", "reduce_penalties"}
    assert len(set(addresses.values())) == len(addresses)
    assert all(addresses.values())
    for name in ("update", "forward", "gather_u8"):
        with pytest.raises(LookupError, match=name):
            addresses[name]


def test_groups_together_have_the_kernels_of_each():
    groups = ("labels", "update:sgd", "gather f32")
    together = kernel_addresses("float32", *groups)
    for group in groups:
        assert kernel_addresses("float32", group).items() <= together.items()
    assert set(together) == set().union(*(kernel_addresses("float32", group) for group in groups))


def test_kernels_are_in_the_groups_that_are_asked_for():
    for activations, rule in (({"relu"}, "sgd"), ({"relu", "tanh"}, "adam")):
        groups = groups_of(KERNELS, activations, rule)
        assert len(groups) == len({kernel.family for kernel in KERNELS.values()})
        names = "+".join(sorted({"identity", *activations}))
        assert {f"forward:{names}", f"vector forward:{names}"} <= set(groups)
        assert {f"update:{rule}", f"feature update:{rule}", f"optimizer:{rule}"} <= set(groups)
    assert groups_of(["add", "output"], {"relu"}, "sgd") == ["groups", "outputs"]
    assert groups_of(["forward"], ["relu", "identity"], "sgd") == ["forward:identity+relu"]


def test_kernels_of_a_family_have_the_same_cases():
    families: dict[str, str] = {}
    for kernel in KERNELS.values():
        assert families.setdefault(kernel.family, kernel.cases) == kernel.cases


@pytest.mark.parametrize(
    "fields",
    [
        (), ("penalty", "totals"), ("penalty", "totals", "count", "more"),
        ("penalty", "total", "count"),
    ],
)  # fmt: skip
def test_a_record_with_other_fields_is_refused(fields):
    expected = re.escape("expected the fields ('penalty', 'totals', 'count'), got " + str(fields))
    with pytest.raises(TypeError, match=f"reduce_penalties: {expected}"):
        launch("reduce_penalties", "float64", **dict.fromkeys(fields, 0))


@pytest.mark.parametrize("dtype", DTYPES)
def test_fields_are_given_in_any_order(dtype):
    a = np.arange(48, dtype=dtype)
    places = {"dst": a.ctypes.data, "src": a[16:].ctypes.data}
    vectors = a[:16].nbytes // current_target().vector_bytes
    numbers = {"vectors": vectors, "pieces": 2, "distance": a[16:32].nbytes}
    launch("add", dtype, **dict(reversed((places | numbers).items())))
    assert np.array_equal(a[:16], np.arange(16) * 3 + 48)
    assert not a[16:].any()


# records


def vec(builder: ir.IRBuilder) -> Vec:
    return Vec(builder, "float64", current_target())


@record("c a b")
def three(v: Vec, q: Any) -> None:
    v.store_scalar(v.b.sub(q.a, q.b), q.c)


def test_a_record_has_its_fields_in_their_order():
    """As 64-bit integers, in the order in which the decorator names them."""
    seen = {}

    @record("z a  m")
    def emit(v: Vec, q: Any) -> None:
        seen.update(vars(q))

    module = ir.Module()
    function = emit_kernel(module, "kernel", partial(emit), vec)
    assert function.type.pointee == ir.FunctionType(ir.VoidType(), [I64])
    assert list(seen) == ["z", "a", "m"]
    offsets = []
    for value in seen.values():  # a load, of a pointer, from the record's address and a distance
        text = str(value.operands[0].operands[0])
        offsets.append(int(text.rsplit(" ", 1)[-1].rstrip('"')) if "add" in text else 0)
    assert offsets == [0, 8, 16]


def test_a_tile_takes_its_fields_by_name_and_is_emitted_once():
    module = ir.Module()
    outer = ir.Function(module, ir.FunctionType(ir.VoidType(), [I64] * 3), "outer")
    v = vec(ir.IRBuilder(outer.append_basic_block("entry")))
    c, a, b = outer.args
    for _ in range(2):
        subroutine(v, "three", three)(SimpleNamespace(a=a, b=a), b=b, c=c)
    v.b.ret_void()
    calls = [i for i in outer.blocks[0].instructions if i.opname == "call"]
    assert [list(call.args) for call in calls] == [[c, a, b]] * 2
    assert len(module.functions) == 2
    with pytest.raises(TypeError, match="three: expected some of the fields"):
        subroutine(v, "three", three)(SimpleNamespace(), a=a, b=b, c=c, d=a)
    with pytest.raises(AttributeError, match="b"):
        subroutine(v, "three", three)(SimpleNamespace(a=a), c=c)


@pytest.mark.parametrize("name", KERNELS)
def test_every_kernel_says_what_it_computes_and_has_fields_of_its_own(name):
    kernel = KERNELS[name]
    assert getattr(kernel.emit, "func", kernel.emit).__doc__.strip()
    assert len(kernel.fields) == len(set(kernel.fields)) > 0
    assert all(field.isidentifier() for field in kernel.fields)


@pytest.mark.parametrize("name", KERNELS)
def test_every_kernel_uses_its_fields_and_no_others(name):
    """But for a table of values, where lists have none."""
    used = set()

    class Watched(SimpleNamespace):
        def __getattribute__(self, field: str) -> Any:
            if field == "__dict__":
                used.update(object.__getattribute__(self, field))
            used.add(field)
            return object.__getattribute__(self, field)

    kernel = KERNELS[name]
    function = ir.Function(ir.Module(), ir.FunctionType(ir.VoidType(), [I64] * 32), "kernel")
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    values = dict(zip(kernel.fields, function.args[: len(kernel.fields)], strict=True))
    kernel.emit(vec(builder), Watched(**values))
    spared = {"table", "cuts"} if name.endswith("_csr") else {"table"}
    assert set(kernel.fields) - used <= spared


def test_there_are_kernels_for_every_kind_of_input():
    for kind in KINDS:
        for name in ("gather", "list_rows", "index_count", "index_fill"):
            assert f"{name}_{kind}" in KERNELS
