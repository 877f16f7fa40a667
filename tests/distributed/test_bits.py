"""The same bits on any cluster, and on one machine; whoever is killed on the way."""

from __future__ import annotations

import copy
import os
import signal
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from clusters import LABELS, X, make, numbers, shared, state

from fastmlp import MLP, SGD, Adam, distributed
from fastmlp.callbacks import Callback
from fastmlp.distributed._cluster import Cluster
from fastmlp.distributed._layout import Layout
from fastmlp.distributed._losses import branches, joined, whole
from fastmlp.distributed._samples import Data

da = pytest.importorskip("dask.array")
FreeKeysEvent = pytest.importorskip("distributed.worker_state_machine").FreeKeysEvent

ZEROS = np.random.default_rng(1)
PIXELS = ZEROS.integers(0, 256, (2000, 60)) * (ZEROS.random((2000, 60)) < 0.15)
PIXELS = PIXELS.astype(np.uint8)
KINDS = ZEROS.integers(0, 4, 2000)
WEIGHTS = ZEROS.random(3000)


def arrays(rows=X, y=LABELS, chunk=700):
    return da.from_array(rows, chunks=(chunk, -1)), da.from_array(y, chunks=1100)


CASES = {
    "full batch": ({}, {"batch_size": None, "optimizer": "adam"}),
    "float64": ({"dtype": "float64"}, {"batch_size": None, "optimizer": SGD(0.5, momentum=0.9)}),
    "mini-batches": ({}, {"batch_size": 700, "optimizer": "adam", "schedule": "cosinedecay"}),
    "dropout": ({}, {"batch_size": 1300, "dropout": 0.3, "optimizer": "rmsprop"}),
    "penalties": ({}, {"batch_size": None, "l1": 1e-3, "l2": 1e-2, "clip_norm": 0.5,
                       "max_norm": 1.0, "label_smoothing": 0.1}),
    "weights": ({}, {"batch_size": 1024, "sample_weight": WEIGHTS, "class_weight": {0: 2.0}}),
    "balanced": ({}, {"batch_size": None, "class_weight": "balanced"}),
}  # fmt: skip


def check(client, net: MLP, data, settings: dict, *, rows=X, y=LABELS, epochs=4) -> None:
    """Train here and there; compare every bit."""
    settings = {"shuffle": False, "epochs": epochs, "progress": False, **settings}
    here, there = make_pair(net)
    wanted = here.fit(rows, y, **settings)
    got = distributed.fit(there, *data, client=client, **settings)
    assert np.array_equal(state(here), state(there))
    assert here._state.step == there._state.step > 0
    assert numbers(wanted) == numbers(got)
    assert len(got.loss) == epochs


def make_pair(net: MLP) -> tuple[MLP, MLP]:
    return copy.deepcopy(net), copy.deepcopy(net)


@pytest.mark.parametrize("case", CASES)
def test_as_on_one_machine(client, case):
    network, settings = CASES[case]
    check(client, make(**network), arrays(), settings)


def test_as_on_one_machine_where_most_is_zero(client):
    net = make((60, 16, 4), input_scale=255.0)
    data = da.from_array(PIXELS, chunks=(300, 25)), da.from_array(KINDS, chunks=-1)
    check(client, net, data, {"batch_size": None, "optimizer": Adam(0.01)}, rows=PIXELS, y=KINDS)


@pytest.mark.parametrize(
    ("net", "y"),
    [
        (partial(make, (20, 8, 1), output="identity"), X[:, 0] * X[:, 1]),
        (partial(make, (20, 8, 2), output="sigmoid"), (X[:, :2] > 0).astype(np.int64)),
        (partial(make, (20, 8, 2)), np.stack([np.full(3000, 0.25), np.full(3000, 0.75)], 1)),
    ],
    ids=["values", "labels", "probabilities"],
)
def test_as_on_one_machine_for_other_targets(client, net, y):
    data = da.from_array(X, chunks=(512, -1)), da.from_array(y, chunks=-1)
    check(client, net(), data, {"batch_size": None, "optimizer": "adam"}, y=y)


