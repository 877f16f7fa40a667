"""MNIST inside the package, and where else it may be read from."""

import doctest
import gzip
import hashlib
import importlib
import inspect
import lzma
import struct
import subprocess
import sys

import numpy as np
import pytest

from fastmlp import datasets
from fastmlp.datasets import MNIST, _mnist, _pack, load_csv, load_mnist

MD5 = {
    "x_train": "6bbc9ace898e44ae57da46a324031adb",
    "y_train": "a25bea736e30d166cdddb491f175f624",
    "x_test": "2646ac647ad5339dbf082846283269ea",
    "y_test": "27ae3e4e09519cfbb04c329615203637",
}
STEMS = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")


def idx_bytes(array):
    """An IDX file of uint8, written here independently of the reader."""
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(np.uint8).tobytes()


def idx_images(x):
    return idx_bytes(x.reshape(-1, 28, 28))


def write_idx(folder, sets, names=tuple(f"{stem}-ubyte" for stem in STEMS)):
    parts = idx_images(sets[0]), idx_bytes(sets[1]), idx_images(sets[2]), idx_bytes(sets[3])
    for name, part in zip(names, parts, strict=True):
        packed = gzip.compress(part, 1) if name.endswith(".gz") else part
        (folder / name).write_bytes(packed)
    return folder


def csv_text(x, y, header=True):
    rows = ["label," + ",".join(f"pixel{i}" for i in range(x.shape[1]))] if header else []
    rows += [",".join(map(str, [label, *row])) for label, row in zip(y, x, strict=True)]
    return "\n".join(rows) + "\n"


def write_csv(path, x, y, header=True):
    text = csv_text(x, y, header).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)


def same(got, expected):
    assert isinstance(got, MNIST)
    for name, a, b in zip(MNIST._fields, got, expected, strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape), name
        assert np.array_equal(a, b), name


@pytest.fixture(scope="module")
def raw():
    sets = load_mnist("uint8")
    for array in sets:
        array.setflags(write=False)
    return sets


@pytest.fixture(scope="module")
def small(raw):
    return MNIST(raw.x_train[:24], raw.y_train[:24], raw.x_test[:7], raw.y_test[:7])


# The copy inside the package


def test_shapes_and_dtypes(raw):
    assert [a.shape for a in raw] == [(60000, 784), (60000,), (10000, 784), (10000,)]
    assert [a.dtype for a in raw] == [np.uint8, np.int64, np.uint8, np.int64]
    assert MNIST._fields == ("x_train", "y_train", "x_test", "y_test")


def test_the_files_are_the_original_ones_to_the_byte(raw):
    for name, array in zip(MNIST._fields, raw, strict=True):
        content = idx_images(array) if array.ndim == 2 else idx_bytes(array)
        assert hashlib.md5(content).hexdigest() == MD5[name], name


def test_class_counts(raw):
    assert np.bincount(raw.y_train).tolist() == [
        *(5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949)
    ]
    assert np.bincount(raw.y_test).tolist() == [
        *(980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009)
    ]


@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.slow)])
def test_floats_are_the_rounded_quotients(raw, dtype):
    got = load_mnist(dtype)
    quotients = (np.arange(256) / 255.0).astype(dtype)
    assert len(np.unique(quotients)) == 256
    for scaled, pixels in ((got.x_train, raw.x_train), (got.x_test, raw.x_test)):
        assert scaled.dtype == dtype
        # In blocks, since take turns uint8 indices into int64.
        for at in range(0, len(pixels), 5000):
            assert np.array_equal(scaled[at : at + 5000], quotients[pixels[at : at + 5000]])
    assert got.x_train.min() == 0
    assert got.x_train.max() == 1
    assert np.array_equal(got.y_train, raw.y_train)
    assert got.y_test.dtype == np.int64


def test_every_pixel_value_is_exact():
    pixels = np.arange(256, dtype=np.uint8)
    for dtype in (np.dtype("float32"), np.dtype("float64")):
        assert np.array_equal(_mnist._scaled(pixels, dtype), (pixels / 255.0).astype(dtype))


