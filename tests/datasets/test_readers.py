"""load_idx, load_csv and load_npz: what they read, and what they refuse and how."""

import gzip
import io
import os
import struct
import tracemalloc
import zipfile
from contextlib import contextmanager, suppress

import numpy as np
import pytest

from fastmlp.datasets import _csv, _files, load_csv, load_idx, load_npz

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)
LABELS = np.array([3, 0, 9, 1, 1])


def zipped(content):
    """Return gzip's bytes without the time of day: they are in the names of tests."""
    return gzip.compress(content, mtime=0)


def idx_header(code, *shape):
    return bytes([0, 0, code, len(shape)]) + struct.pack(f">{len(shape)}I", *shape)


@pytest.fixture
def refused(tmp_path):
    """Check that a reader refuses some bytes, with the file's name and the reason."""

    def check(reader, content, reason):
        file = tmp_path / "given"
        file.write_bytes(content)
        with pytest.raises(ValueError, match=rf"given: expected .*(?:{reason})"):
            reader(file)

    return check


@contextmanager
def at_most(size):
    """Check that no more than so many bytes are taken at a time."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < size
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("reader", [load_idx, load_csv, load_npz])
class TestPaths:
    def test_missing(self, reader, tmp_path):
        with pytest.raises(FileNotFoundError, match="nowhere"):
            reader(tmp_path / "nowhere")

    def test_folder_and_pipe(self, reader, tmp_path):
        with pytest.raises(ValueError, match="got a folder"):
            reader(tmp_path)
        if hasattr(os, "mkfifo"):
            os.mkfifo(tmp_path / "pipe")
            with pytest.raises(ValueError, match=r"pipe: .*not a regular file"):
                reader(tmp_path / "pipe")

    @pytest.mark.parametrize("path", [None, 3, b"bytes", ["x"], io.BytesIO()])
    def test_wrong_type(self, reader, path):
        with pytest.raises(TypeError, match="path: expected"):
            reader(path)

    @pytest.mark.parametrize("path", ["", "a\0b"])
    def test_no_name(self, reader, path):
        with pytest.raises(ValueError, match="path: expected the name"):
            reader(path)

    def test_empty(self, reader, refused):
        refused(reader, b"", "empty file")

    @pytest.mark.parametrize("content", [b"\x1f\x8b", b"\x1f\x8b\x08\0\0\0\0\0\0\xff\xff\xff"])
    def test_broken_gzip(self, reader, refused, content):
        refused(reader, content, "")


# IDX


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("code", "dtype"),
    [(8, "u1"), (9, "i1"), (0x0B, "i2"), (0x0C, "i4"), (0x0D, "f4"), (0x0E, "f8")],
)
def test_idx_dtypes(tmp_path, code, dtype, packed):
    values = np.arange(-3, 3).reshape(2, 3).astype(dtype) * 40
    content = idx_header(code, 2, 3) + values.astype(f">{dtype}").tobytes()
    file = tmp_path / "named.txt"
    file.write_bytes(gzip.compress(content) if packed else content)
    got = load_idx(file)
    assert got.dtype == np.dtype(dtype)
    assert got.dtype.isnative
    assert np.array_equal(got, values)
    assert got.flags.writeable
    assert got.flags.c_contiguous
    assert got.flags.aligned


@pytest.mark.parametrize("shape", [(), (0,), (7,), (2, 3), (3, 0, 2), (2, 1, 3, 2, 2), (1,) * 32])
def test_idx_any_number_of_dimensions(tmp_path, shape):
    values = np.arange(np.prod(shape, dtype=int), dtype=np.uint8).reshape(shape)
    (tmp_path / "a").write_bytes(idx_header(8, *shape) + values.tobytes())
    got = load_idx(str(tmp_path / "a"))
    assert got.shape == shape
    assert np.array_equal(got, values)


def test_idx_of_several_gzip_members(tmp_path):
    content = idx_header(8, 4) + b"abcd"
    (tmp_path / "a").write_bytes(gzip.compress(content[:7]) + gzip.compress(content[7:]))
    assert load_idx(tmp_path / "a").tobytes() == b"abcd"


IDX = idx_header(8, 5, 28, 28) + IMAGES.tobytes()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\0\0\x08", "should begin with 00 00, .* got 00 00 08"),
        (b"\1" + IDX[1:], "got 01 00 08 03"),
        (b"\0\0\x0a" + IDX[3:], "got 00 00 0a 03"),
        (b"label,pixel0\n1,2\n", "should begin with"),
        (IDX[:9], "header ends before"),
        (idx_header(8, *(1,) * 65) + b"a", "at most 64 dimensions, got 65"),
        (IDX[:-1], r"claims shape \(5, 28, 28\), 3920 bytes"),
        (IDX + b"x", "3920 bytes, got more"),
        (idx_header(8, *(2**32 - 1,) * 3), "more than this file may hold"),
        (idx_header(0x0E, 0, *(2**32 - 1,) * 3), "no array can have"),
        (zipped(IDX[:-1]), "3920 bytes, got only 3919"),
        (zipped(IDX + b"x"), "3920 bytes, got more"),
        (zipped(idx_header(8, 10) + bytes(5_000_000)), "10 bytes, got more"),
        (zipped(idx_header(8, 2**31)), "more than this file may hold"),
        (zipped(IDX)[:-1], "ended before|end-of-stream"),
        (zipped(IDX)[:-400], "ended before|end-of-stream"),
        (zipped(IDX)[:-8] + bytes(8), "CRC"),
        (zipped(IDX) + b"trailing", "gzip"),
    ],
)
def test_idx_errors(refused, content, reason):
    refused(load_idx, content, reason)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_lying_idx_header_costs_nothing(refused, pack):
    with at_most(1 << 20):
        refused(load_idx, pack(idx_header(8, 2**32 - 1, 2)), "more than this file may hold")


# CSV


def test_csv_layouts(tmp_path):
    file = tmp_path / "a.csv"
    X, y = np.array([[0, 255, 3], [7, 8, 9]]), [4, 65535]
    for text in [
        "4,0,255,3\n65535,7,8,9\n",
        "4,0,255,3\r\n65535,7,8,9",
        "\n4,0,255,3\n\n  \n65535,7,8,9\n\n",
        "label,a,b,c\n4,0,255,3\n65535,7,8,9\n",
        "a, LABEL ,b,c\n0,4,255,3\n7,65535,8,9\n",
        '"a","b","c","label"\n"0","255","3","4"\n7,8,9,65535\n',
        "\ufefflabel,a,b,c\n4,0,255,3\n65535,7,8,9\n",
        "\ufeff4,0,255,3\n65535,7,8,9\n",
        "4.0, 0, 255.0,3e0\n65535,7,8,9\n",
    ]:
        for pack in (bytes, gzip.compress):
            file.write_bytes(pack(text.encode()))
            got_X, got_y = load_csv(file)
            assert (got_X.dtype, got_y.dtype) == (np.uint8, np.int64), text
            assert np.array_equal(got_X, X), text
            assert np.array_equal(got_y, y), text
            assert got_X.flags.c_contiguous
            assert got_X.flags.writeable


@pytest.mark.parametrize("value", ["256", "-1", "0.5", "1e-3", "123456789"])
@pytest.mark.parametrize("block", [1, 1 << 22])
def test_csv_values_beyond_uint8_make_all_of_it_float64(tmp_path, monkeypatch, value, block):
    monkeypatch.setattr(_csv, "_BLOCK", block)
    (tmp_path / "a").write_text(f"1,2,3\n4,{value},6\n7,8,9\n")
    X, y = load_csv(tmp_path / "a")
    assert X.dtype == np.float64
    assert np.array_equal(X, [[2, 3], [float(value), 6], [8, 9]])
    assert y.tolist() == [1, 4, 7]


def test_csv_single_row_and_single_column(tmp_path):
    (tmp_path / "a").write_text("3,4")
    X, y = load_csv(tmp_path / "a")
    assert X.shape == (1, 1)
    assert X[0, 0] == 4
    assert y.tolist() == [3]


@pytest.mark.parametrize("block", [1, 7, 1 << 22])
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("\n \n\n", "only empty lines"),
        ("label,a\n", "a header and no rows"),
        ("5\n4\n", "line 1 should have at least 2 cells, got 1"),
        ("a,b,c\n1,2,3\n", "one column 'label'; got 0 of them in 'a', 'b', 'c'"),
        ("label,label,c\n1,2,3\n", "one column 'label'; got 2"),
        ("x,2,3\n1,2,3\n", "got 0 of them in 'x', '2', '3'"),
        ("1,2,3\n1,2\n", "line 2 should have 3 cells, got 2"),
        ("1,2,3\n\n1,2,3,4\n", "line 3 should have 3 cells, got 4"),
        ("1,2,3\n1,2,3,\n", "line 2 should have 3 cells, got 4"),
        ("label,a\n1,2,3\n1,2,3\n", "line 2 should have 2 cells, got 3"),
        ("1,2\n1,x\n", "line 2, column 2 should be a finite number, got 'x'"),
        ("1,2\n1,\n", "line 2, column 2 should be a finite number, got ''"),
        ("1,2\n1,nan\n", "line 2, column 2 should be a finite number, got 'nan'"),
        ("1,2\n1,2\n1,-inf\n", "line 3, column 2 should be a finite number, got '-inf'"),
        ("1,2\n1,1e999\n", "line 2, column 2 should be a finite number"),
        ("1,2\n# note\n", "line 2 should have 2 cells, got 1"),
        ("1,2\n1,2 # note\n", "line 2, column 2 should be a finite number"),
        ("1;2\n3;4\n", "got 0 of them in '1;2'"),
        ("1,2\n-1,2\n", "labels: expected labels from 0 to 65535, got -1"),
        ("1,2\n65536,2\n", "labels: expected labels from 0 to 65535, got 65536"),
        ("1,2\n1.5,2\n", "labels: expected whole numbers, got 1.5 at index 1"),
        ("1,2\n1e300,2\n", "labels: expected labels from 0 to 65535"),
    ],
)
def test_csv_errors(refused, monkeypatch, text, reason, block):
    monkeypatch.setattr(_csv, "_BLOCK", block)
    refused(load_csv, text.encode(), reason)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"1,2\n3,\xff\n", "utf-8"),
        (IDX, ""),
        (b"1,2\n3,\x004\n", "line 2"),
        (zipped(b"1,2\n" * 50_000)[:-9], "ended before|end-of-stream"),
        (zipped(b"1,2\n") + b"trailing", "gzip"),
    ],
)
def test_csv_damage(refused, content, reason):
    refused(load_csv, content, reason)


def test_csv_bounds(refused, monkeypatch):
    monkeypatch.setattr(_csv, "MAX_TEXT", 1000)
    refused(load_csv, gzip.compress(b"1,2\n" * 251), "it goes beyond the length allowed, 1000")
    refused(load_csv, b"1,2\n" * 251, "it goes beyond the length allowed, 1000")
    monkeypatch.setattr(_csv, "_MAX_LINE", 100)
    refused(load_csv, b"1,2\n" + b"1" * 5000, "line 2 goes beyond")


def test_csv_of_mnist_size_is_parsed_as_integers(tmp_path, monkeypatch):
    """A tenth of MNIST: 0.07 s as uint8, 0.7 s where floats are parsed."""
    row = ",".join(str(value % 256) for value in range(785))
    (tmp_path / "a").write_text((row + "\n") * 6000)
    loadtxt, parsed = np.loadtxt, []

    def spy(rows, *, dtype, **options):
        parsed.append((dtype, len(rows)))
        return loadtxt(rows, dtype=dtype, **options)

    monkeypatch.setattr(np, "loadtxt", spy)
    X, y = load_csv(tmp_path / "a")
    assert {dtype for dtype, _ in parsed} == {np.uint8}
    assert sum(rows for _, rows in parsed) == 6000
    assert X.shape == (6000, 784)
    assert X.dtype == np.uint8
    assert not y.any()


# NPZ


def keras(**changes):
    arrays = {"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES[:2], "y_test": LABELS[:2]}
    arrays |= changes
    return {name: array for name, array in arrays.items() if array is not None}


def npz_bytes(save=np.savez, **changes):
    stream = io.BytesIO()
    save(stream, **keras(**changes))
    return stream.getvalue()


def npy_bytes(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def zip_bytes(method=zipfile.ZIP_DEFLATED, **members):
    """An archive whose members are the given bytes, for what `numpy.savez` would not write."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, array in keras().items():
            archive.writestr(f"{name}.npy", members.get(name, npy_bytes(array)))
    return stream.getvalue()


