"""Operations on a caller's arrays: any layout, any cut, and what they touch."""

from __future__ import annotations

import itertools
import weakref
from functools import lru_cache

import numpy as np
import pytest
from checker import faults
from footprint import Array

from fastmlp import Adam, kernels, reference
from fastmlp.activations import ACTIVATIONS
from fastmlp.architecture import Architecture
from fastmlp.kernels.emit.matrix_product import COLUMN_BLOCK, K_BLOCK, ROW_BLOCK
from fastmlp.kernels.jit.registry import launch
from fastmlp.kernels.program.operation import Program, Slot
from fastmlp.kernels.run import calls, choose, plain
from fastmlp.kernels.run.executor import Executable
from fastmlp.optimizers import OptimizerState
from fastmlp.verification import TOLERANCE

DTYPES = tuple(TOLERANCE)
BACKENDS = {"kernels": kernels, "reference": reference}
RNG = np.random.default_rng(0)


def normal(dtype, *shape):
    return RNG.standard_normal(shape).astype(dtype)


def layouts(x: np.ndarray):
    """Return an array in layouts of two dimensions, by name."""
    wide = np.zeros((x.shape[0] * 2, x.shape[1] * 3), x.dtype)
    strided, padded = wide[::2, ::3], np.zeros((x.shape[0], x.shape[1] + 5), x.dtype)[:, 2:-3]
    strided[...], padded[...] = x, x
    unaligned = np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(x.dtype).reshape(x.shape)
    return {
        "plain": x, "strided": strided, "padded": padded, "fortran": np.asfortranarray(x),
        "backwards": x[::-1, ::-1].copy()[::-1, ::-1], "unaligned": unaligned,
    }  # fmt: skip


# products


ROOM_B = 2 * COLUMN_BLOCK * K_BLOCK * 8


def product(a, b, bias, room, packs_a=False, packs_b=False):
    """Return bias + a b by the kernel alone, with NaN wherever it wrote nothing."""
    c = np.full((a.shape[0], b.shape[1]), np.nan, a.dtype)
    launch(
        "matrix_product", a.dtype.name, c=c.ctypes.data, ldc=c.strides[0], a=a.ctypes.data,
        lda=a.strides[0], step_a=a.strides[1], b=b.ctypes.data, ldb=b.strides[0],
        step_b=b.strides[1], bias=0 if bias is None else bias.ctypes.data, rows=a.shape[0],
        columns=b.shape[1], k=a.shape[1], room_a=packs_a and room.ctypes.data + ROOM_B,
        room_b=packs_b and room.ctypes.data,
    )  # fmt: skip
    return c


ROWS, WIDTHS, DEPTHS = (1, 2, 3, 8, 9, 21, 257), (1, 16, 17, 33, 65), (0, 1, 17, 255, 257, 513)


@pytest.mark.parametrize("dtype", DTYPES)
def test_products_have_the_same_bits_whatever_is_packed(dtype):
    room = np.zeros(2 * ROOM_B, np.uint8)
    for n, k, m in itertools.product(ROWS, DEPTHS, WIDTHS):
        a, b, bias = normal(dtype, n, k), normal(dtype, k, m), normal(dtype, m)
        wanted = a.astype("float64") @ b + bias
        first = product(a, b, bias, room)
        gap = np.abs(first - wanted).max() / np.abs(wanted).max()
        assert gap <= TOLERANCE[dtype], (n, k, m)
        columns = np.asfortranarray(a)
        for left, right, packs_a, packs_b in (
            (a, b, False, True), (columns, b, False, False), (columns, b, True, False),
            (columns, b, True, True), (a, np.asfortranarray(b), False, True),
            (columns, np.asfortranarray(b), True, True),
        ):  # fmt: skip
            again = product(left, right, bias, room, packs_a, packs_b)
            np.testing.assert_array_equal(again, first, err_msg=f"{n, k, m, packs_a, packs_b}")


@pytest.mark.parametrize("dtype", DTYPES)
def test_columns_are_packed_block_by_block(dtype):
    room = np.zeros(2 * ROOM_B, np.uint8)
    a, b = normal(dtype, 130, 300), normal(dtype, 300, 1100)
    first = product(a, b, None, room)
    columns = np.asfortranarray(a)
    for packs_a, packs_b in ((False, True), (True, False), (True, True)):
        again = product(columns, b, None, room, packs_a, packs_b)
        np.testing.assert_array_equal(again, first)