def test_targets_of_probabilities_in_one_partition_only(client):
    y = np.eye(3)[LABELS]
    y[2900:] = [0.5, 0.25, 0.25]
    data = da.from_array(X, chunks=(500, -1)), da.from_array(y, chunks=(500, -1))
    check(client, make(), data, {"batch_size": None}, y=y)


def test_shuffled_batches_are_an_order_of_the_samples(client):
    """What an epoch of shuffled batches does, `MLP.fit` does over samples laid out so."""
    layout = Layout(3000, 800, 32, 64)
    here, there = make_pair(make())
    key = here._rng.integers(0, 2**32, 2, dtype=np.uint32)
    order = np.empty(3000, np.int64)
    for k in range(layout.partitions):
        places = np.concatenate([list(layout.rows(k, s)) for s in range(layout.steps)])
        order[places.astype(int)] = places[layout.order(k, key)]
    assert sorted(order) == list(range(3000))
    assert not np.array_equal(order, np.arange(3000))
    here.fit(X[order], LABELS[order], epochs=1, batch_size=800, shuffle=False)
    distributed.fit(there, *arrays(), client=client, epochs=1, batch_size=800)
    assert np.array_equal(state(here), state(there))


def test_going_on_equals_going_through(client):
    settings = {"client": client, "batch_size": 1000, "optimizer": Adam(0.01)}
    once, twice = make_pair(make())
    distributed.fit(once, *arrays(), epochs=4, **settings)
    distributed.fit(twice, *arrays(), epochs=2, **settings)
    history = distributed.fit(twice, *arrays(), epochs=4, resume=True, **settings)
    assert np.array_equal(state(once), state(twice))
    assert len(history) == 4


class Kill(Callback):
    """Kill one worker once an epoch has begun."""

    def __init__(self, pid: int, epoch: int):
        self.pid, self.at = pid, epoch

    def on_epoch_begin(self, epoch, logs):
        if epoch == self.at:
            os.kill(self.pid, signal.SIGKILL)


def test_one_two_and_four_workers_and_one_that_is_killed():
    """A network too large for `MLP.fit` to cut into these groups; and one that it cuts so."""
    large, small = partial(make, (20, 600, 250, 3)), make
    assert large().n_parameters > 131_072
    found: dict[int, list[np.ndarray]] = {}
    settings = {"epochs": 3, "batch_size": 2500, "optimizer": "adam"}
    for n in (1, 2, 4):
        _, client = shared.get(n)
        assert len(client.nthreads()) == n
        for build in (large, small):
            net = build()
            distributed.fit(net, *arrays(), client=client, **settings)
            found.setdefault(n, []).append(state(net))
    pids = client.run(os.getpid)
    victim = pids[sorted(pids)[-1]]
    net = small()
    history = distributed.fit(
        net, *arrays(), client=client, callbacks=[Kill(victim, 1)], **settings
    )
    assert victim not in client.run(os.getpid, on_error="ignore").values()
    assert len(history) == 3
    for n in (2, 4):
        for one, several in zip(found[1], found[n], strict=True):
            assert np.array_equal(one, several)
    assert np.array_equal(found[1][1], state(net))


def spill(dask_worker):
    while dask_worker.data.fast:
        dask_worker.data.evict()
    return len(dask_worker.data.slow)


class Spill(Callback):
    """Have Dask write all data to disk before every epoch."""

    def __init__(self, client):
        self.client, self.spilled = client, []

    def on_epoch_begin(self, epoch, logs):
        self.spilled.append(sum(self.client.run(spill).values()))


def test_partitions_that_are_on_disk(client):
    spilling = Spill(client)
    check_with(client, spilling, {"batch_size": None, "optimizer": "adam"})
    assert len(spilling.spilled) == 4
    assert min(spilling.spilled) >= 24  # the partitions of 3000 samples