def npy_header(text, version=(1, 0)):
    text = text.encode().ljust(117) + b"\n"
    size = struct.pack("<H" if version == (1, 0) else "<I", len(text))
    return b"\x93NUMPY" + bytes(version) + size + text


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("dtype", ["u1", "<i4", ">i4", "<f4", ">f8", "?"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npz_round_trip(tmp_path, save, dtype, order):
    images = np.asarray(IMAGES.astype(dtype), order=order)
    (tmp_path / "a").write_bytes(
        npz_bytes(save, x_train=images, y_train=LABELS[:, None].astype(">i2"), other=np.ones(3))
    )
    sets = load_npz(tmp_path / "a")
    assert sets._fields == ("x_train", "y_train", "x_test", "y_test")
    assert sets.x_train.dtype == np.dtype(dtype).newbyteorder("=")
    assert sets.x_train.dtype.isnative
    assert np.array_equal(sets.x_train, IMAGES.astype(dtype).reshape(5, 784))
    assert np.array_equal(sets.x_test, IMAGES[:2].reshape(2, 784))
    assert np.array_equal(sets.y_train, LABELS)
    assert np.array_equal(sets.y_test, LABELS[:2])
    assert sets.y_train.dtype == sets.y_test.dtype == np.int64
    assert sets.x_train.flags.writeable
    assert sets.x_train.flags.c_contiguous


def test_npz_with_the_second_header_version(tmp_path):
    header = npy_header(str({"descr": "<i8", "fortran_order": False, "shape": (5,)}), (2, 0))
    (tmp_path / "a").write_bytes(zip_bytes(y_train=header + LABELS.tobytes()))
    assert np.array_equal(load_npz(tmp_path / "a").y_train, LABELS)


class Payload:
    """Unpickling this would leave a trace."""

    def __reduce__(self):
        return (exec, ("import os; os.environ['FASTMLP_TEST_UNPICKLED'] = '1'",))


def test_npz_never_unpickles(refused):
    trap = np.array([Payload()] * 5, dtype=object)
    refused(load_npz, npz_bytes(y_train=trap), "y_train.npy holds Python objects")
    assert "FASTMLP_TEST_UNPICKLED" not in os.environ


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"y_test": None}, "y_test missing, the archive holds x_test.npy"),
        ({"x_train": None, "y_train": None}, "x_train, y_train missing"),
        ({"y_train": np.array(list("abcde"))}, "y_train.npy should be numeric, got dtype <U1"),
        ({"x_train": IMAGES.astype(complex)}, "x_train.npy should be numeric"),
        ({"x_train": np.zeros(5, "i4,f4")}, "x_train.npy should be numeric"),
        ({"x_train": np.zeros(5)}, r"x_train should have shape \(n, 28, 28\), got \(5,\)"),
        ({"x_train": np.float64(3)}, "x_train should have shape"),
        ({"x_train": IMAGES[:4]}, "x_train and y_train should be equally long, got 4 and 5"),
        ({"x_test": IMAGES[:2, 1:]}, "equally many columns, got 784 and 756"),
        ({"x_test": IMAGES[:0], "y_test": LABELS[:0]}, "x_test should not be empty"),
        ({"x_train": IMAGES[:, :, :0], "x_test": IMAGES[:2, :, :0]}, "x_train should not be empty"),
        ({"y_train": LABELS.reshape(1, 5)}, r"y_train: expected labels of shape \(n,\)"),
        ({"y_train": np.eye(5)}, r"y_train: expected labels of shape \(n,\)"),
        ({"y_train": LABELS - 1}, "y_train: expected labels from 0 to 65535, got -1"),
        ({"y_test": LABELS[:2] + 70_000}, "y_test: expected labels from 0 to 65535, got 70003"),
        ({"y_test": LABELS[:2] + 0.5}, "y_test: expected whole numbers, got 3.5"),
    ],
)
def test_npz_contents(refused, changes, reason):
    refused(load_npz, npz_bytes(**changes), reason)


