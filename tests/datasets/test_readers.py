"""load_idx, load_csv and load_npz: what they read, and what they refuse and how."""

import gzip
import io
import os

import numpy as np
import pytest
from readers import IDX, at_most, idx_header, zipped

from fastmlp.datasets import _csv, load_csv, load_idx, load_npz


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
        ("1,2\n1,x\n", "line 2, column 1 should be a finite number, got 'x'"),
        ("1,2\n1,\n", "line 2, column 1 should be a finite number, got ''"),
        ("1,2\n1,nan\n", "line 2, column 1 should be a finite number, got 'nan'"),
        ("1,2\n1,2\n1,-inf\n", "line 3, column 1 should be a finite number, got '-inf'"),
        ("1,2\n1,1e999\n", "line 2, column 1 should be a finite number"),
        ("1,2\n# note\n", "line 2 should have 2 cells, got 1"),
        ("1,2\n1,2 # note\n", "line 2, column 1 should be a finite number"),
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