def check_with(client, callback, settings):
    here, there = make_pair(make())
    here.fit(X, LABELS, epochs=4, shuffle=False, **settings)
    distributed.fit(
        there, *arrays(), client=client, epochs=4, shuffle=False, callbacks=[callback], **settings
    )
    assert np.array_equal(state(here), state(there))


@pytest.fixture
def copies_stay(client):
    """Dask's scheduler leaves copies of partitions where they are."""
    client.amm.stop()
    yield
    client.amm.start()


@pytest.mark.usefixtures("copies_stay")
def test_partitions_that_lie_anywhere(client):
    """Neighbours on different workers, or with one who has lost them: the same sums."""
    a, b = sorted(client.nthreads())
    with client.as_current():
        samples = Data(make(), Cluster(client, 60.0), (*arrays(), None), 32, None).make_samples(
            1, None, False, None
        )
        wanted, loss, correct, total = samples.sums()
        kept = samples._kept
        assert {*kept._placed} == {a, b}
        client.replicate(kept._partitions, n=2)
        for placed in ([a, b] * 12, [b] * 24, [a] * 5 + [b] * 12 + [a] * 7):
            kept._placed = placed
            got = samples.sums()
            assert kept._placed == placed
            assert np.array_equal(wanted, got[0])
            assert (loss, correct, total) == got[1:]
        client.run(lose, kept._partitions[3].key, workers=[a])
        kept._placed = [a] * 24
        assert np.array_equal(wanted, samples.sums()[0])
        assert kept._placed[3] == b


def lose(key, dask_worker):
    dask_worker.handle_stimulus(FreeKeysEvent(keys=[key], stimulus_id="test"))


@pytest.mark.parametrize("n", [1, 2, 8, 9, 129, 130, 136, 1000, 54_321])
def test_a_sum_from_parts_is_that_of_the_whole(n):
    rng = np.random.default_rng(n)
    for parts in (1, 2, 3, 7):
        values = rng.random(n) * 10.0 ** rng.integers(-6, 6, n)
        cuts = [0, *sorted(rng.integers(0, n + 1, parts - 1)), n]
        known = {}
        for first, stop in pairwise(cuts):
            if stop > first:
                part = branches(values[first:stop], first, n)
                known = joined(known, part, n) if known else part
            assert len(known) <= 128 + 2 * 20
        assert whole(known, n) == np.add.reduceat(values, [0])[0]
        known[0, 1] = np.nextafter(known[0, 1], 0) * 0.9
        assert whole(known, n) != np.add.reduceat(values, [0])[0]


def test_every_sample_has_one_place():
    rng = np.random.default_rng(3)
    for _ in range(200):
        n = int(rng.integers(1, 3000))
        layout = Layout(n, int(rng.integers(1, n + 1)), int(rng.integers(1, 40)), 16)
        seen = np.zeros(n, int)
        size = int(rng.integers(1, n + 1))
        content: dict[int, list[int]] = {}
        for first in range(0, n, size):
            count = min(size, n - first)
            for k, slices in layout.cut(first, count).items():
                for part in slices:
                    content.setdefault(k, []).extend(range(first + part.start, first + part.stop))
        for k in range(layout.partitions):
            for step in range(layout.steps):
                rows = layout.rows(k, step)
                assert content[k][layout.part(k, step)] == list(rows)
                seen[rows.start : rows.stop] += 1
        assert (seen == 1).all()
        assert set(content) == set(range(layout.partitions))


def test_the_check_can_fail(client):
    """Other groups have other sums."""
    data, settings = arrays(), {"batch_size": None, "optimizer": "adam"}
    here, there = make_pair(make())
    here.fit(X, LABELS, epochs=4, **settings)
    distributed.fit(there, *data, client=client, epochs=4, groups=8, **settings)
    assert not np.array_equal(state(here), state(there))
