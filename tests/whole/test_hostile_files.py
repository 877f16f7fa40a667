"""Files that nobody vouches for load right or are refused, quickly and in little memory.

Thousands of damaged and crafted files, made from good ones with a seed, and from those damaged
ones that have led a reader where no other did. ``FASTMLP_FULL_TESTS=1`` makes more than 20,000,
``FASTMLP_TEST_SEED`` others.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import signal
import struct
import sys
import time
import warnings
import zipfile

import numpy as np
import pytest
from files import LABELS, NAMES, SECONDS, X, bounded, good_files

import fastmlp
from fastmlp import MLP, History
from fastmlp.persistence import pack

FULL = bool(os.environ.get("FASTMLP_FULL_TESTS"))
SEED = int(os.environ.get("FASTMLP_TEST_SEED") or 0)
EACH = 1800 if FULL else 180  # of every good file below

# what happens to them

EDGES = (0, 1, 127, 128, 255, 256, 32767, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)
WORDS = (
    b"", b"\0", b"nan", b"inf", b"-1", b"1e999", b"9" * 400, b"\xff\xfe", b"PK\x03\x04",
    b"PK\x05\x06", b"\x1f\x8b\x08", b"\x93NUMPY\x01\x00", b"|O", b"<f8", b"(0,)", b"(-1,)",
    b"label", b"\n", b",", b"[[[[[[[[", b"{", b"'" * 40, b"\x00" * 64, b"True", b'"',
)  # fmt: skip
VALUES = (
    None, True, -1, 0, 1, 3, 2**31, 2**64, 10**300, 10**400, 1.5, float("nan"), float("inf"), "",
    "numpy", "x" * 1000, [], [[]], [0] * 1000, {}, {"array": [1], "dtype": "U9999999"},
    {"name": "Adam"},
)  # fmt: skip


def scratch(data: bytes, rng, others: list[bytes]) -> bytes:
    """Return the bytes with one thing wrong, whatever they mean."""
    n = len(data)
    at = int(rng.integers(n + 1))
    size = int(rng.choice([1, 1, 2, 4, 8, 16, 64]))
    kind = rng.integers(9)
    if kind == 0 and at < n:
        return data[:at] + bytes([data[at] ^ 1 << int(rng.integers(8))]) + data[at + 1 :]
    if kind == 1:
        return data[:at] + rng.bytes(size) + data[at + size :]
    if kind == 2:
        order = "<>"[int(rng.integers(2))]
        code, width = (("B", 1), ("H", 2), ("I", 4), ("Q", 8))[int(rng.integers(4))]
        edge = EDGES[int(rng.integers(len(EDGES)))] % 256**width
        return data[:at] + struct.pack(order + code, edge) + data[at + width :]
    if kind == 3:
        return data[:at]
    if kind == 4:
        return data[:at] + data[at + size :]
    if kind == 5:
        return data[:at] + data[at : at + size] * int(rng.integers(2, 50)) + data[at:]
    if kind == 6:
        word = WORDS[int(rng.integers(len(WORDS)))]
        return data[:at] + word + data[at + len(word) * int(rng.integers(2)) :]
    if kind == 7:
        other = others[int(rng.integers(len(others)))]
        return data[:at] + other[int(rng.integers(len(other))) :]
    return data[at:]


def craft(value, rng):
    """Return nested JSON with a leaf or a branch replaced, left out or added."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = list(value)[int(rng.integers(len(value)))]
        changed = dict(value)
        if rng.random() < 0.1:
            del changed[key]
        elif rng.random() < 0.1:
            changed["another"] = VALUES[int(rng.integers(len(VALUES)))]
        else:
            changed[key] = craft(value[key], rng)
        return changed
    if isinstance(value, list) and value and rng.random() < 0.7:
        at = int(rng.integers(len(value)))
        return [*value[:at], craft(value[at], rng), *value[at + 1 :]]
    return VALUES[int(rng.integers(len(VALUES)))]