def test_the_default_is_float32_and_arrays_are_the_callers_own():
    first, pixels = load_mnist(), load_mnist("uint8")
    assert first.x_train.dtype == np.float32
    before = pixels.x_test[0].copy()
    for array in (*first, *pixels):
        assert array.flags.writeable
        assert array.flags.c_contiguous
        array[...] = 0
    assert np.array_equal(load_mnist("uint8").x_test[0], before)


def test_the_readme_beside_the_data_tells_source_licence_and_hashes():
    text = (_mnist.ARCHIVE.parent / "README.md").read_text(encoding="utf-8")
    payload = lzma.decompress(_mnist.ARCHIVE.read_bytes())
    offset = 0
    for size in (47_040_016, 60_008, 7_840_016, 10_008):
        assert hashlib.sha256(payload[offset : offset + size]).hexdigest() in text
        assert f"{size:,}" in text
        offset += size
    assert offset == len(payload) == _mnist.PAYLOAD_BYTES
    assert hashlib.sha256(payload).hexdigest() in text
    for words in ("LeCun", "Cortes", "Burges", "CC BY-SA 3.0", *MD5.values()):
        assert words in text


def altered_payload(archive):
    payload = bytearray(lzma.decompress(archive))
    payload[1000] ^= 1
    return lzma.compress(bytes(payload), preset=0)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        pytest.param(altered_payload, "SHA-256", marks=pytest.mark.slow),
        (lambda archive: archive[:-50_000], "SHA-256"),
        (lambda archive: lzma.compress(bytes(_mnist.PAYLOAD_BYTES + 9), preset=0), "SHA-256"),
        (lambda archive: archive[:5_000_000] + b"!!!!" + archive[5_000_004:], "xz|orrupt|SHA"),
        (lambda archive: b"not xz at all", "format"),
        (lambda archive: b"", "SHA-256"),
    ],
)
def test_a_damaged_archive_is_refused(tmp_path, monkeypatch, damage, reason):
    copy = tmp_path / "mnist.xz"
    copy.write_bytes(damage(_mnist.ARCHIVE.read_bytes()))
    monkeypatch.setattr(_mnist, "ARCHIVE", copy)
    with pytest.raises(ValueError, match=f"mnist\\.xz: .*({reason})"):
        load_mnist("uint8")


def test_another_expected_hash_is_refused(monkeypatch):
    monkeypatch.setattr(_mnist, "PAYLOAD_SHA256", "0" * 64)
    with pytest.raises(ValueError, match=r"SHA-256 should be 0{64}, got b2d8f5bf"):
        load_mnist("uint8")


@pytest.mark.slow
def test_pack_joins_the_four_files_and_what_it_writes_loads(raw, tmp_path, monkeypatch):
    names = [f"{stem}-ubyte" for stem in STEMS]
    names[1], names[2] = names[1] + ".gz", names[2].replace("-idx", ".idx")
    write_idx(tmp_path, raw, names)
    monkeypatch.setattr(_pack, "PRESET", 0)  # the real one takes 40 s
    out = tmp_path / "out.xz"
    _pack.pack(tmp_path, out)
    assert lzma.decompress(out.read_bytes()) == lzma.decompress(_mnist.ARCHIVE.read_bytes())
    monkeypatch.setattr(_mnist, "ARCHIVE", out)
    same(load_mnist("uint8"), raw)


def test_pack_refuses_anything_but_mnist(small, tmp_path):
    with pytest.raises(ValueError, match="got none of them"):
        _pack.payload(tmp_path)
    with pytest.raises(ValueError, match="SHA-256"):
        _pack.payload(write_idx(tmp_path, small))