IMAGE_HEADER = "{'descr': '|u1', 'fortran_order': False, 'shape': (5, 28, 28), }"


@pytest.mark.parametrize(
    ("x_train", "reason"),
    [
        (b"", "x_train.npy|magic"),
        (b"not an array", "magic"),
        (npy_bytes(IMAGES)[:-1], r"x_train.npy claims shape \(5, 28, 28\)"),
        (npy_bytes(IMAGES) + b"x", r"x_train.npy claims shape \(5, 28, 28\)"),
        (npy_header(IMAGE_HEADER.replace("28)", "2**40)")), "header"),
        (npy_header(IMAGE_HEADER.replace("28)", f"{2**40})")), "claims shape .*1099511627776"),
        (npy_header(IMAGE_HEADER.replace("5, 28", "-5, -28")) + IMAGES.tobytes(), "claims shape"),
        (npy_header(IMAGE_HEADER.replace("|u1", "|V0")), "numeric"),
        (npy_header("{[]: 1}"), "header"),
        (npy_header("(" * 110), "header"),
        (npy_header("{'descr': '|u1'}"), "header|keys"),
        (npy_header(IMAGE_HEADER, (3, 0)) + IMAGES.tobytes(), r"version .* got \(3, 0\)"),
        (npy_header(IMAGE_HEADER, (9, 9)), "version"),
    ],
)
def test_npz_damaged_member(refused, x_train, reason):
    refused(load_npz, zip_bytes(x_train=x_train), reason)