def repacked(data: bytes, rng, others: list[bytes]) -> bytes:
    """Return an archive of which a member is wrong, under a checksum that is right."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = list(members)[int(rng.integers(len(members)))]
    if "header.npy" in members and rng.random() < 0.6:
        changed = json.loads(members["header.npy"][128:])
        for _ in range(int(rng.integers(1, 3))):
            changed = craft(changed, rng)
        file = io.BytesIO()
        np.save(file, np.frombuffer(json.dumps(changed).encode(), np.uint8))
        members["header.npy"] = file.getvalue()
    elif rng.random() < 0.1:
        del members[name]
    else:
        members[name] = scratch(members[name], rng, others)
    file = io.BytesIO()
    kind = zipfile.ZIP_DEFLATED if rng.random() < 0.3 else zipfile.ZIP_STORED
    with zipfile.ZipFile(file, "w", kind) as archive:
        for each, content in members.items():
            archive.writestr(each, content)
    return file.getvalue()


def damaged(data: bytes, rng, others: list[bytes]) -> bytes:
    """Return a file made of a good one, one to three things wrong."""
    for _ in range(int(rng.integers(1, 4))):
        try:
            if data[:2] == b"PK" and rng.random() < 0.6:
                data = repacked(data, rng, others)
                continue
            if data[:2] == b"\x1f\x8b" and rng.random() < 0.6:
                data = gzip.compress(scratch(gzip.decompress(data), rng, others), mtime=0)
                continue
        except Exception:  # it is damaged already
            pass
        data = scratch(data, rng, others)
    return data


def use(thing) -> None:
    """Do with what was loaded what its user would: a network predicts, and trains on."""
    if isinstance(thing, MLP):
        a = thing.architecture
        assert thing.predict_proba(np.ones((2, a.n_in))).shape == (2, a.n_out)
        assert isinstance(thing.history, History)
        if (a.n_in, a.n_out, a.output) == (3, 2, "softmax"):
            thing.fit(X, LABELS, epochs=1, on_divergence="ignore", schedule=thing._schedule)
    else:
        for part in thing if isinstance(thing, tuple) else (thing,):
            assert isinstance(part, np.ndarray | bool)


READERS = (os.path.dirname(fastmlp.__file__), zipfile.__file__, gzip.__file__)


def traced(read, path) -> tuple:
    """Return what was read, or the error, and the lines of the readers that were run."""
    lines = set()

    def within(frame, event, _):
        if event == "line":
            lines.add((frame.f_code, frame.f_lineno))
        return within

    def enter(frame, event, _):
        return within if frame.f_code.co_filename.startswith(READERS) else None

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        return read(path), lines
    except Exception as error:
        return error, lines
    finally:
        sys.settrace(before)


def documented(error: Exception, path) -> bool:
    """Tell whether an error is one that the readers' docstrings list, and names the file."""
    named = str(path) in str(error) or getattr(error, "filename", None) == str(path)
    return type(error) is ValueError and named


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="memory is bounded on Linux")
@pytest.mark.parametrize("name", NAMES)
def test_damaged_files_load_or_are_refused(tmp_path, name, count):
    files = good_files(tmp_path)
    good, read = files[name]
    others = [data for data, _ in files.values()]
    rng = np.random.default_rng([SEED, list(files).index(name)])
    path, refused = tmp_path / "file", 0
    assert set(files) == set(NAMES)
    path.write_bytes(good)
    use(read(path))
    seeds, reached = [good], traced(read, path)[1]
    with bounded(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number in range(EACH):
            data = damaged(seeds[int(rng.integers(len(seeds)))], rng, others)
            path.write_bytes(data)
            told = f"FASTMLP_TEST_SEED={SEED}, file {number} of {name}"
            begun = time.process_time()
            signal.setitimer(signal.ITIMER_REAL, 60 * SECONDS)
            try:
                loaded, lines = traced(read, path)
                if isinstance(loaded, Exception):
                    assert documented(loaded, path), f"{type(loaded).__name__}: {loaded}"
                    refused += 1
                else:
                    use(loaded)
            except BaseException as error:
                raise AssertionError(f"{told}: {type(error).__name__}: {error}") from error
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            assert time.process_time() - begun < SECONDS, told
            if not lines <= reached:
                reached |= lines
                seeds.append(data)
    assert refused > EACH / 3
    assert len(seeds) > 2
    count("damaged files", EACH, 1800)


def content(thing) -> list:
    """Return all that was in a file."""
    if isinstance(thing, MLP):
        header, arrays = pack(thing)
        thing = (json.dumps(header), *(item for pair in arrays.items() for item in pair))
    parts = thing if isinstance(thing, tuple) else (thing,)
    return [(p.dtype, p.shape, p.tobytes()) if isinstance(p, np.ndarray) else p for p in parts]


@pytest.mark.parametrize("name", ["model", "idx.gz", "npz", "npz deflated"])
def test_no_flipped_bit_goes_unseen(tmp_path, name, count):
    """What has a checksum is refused, or is of the very same content."""
    good, read = good_files(tmp_path)[name]
    path = tmp_path / "file"
    path.write_bytes(good)
    wanted, refused, bits = content(read(path)), 0, 8 * len(good)
    flips = min(2000 if FULL else 200, bits)
    for place in np.random.default_rng(SEED).choice(bits, flips, replace=False):
        data = bytearray(good)
        data[place // 8] ^= 1 << place % 8
        path.write_bytes(data)
        loaded = traced(read, path)[0]
        if isinstance(loaded, Exception):
            assert documented(loaded, path), f"bit {place}: {type(loaded).__name__}: {loaded}"
            refused += 1
        else:
            assert content(loaded) == wanted, f"bit {place}"
    assert refused > flips / 5
    count("flipped bits", flips, min(2000, bits))