def test_import_is_light():
    code = (
        "import sys, fastmlp.datasets as d; d.one_hot([1]);"
        "print([m for m in ('numba','pandas','matplotlib','sklearn','scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["_csv", "_idx", "_mnist", "_npz", "_sets", "_split"])
def test_examples_run(name):
    result = doctest.testmod(importlib.import_module(f"fastmlp.datasets.{name}"))
    assert result.attempted > 0
    assert result.failed == 0


def test_everything_public_is_documented_with_an_example():
    for name in datasets.__all__:
        text = inspect.getdoc(getattr(datasets, name))
        assert ">>> " in text, name
        if name != "MNIST":
            assert all(part in text for part in ("Parameters\n--", "Returns\n--", "Raises\n--"))


# From a path


IDX_NAMINGS = [
    [f"{stem}-ubyte" for stem in STEMS],
    [f"{stem}-ubyte.gz" for stem in STEMS],
    [f"{stem.replace('-idx', '.idx')}-ubyte" for stem in STEMS],
    [f"{stem.replace('-idx', '.idx')}-ubyte.gz" for stem in STEMS],
]


@pytest.mark.parametrize("names", IDX_NAMINGS)
def test_idx_folder(small, tmp_path, names):
    write_idx(tmp_path, small, names)
    got = load_mnist("uint8", path=tmp_path)
    same(got, small)
    assert all(array.flags.writeable for array in got)
    scaled = load_mnist(path=str(tmp_path))
    assert np.array_equal(scaled.x_train, (small.x_train / 255.0).astype("float32"))


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_csv_folder(small, tmp_path, suffix):
    write_csv(tmp_path / f"mnist_train.csv{suffix}", small.x_train, small.y_train)
    write_csv(tmp_path / f"mnist_test.csv{suffix}", small.x_test, small.y_test, header=False)
    same(load_mnist("uint8", path=tmp_path), small)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz(small, tmp_path, save):
    images = {"x_train": small.x_train, "x_test": small.x_test}
    file = tmp_path / "any name"
    with open(file, "wb") as stream:
        save(
            stream,
            **{name: x.reshape(-1, 28, 28) for name, x in images.items()},
            y_train=small.y_train.astype(np.uint8),
            y_test=small.y_test.astype(np.float32),
        )
    same(load_mnist("uint8", path=file), small)


@pytest.mark.parametrize(("n", "n_test"), [(2, 1), (6, 1), (13, 1), (14, 2), (24, 3)])
def test_single_csv_gives_its_last_seventh_to_the_test(small, tmp_path, n, n_test):
    x, y = small.x_train[:n], small.y_train[:n]
    write_csv(tmp_path / "all.csv", x, y, header=n % 2 == 0)
    expected = MNIST(x[: n - n_test], y[: n - n_test], x[n - n_test :], y[n - n_test :])
    same(load_mnist("uint8", path=tmp_path / "all.csv"), expected)


def test_single_csv_sorted_by_class_gives_rows_of_all_to_the_test(small, tmp_path):
    x = np.arange(140 * 784).reshape(140, 784) % 251
    y = np.repeat(np.arange(2), 70)
    write_csv(tmp_path / "all.csv", x, y, header=True)
    sets = load_mnist("uint8", path=tmp_path / "all.csv")
    assert len(sets.y_test) == 20
    assert set(sets.y_test) == set(sets.y_train) == {0, 1}
    together = np.concatenate([sets.x_train, sets.x_test])
    assert {row.tobytes() for row in together} == {row.tobytes() for row in x.astype(np.uint8)}
    same(load_mnist("uint8", path=tmp_path / "all.csv"), sets)


@pytest.mark.parametrize("names", [range(5), range(2019, 2024), (1900, 1950, 1980, 1990, 2020)])
def test_a_header_of_numbers_is_no_sample(tmp_path, names):
    rng = np.random.default_rng(0)
    rows = np.column_stack([rng.integers(0, 3, 30), rng.random((30, 4)).round(2)])
    np.savetxt(
        tmp_path / "a.csv", rows, fmt="%s", delimiter=",", comments="",
        header=",".join(map(str, names)),
    )  # fmt: skip
    X, y = load_csv(tmp_path / "a.csv")
    np.testing.assert_array_equal(X, rows[:, 1:])
    np.testing.assert_array_equal(y, rows[:, 0])
    np.savetxt(tmp_path / "b.csv", rows, fmt="%s", delimiter=",")
    assert len(load_csv(tmp_path / "b.csv")[0]) == 30
    whole = rng.integers(0, 200, (30, 5))
    np.savetxt(tmp_path / "c.csv", whole, fmt="%d", delimiter=",")
    assert len(load_csv(tmp_path / "c.csv")[0]) == 30


def test_whole_pixels_of_other_dtypes_become_uint8(small, tmp_path):
    file = tmp_path / "a.npz"
    floats = small._replace(x_train=small.x_train.astype(float), x_test=small.x_test.astype(int))
    np.savez(file, **floats._asdict())
    same(load_mnist("uint8", path=file), small)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"y_test": np.full(7, 10)}, "labels from 0 to 9, got 10"),
        ({"x_train": np.zeros((24, 783)), "x_test": np.zeros((7, 783))}, "784 columns, got 783"),
        ({"x_test": np.full((7, 784), 0.5)}, "x_test should hold whole pixels"),
        ({"x_test": np.full((7, 784), 256)}, "x_test should hold whole pixels"),
        ({"x_train": np.full((24, 784), -1)}, "x_train should hold whole pixels"),
        ({"x_train": np.full((24, 784), np.nan)}, "x_train should hold whole pixels"),
        ({"x_train": np.full((24, 784), np.inf)}, "x_train should hold whole pixels"),
        ({"y_train": np.zeros(23, int)}, "equally long, got 24 and 23"),
        ({"x_test": np.zeros((7, 9))}, "equally many columns, got 784 and 9"),
        ({"x_test": np.zeros((0, 784)), "y_test": np.zeros(0, int)}, "not be empty"),
    ],
)
def test_sets_that_are_no_mnist(small, tmp_path, change, reason):
    np.savez(tmp_path / "odd.npz", **(small._asdict() | change))
    with pytest.raises(ValueError, match=rf"odd\.npz: .*{reason}"):
        load_mnist(path=tmp_path / "odd.npz")