def test_npz_bomb_is_refused_by_its_header(refused, monkeypatch):
    bomb = npz_bytes(np.savez_compressed, x_train=np.zeros((5, 1000, 1000), np.uint8))
    monkeypatch.setattr(_files, "FREE_BYTES", 4_000_000)
    refused(load_npz, bomb, "x_train.npy claims 5000128 bytes, more than 4000000")
    parts = {name: np.zeros((3, 1000, 1000), np.uint8) for name in ("x_train", "x_test")}
    bomb = npz_bytes(np.savez_compressed, **parts)
    refused(load_npz, bomb, "x_test.npy claims 3000128 bytes, more than 9")  # what is left


@pytest.mark.parametrize("claimed", [2**31 + 1, 2**32 - 2])
def test_npz_false_size_is_refused_at_once(refused, claimed):
    content = bytearray(zip_bytes())
    entry = content.index(b"PK\x01\x02")  # the directory entry of x_train, the first member
    content[entry + 24 : entry + 28] = struct.pack("<I", claimed)
    with at_most(1 << 20):
        refused(load_npz, bytes(content), f"x_train.npy claims {claimed} bytes")


def test_npz_broken_archives(refused):
    good = npz_bytes()
    for content, reason in [
        (good[:-30], ""),
        (good[: len(good) // 2], ""),
        (b"PK\x03\x04", ""),
        (b"PK\x05\x06" + bytes(18), "missing, the archive holds nothing"),
        (IDX, ""),
        (zip_bytes(zipfile.ZIP_LZMA), "should be stored or deflated"),
        (zip_bytes(zipfile.ZIP_BZIP2), "should be stored or deflated"),
    ]:
        refused(load_npz, content, reason)
    at = good.index(IMAGES.tobytes()[:64])
    refused(load_npz, good[:at] + bytes(64) + good[at + 64 :], "CRC")
    entry = good.index(b"PK\x01\x02")
    encrypted = bytearray(good)
    encrypted[entry + 8] |= 1
    refused(load_npz, bytes(encrypted), "encrypted")
    outside = bytearray(good)
    outside[entry + 42 : entry + 46] = struct.pack("<I", 2**31)
    refused(load_npz, bytes(outside), "should begin within")


@pytest.mark.parametrize(
    "pack", [pytest.param(np.savez, marks=pytest.mark.slow), np.savez_compressed]
)
def test_any_flipped_byte_reads_or_raises_value_error(tmp_path, pack):
    rng = np.random.default_rng(1)
    sources = [
        (load_npz, npz_bytes(pack)),
        (load_idx, zipped(IDX)),
        (load_csv, zipped(b"label,a,b\n" + b"1,2,3\n" * 40)),
    ]
    for reader, good in sources:
        for _ in range(150):
            content = bytearray(good)
            # The structure stands at both ends; a flip in the middle is a checksum's affair.
            at = int(rng.integers(0, min(300, len(good)))) * (1 if rng.random() < 0.5 else -1)
            content[at] = rng.integers(0, 256)
            (tmp_path / "given").write_bytes(content)
            with suppress(ValueError):
                reader(tmp_path / "given")