@pytest.mark.parametrize("dtype", DTYPES)
def test_packed_operands_keep_to_their_rooms(dtype):
    for n, k, m in itertools.product((1, 33, 257), (5, 64, 513), (1, 24, 64, 65, 521)):
        a, b = np.asfortranarray(normal(dtype, n, k)), normal(dtype, k, m)
        of_a, of_b = (block * min(k, K_BLOCK) * a.itemsize for block in (ROW_BLOCK, COLUMN_BLOCK))
        room = np.zeros(ROOM_B + of_a + 4096, np.uint8)
        for right in (b, np.asfortranarray(b)):
            room[of_b:ROOM_B] = room[ROOM_B + of_a :] = 99
            product(a, right, None, room, True, True)
            assert (room[of_b:ROOM_B] == 99).all()
            assert (room[ROOM_B + of_a :] == 99).all()


# layouts


@pytest.mark.parametrize("dtype", DTYPES)
def test_weights_and_delta_in_any_layout_give_the_same_bits(dtype):
    x, delta = normal(dtype, 19, 35), normal(dtype, 19, 21)
    w, bias = normal(dtype, 35, 21), normal(dtype, 21)
    plain_a = kernels.dense(x, w, bias, activation="tanh")
    plain_back = kernels.dense_backward(delta, x, w)
    for name, array in layouts(w).items():
        np.testing.assert_array_equal(kernels.dense(x, array, bias, activation="tanh"), plain_a)
        for ours, wanted in zip(kernels.dense_backward(delta, x, array), plain_back, strict=True):
            np.testing.assert_array_equal(ours, wanted, err_msg=name)
    for name, array in layouts(delta).items():
        for ours, wanted in zip(kernels.dense_backward(array, x, w), plain_back, strict=True):
            np.testing.assert_array_equal(ours, wanted, err_msg=name)


@pytest.mark.parametrize("dtype", DTYPES)
def test_steps_are_taken_in_any_layout(dtype):
    """Of parameters, gradients and state; arrays of another dtype are converted."""
    w, g = normal(dtype, 35, 21), normal(dtype, 35, 21)
    optimizer = Adam(0.1)
    steps = {}
    for name, changed in itertools.product(layouts(w), ("parameter", "gradient", "state", "all")):
        ours = [layouts(each.copy())[name] for each in (w, g, np.zeros_like(w), np.ones_like(w))]
        base = [w.copy(), g.copy(), np.zeros_like(w), np.ones_like(w)]
        which = {"parameter": (0,), "gradient": (1,), "state": (2, 3), "all": range(4)}[changed]
        if name == "unaligned" and changed != "gradient":
            continue  # it is read-only
        parameter, gradient, *state = (ours[i] if i in which else base[i] for i in range(4))
        kept = optimizer.start([parameter])
        kept.slots = [[each] for each in state]
        kernels.optimizer_step(optimizer, [parameter], [gradient], kept)
        steps[name, changed] = [np.array(each) for each in (parameter, *state)]
    first = next(iter(steps.values()))
    for where, arrays in steps.items():
        for ours, wanted in zip(arrays, first, strict=True):
            np.testing.assert_array_equal(ours, wanted, err_msg=str(where))
    wanted = [w.copy(), normal(dtype, 5000)]
    ours = [each.copy() for each in wanted]
    gradients = [g.astype("float64"), np.arange(5000) % 3]
    for backend, parameters in ((reference, wanted), (kernels, ours)):
        state = optimizer.start(parameters)
        for _ in range(3):
            backend.optimizer_step(optimizer, parameters, gradients, state)
    for a, b in zip(ours, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=100 * TOLERANCE[dtype])


def test_read_only_parameters_are_refused():
    frozen = np.ones((2, 2))
    state = Adam().start([frozen])
    frozen.flags.writeable = False
    for backend in BACKENDS.values():
        with pytest.raises(ValueError, match="parameters: expected arrays that can be written"):
            backend.optimizer_step(Adam(), [frozen], [np.ones((2, 2))], state)


def refused(call, error, message):
    for backend in BACKENDS.values():
        with pytest.raises(error, match=f"^{message}"):
            call(backend)