def test_incomplete_or_odd_folders(small, tmp_path):
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte.*mnist_train\.csv.*got none"):
        load_mnist(path=tmp_path)
    write_csv(tmp_path / "mnist_test.csv", small.x_test, small.y_test)
    with pytest.raises(ValueError, match=r"; mnist_train\.csv missing"):
        load_mnist(path=tmp_path)
    write_idx(tmp_path, small)
    same(load_mnist("uint8", path=tmp_path), small)  # IDX goes before CSV
    labels = tmp_path / "t10k-labels-idx1-ubyte"
    images = tmp_path / "t10k-images-idx3-ubyte"
    good = images.read_bytes()
    for content, reason in [
        (labels.read_bytes(), r"t10k-images-idx3-ubyte: expected images .* got shape \(7,\)"),
        (idx_bytes(small.x_test[:, :9].reshape(7, 3, 3)), "784 and 9"),
        (idx_images(small.x_test[:6]), "x_test and y_test .* got 6 and 7"),
        (bytes([0, 0, 9]) + good[3:], "as int8"),
    ]:
        images.write_bytes(content)
        with pytest.raises(ValueError, match=reason):
            load_mnist(path=tmp_path)
    images.write_bytes(good)
    labels.write_bytes(good)
    with pytest.raises(ValueError, match=r"t10k-labels-idx1-ubyte: expected labels of shape"):
        load_mnist(path=tmp_path)
    labels.unlink()
    with pytest.raises(ValueError, match="; t10k-labels-idx1-ubyte missing"):
        load_mnist(path=tmp_path)


def test_single_files_that_are_no_pair_of_sets(small, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(idx_images(small.x_test))
    with pytest.raises(ValueError, match="single IDX file"):
        load_mnist(path=file)
    write_csv(file, small.x_test[:1], small.y_test[:1])
    with pytest.raises(ValueError, match="at least 2 rows to split, got 1"):
        load_mnist(path=file)
    file.write_bytes(b"")
    with pytest.raises(ValueError, match=r"file: .*empty file"):
        load_mnist(path=file)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_mnist(path=tmp_path / "nowhere")


@pytest.mark.parametrize("dtype", ["float16", "int64", ">f4", "nonsense", int, np.dtype("f2")])
def test_wrong_dtype(dtype):
    with pytest.raises(ValueError, match="dtype: expected 'float32' or 'float64' or 'uint8', got"):
        load_mnist(dtype)


@pytest.mark.parametrize("dtype", [None, 32, ["float32"]])
def test_dtype_of_wrong_type(dtype):
    with pytest.raises(TypeError, match="dtype: expected"):
        load_mnist(dtype)


def test_dtype_may_be_a_type(small, tmp_path):
    write_idx(tmp_path, small)
    for dtype in (np.float64, np.dtype("float64"), float):
        assert load_mnist(dtype, path=tmp_path).x_test.dtype == np.float64
