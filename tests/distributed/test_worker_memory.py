"""What workers hold: their partitions, and little beside them; and data larger than they are."""

from __future__ import annotations

import os

import numpy as np
import pytest
from clusters import local_cluster, make, state

from fastmlp import distributed
from fastmlp.callbacks import Callback
from fastmlp.distributed._loading import load_kernels

FULL = bool(os.environ.get("FASTMLP_FULL_TESTS"))
da = pytest.importorskip("dask.array")
pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs /proc")


def memory(pid: int) -> tuple[float, float]:
    """Return the memory of a process, and its most so far, mapped libraries with it."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        found = dict(line.split(":", 1) for line in file)
    return tuple(float(found[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))


@pytest.mark.slow
def test_a_worker_has_its_partitions_and_200_mb_at_most():
    """At its peak, with all that Python, Dask, Numba and the kernels are; nothing is held twice."""
    n, d = 40_000, 500  # 80 MB, made on the worker
    rng = da.random.default_rng(0)
    rows = rng.normal(size=(n, d), chunks=(1000, d)).astype(np.float32)
    y = (rows[:, 0] > 0).astype(np.int64)
    load_kernels(make((d, 16, 2)).architecture)  # a machine compiles them once
    with local_cluster(1) as (_, client):
        (pid,) = client.run(os.getpid).values()  # what is looked at from here loads nothing there
        net, kept = make((d, 16, 2)), n * d * 4
        distributed.fit(net, rows[:2000], y[:2000], client=client, epochs=1)
        loaded, _ = memory(pid)
        distributed.fit(net, rows, y, client=client, epochs=3)
        now, most = memory(pid)
    assert kept < most < kept + 200e6, (most, kept)
    assert now < loaded + kept + 25e6, (now, loaded, kept)


D = 100
NAMES = [f"x{i}" for i in range(D)]


def write(folder, n: int):
    """Write n samples as Parquet, a row group at a time; yield each."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    schema = pa.schema([*((name, pa.float32()) for name in NAMES), ("label", pa.int8())])
    for i, first in enumerate(range(0, n, 50_000)):
        columns = rng.standard_normal((D, min(50_000, n - first)), np.float32)
        y = (columns[0] > columns[1]).astype(np.int8)
        path = folder / f"part-{i:03}.parquet"
        with pq.ParquetWriter(path, schema, compression="none", use_dictionary=False) as file:
            file.write_table(pa.table([*columns, y], schema=schema))
        yield columns.T, y


def spilled(dask_worker) -> int:
    return len(dask_worker.data.slow)


class Watch(Callback):
    """Ask the workers, after every epoch, how many partitions Dask has on disk."""

    def __init__(self, client):
        self.client, self.spilled = client, []

    def on_epoch_end(self, epoch, logs):
        self.spilled += [self.client.run(spilled)]


@pytest.mark.skipif(not FULL, reason="FASTMLP_FULL_TESTS=1 trains on 2 GB")
def test_two_gigabytes_on_two_workers_of_one(tmp_path):
    """Partitions and libraries are more than workers may have: Dask spills, nobody is restarted."""
    pytest.importorskip("pyarrow")
    n = 5_000_000
    X, y = np.empty((n, D), np.float32), np.empty(n, np.int8)
    folder = tmp_path / "data"
    folder.mkdir()
    for i, (rows, labels) in enumerate(write(folder, n)):
        X[i * 50_000 : (i + 1) * 50_000], y[i * 50_000 : (i + 1) * 50_000] = rows, labels
    assert sum(path.stat().st_size for path in folder.iterdir()) > 2e9
    here, there = make((D, 32, 2)), make((D, 32, 2))
    here.fit(X, y, batch_size=None, epochs=3, optimizer="adam")
    del X, y
    with local_cluster(2, memory_limit=10**9, local_directory=tmp_path / "spilled") as (_, client):
        pids, watch = client.run(os.getpid), Watch(client)
        history = distributed.fit(
            there, str(folder), "label", client=client, epochs=3, optimizer="adam",
            callbacks=[watch],
        )  # fmt: skip
        most = [memory(pid)[1] for pid in pids.values()]
        assert client.run(os.getpid) == pids
    print(f"seconds of epochs: {history.seconds}; most memory of workers: {most}")
    for path in folder.iterdir():
        path.unlink()
    assert np.array_equal(state(here), state(there))
    assert max(most) < 0.95e9
    assert all(sum(counts.values()) > 0 for counts in watch.spilled)