def test_what_are_no_parameters_is_refused_and_left_alone():
    architecture = Architecture((3, 2), dtype="float64")
    w, b, X = np.ones((3, 2)), np.zeros(2), np.ones((4, 3))
    for wrong, error, message in (
        (None, TypeError, "weights: expected a sequence of arrays, got NoneType"),
        ([w.tolist()], TypeError, r"weights\[0\]: expected an array, got list"),
        ([w.astype(int)], TypeError, "weights: expected arrays of float64"),
        ([w.T], ValueError, "weights: expected shapes"),
    ):
        refused(lambda backend, w=wrong: backend.forward(X, w, [b], architecture), error, message)
    whole = [np.arange(3)]
    state = OptimizerState(slots=[[np.zeros(3)]] * 2)
    refused(
        lambda backend: backend.optimizer_step(Adam(1e3), whole, [np.ones(3)], state),
        TypeError, r"parameters\[0\]: expected float32 or float64, got int64",
    )  # fmt: skip
    assert whole[0].tolist() == [0, 1, 2]
    assert state.step == 0


def test_what_is_no_order_or_rate_of_an_epoch_is_refused():
    architecture = Architecture((3, 2), dtype="float64")
    w, b = [np.ones((3, 2))], [np.zeros(2)]
    for name, wrong in (
        ("order", [0.5, 1.0]),
        ("order", np.ones(4, bool)),  # a mask is no list of samples
        ("learning_rate", "fast"),
        ("learning_rate", [[0.1], [0.1, 0.2]]),
    ):
        refused(
            lambda backend, given={name: wrong}: backend.train_epoch(
                np.ones((4, 3)), [0, 1, 0, 1], w, b, architecture, Adam(), Adam().start(w + b),
                **given,
            ),
            TypeError, f"{name}: expected",
        )  # fmt: skip
    assert (w[0] == 1).all()


def test_an_array_of_another_class_is_taken_as_a_plain_one():
    z = normal("float64", 3, 3)
    y = np.eye(3)
    masked = np.ma.masked_array(z, z > 0)
    for backend in BACKENDS.values():
        for call in (
            lambda z, backend=backend: backend.activate(z, activation="gelu"),
            lambda z, backend=backend: (backend.softmax(z),),
            lambda z, backend=backend: backend.output_loss(
                z, y, output="sigmoid", loss="squared_error"
            ),
            lambda z, backend=backend: backend.dense_backward(z, z, z),
        ):
            for ours, wanted in zip(call(z.view(np.matrix)), call(z), strict=True):
                np.testing.assert_array_equal(ours, wanted)
                assert not isinstance(ours, np.matrix)
            with pytest.raises(ValueError, match="expected no masked elements"):
                call(masked)


# calls


