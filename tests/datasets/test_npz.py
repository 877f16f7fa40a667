"""load_npz: what it reads, and what it refuses and how."""

import io
import os
import struct
import zipfile
from contextlib import suppress

import numpy as np
import pytest
from readers import IDX, IMAGES, LABELS, at_most, zipped

from fastmlp.datasets import _files, load_csv, load_idx, load_npz


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