@pytest.fixture
def seen(monkeypatch):
    """Have every call made anew; return the phases and threads of those that are made."""
    calls._kind.cache_clear()
    made, phases, whole = [], [], calls.Call.__init__

    def written(shares, sections):
        phases.append(sections["call"])
        return Program(shares, sections)

    def noted(self, *arguments):
        whole(self, *arguments)
        made.append((phases.pop(), self._room))

    monkeypatch.setattr(calls, "Program", written)
    monkeypatch.setattr(calls.Call, "__init__", noted)
    return made


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("threads", "rows", "k", "columns"),
    [(2, 150, 70, 200), (3, 150, 70, 200), (7, 150, 70, 200),
     (2, 200, 400, 64)],  # products of one call pack in rooms of different sizes
)  # fmt: skip
def test_threads_change_no_bit_and_keep_to_their_part(
    monkeypatch, seen, dtype, threads, rows, k, columns
):
    x, w, delta = (normal(dtype, *n) for n in ((rows, k), (k, columns), (rows, columns)))
    bias, labels = normal(dtype, columns), RNG.integers(0, columns, rows)

    def results():
        parameters = [w.copy(), bias.copy()]
        state = Adam().start(parameters)
        kernels.optimizer_step(Adam(), parameters, [w, bias], state)
        return [
            kernels.dense(x, w, bias, activation="sigmoid"), *kernels.dense_backward(delta, x, w),
            kernels.softmax(delta), *kernels.softmax_cross_entropy(delta, labels),
            *kernels.activate(delta, activation="gelu"), *parameters, *state.slots[0],
        ]  # fmt: skip

    monkeypatch.setattr(choose, "choose_threads", lambda *a, **o: 1)
    alone = results()
    seen.clear()
    calls._kind.cache_clear()
    monkeypatch.setattr(calls, "ThreadChoice", lambda: None)
    monkeypatch.setattr(choose, "choose_threads", lambda *a, **o: threads)
    for ours, wanted in zip(results(), alone, strict=True):
        np.testing.assert_array_equal(ours, wanted)
    item, large = x.itemsize, rows * max(k, columns)
    sizes = {
        Slot.OUT: large, Slot.X: large, Slot.PARAMETERS: k * columns,
        Slot.BIAS: columns, Slot.DELTA: rows * columns, Slot.GRADIENT: k * columns, Slot.HYPER: 1,
        Slot.DERIVATIVE: rows * columns,
    }  # fmt: skip
    for phases, room in seen:
        assert len(phases[0].shares) == threads
        arrays = {slot: [Array(slot.name, 0, n * item)] for slot, n in sizes.items()}
        arrays |= {
            slot: [Array(slot.name, 0, n * 8)]
            for slot, n in (
                (Slot.LOSSES, rows),
                (Slot.CORRECT, rows),
                (Slot.ORDER, rows),
                (Slot.Y, rows),
            )
        }
        arrays[Slot.WORKSPACE] = [
            Array(f"room {t}", t * room // threads, room // threads) for t in range(threads)
        ]
        assert faults(phases, item, arrays, [0]) == []


def test_a_grid_covers_a_product_with_as_little_reading_as_can_be():
    assert choose.grid(1000, 100, 2) == (2, 1)
    assert choose.grid(64, 1000, 2) == (1, 2)
    assert choose.grid(1, 10, 8) == (1, 1)
    assert choose.grid(1024, 1024, 4) == (2, 2)
    for rows, columns, threads in itertools.product((1, 7, 100), (1, 65, 2000), (1, 2, 6)):
        down, across = choose.grid(rows, columns, threads)
        assert 1 <= down * across <= threads


@pytest.mark.parametrize("sign", [1, -1])
def test_few_rows_pack_weights_that_come_from_memory(sign):
    far, near = (1024 * 8, 8, sign * 2048 * 8, 8), (1024 * 8, 8, sign * 1024 * 8, 8)
    found = [choose.packed_operands(rows, 1024, 2048, 8, far) for rows in (2, 3, 47)]
    assert found == [(False, False), (False, True), (False, True)]
    assert choose.packed_operands(47, 512, 1024, 8, near) == (False, False)


def test_what_a_signal_calls_leaves_the_room_of_a_call_alone(monkeypatch):
    honest, rooms = Executable.run, []

    def run(*arguments):
        if not rooms:  # as if a handler had been called here
            rooms.append(weakref.ref(calls._room.bytes))
            before = calls._room.bytes.nbytes
            kernels.dense(*large)
            assert calls._room.bytes.nbytes > before
            assert rooms[0]() is not None
        return honest(*arguments)

    monkeypatch.setattr(calls._room, "bytes", np.zeros(0, np.uint8))
    small, large = (
        (normal(dtype, 70, n), normal(dtype, n, n).T)
        for dtype, n in (("float32", 90), ("float64", 900))
    )
    wanted = kernels.dense(*small)
    monkeypatch.setattr(Executable, "run", run)
    np.testing.assert_array_equal(kernels.dense(*small), wanted)
    assert rooms


def test_few_calls_are_kept(monkeypatch):
    monkeypatch.setattr(calls, "_kind", lru_cache(3)(calls._kind.__wrapped__))
    for n in range(1, 8):
        kernels.dense(np.ones((n, 2)), np.ones((2, 3)))
    assert calls._kind.cache_info().currsize == 3
    assert not np.isnan(kernels.dense(np.ones((1, 2)), np.ones((2, 3)))).any()


def test_a_call_is_made_once(seen):
    x, w = np.ones((4, 3)), np.ones((3, 2))
    for _ in range(5):
        kernels.dense(x, w)
        kernels.dense(x.copy(), w.copy(), np.zeros(2))
    assert len(seen) == 2


def test_addresses_are_those_that_numpy_says():
    for array in (np.zeros(3), np.zeros((4, 5))[1:, ::-2], np.zeros(0), np.float32(1)[None]):
        assert calls.address_of(array) == array.ctypes.data


def test_where_objects_look_otherwise_numpy_is_asked(monkeypatch):
    monkeypatch.setattr(calls, "_HEAD", calls._HEAD + 8)
    assert calls._quickest() is calls._address_by_name
    monkeypatch.undo()
    assert calls._quickest() is calls._address_in_object


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_large_arrays_of_any_shape_are_activated(activation):
    for shape in ((5000,), (3, 1000, 2), (), (0,), (4, 0), (1, 2049)):
        z = 3 * normal("float64", *shape)
        ours, wanted = (b.activate(np.asarray(z), activation=activation) for b in BACKENDS.values())
        for a, b in zip(ours, wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_rows_are_counted_to_as_far_as_is_asked():
    assert plain.count_to(5)[:5].tolist() == [0, 1, 2, 3, 4]
    long = plain.count_to(100_000)
    assert len(long) >= 100_000
    assert long[99_999] == 99_999
