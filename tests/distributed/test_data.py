"""Arrays, frames and Parquet files; and what is wrong with some of them."""

from __future__ import annotations

import numpy as np
import pytest
from clusters import LABELS, X, make, numbers, state

from fastmlp import distributed
from fastmlp.distributed import DistributedError

da = pytest.importorskip("dask.array")
dd = pytest.importorskip("dask.dataframe")
pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
pd = pytest.importorskip("pandas")

NAMES = [f"x{i}" for i in range(20)]
SETTINGS = {"epochs": 2, "optimizer": "adam", "progress": False}


def frame(rows=X, y=LABELS):
    return pd.DataFrame(rows, columns=NAMES).assign(label=y)


def expected():
    net = make()
    history = net.fit(X, LABELS, batch_size=None, **SETTINGS)
    return state(net), numbers(history)


def trained(client, *data, **settings):
    net = make()
    history = distributed.fit(net, *data, client=client, **SETTINGS, **settings)
    return state(net), numbers(history)


def same(one, other) -> None:
    assert np.array_equal(one[0], other[0])
    assert one[1] == other[1]


@pytest.fixture
def folder(tmp_path):
    """Return a folder of three files, of several row groups each."""
    table = pa.Table.from_pandas(frame())
    for i in range(3):
        pq.write_table(
            table.slice(i * 1000, 1000), tmp_path / f"part-{i}.parquet", row_group_size=300
        )
    return tmp_path


def test_parquet(client, folder):
    same(expected(), trained(client, str(folder), "label"))
    same(expected(), trained(client, folder.as_uri(), ["label"]))
    pq.write_table(pa.Table.from_pandas(frame()), folder / "one.parquet")
    same(expected(), trained(client, folder / "one.parquet", "label"))


def test_hidden_files_are_left_out(client, folder):
    table = pa.Table.from_pandas(frame())
    for name in (".part-0.parquet", "_part-9.parquet", "_temporary/0/part-1.parquet"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, folder / name)
    for name in (".part-0.parquet.crc", "_SUCCESS", "_metadata", "_broken.parquet"):
        (folder / name).write_bytes(b"no Parquet")
    same(expected(), trained(client, folder, "label"))
    hidden = folder / "_temporary"  # what is asked for by name is read
    assert len(trained(client, hidden / "0", "label")[1]["loss"]) == 2


def test_columns_are_put_into_the_order_of_training(client, folder):
    """As frames in memory are: by name, and what is missing or new is named."""
    whole = dd.from_pandas(frame(), npartitions=4)
    turned = NAMES[::-1]
    held = frame(X[:500], LABELS[:500])
    ends = []
    for first, later in (
        ((whole[NAMES], whole["label"]), (whole[turned], whole["label"])),
        ((folder, "label"), (whole[turned], whole["label"])),
        ((da.from_array(X), LABELS), (da.from_array(X), LABELS)),
    ):
        net = make()
        validation = held[turned] if first[1] is not LABELS else X[:500]
        for data in (first, later):
            distributed.fit(
                net, *data, client=client, validation_data=(validation, held["label"]), **SETTINGS
            )
        assert net.feature_names == (None if first[1] is LABELS else tuple(NAMES))
        ends.append((state(net), numbers(net.history)))
    same(ends[0], ends[2])
    same(ends[1], ends[2])
    written = pa.Table.from_pandas(frame()[[*turned, "label"]])
    net = make()
    net.fit(frame()[NAMES], LABELS, batch_size=None, **SETTINGS)
    before = state(net)
    pq.write_table(written, folder / "turned.parquet")
    distributed.fit(net, folder / "turned.parquet", "label", client=client, **SETTINGS)
    assert not np.array_equal(state(net), before)
    assert net.evaluate(X, LABELS) == net.evaluate(frame()[turned], LABELS)
    pq.write_table(written.rename_columns(["new", *turned[1:], "label"]), folder / "new.parquet")
    renamed = whole.rename(columns={turned[0]: "new"})[["new", *turned[1:]]]
    before = state(net)
    for data in ((folder / "new.parquet", "label"), (renamed, whole["label"])):
        with pytest.raises(
            ValueError, match=r"X: expected the columns .*'x19' missing and 'new' n"
        ):
            distributed.fit(net, *data, client=client, **SETTINGS)
    assert np.array_equal(state(net), before)


def test_lbfgs_remembers_the_names_too(client):
    whole = dd.from_pandas(frame().astype({"label": int}), npartitions=3)
    net = make(dtype="float64")
    distributed.fit_lbfgs(net, whole[NAMES], whole["label"], client=client, max_iter=2)
    assert net.feature_names == tuple(NAMES)
    turned = make(dtype="float64")
    turned.feature_names = tuple(NAMES)
    other = whole[NAMES[::-1]]
    distributed.fit_lbfgs(turned, other, whole["label"], client=client, max_iter=2)
    assert np.array_equal(state(turned), state(net))


def test_parquet_with_weights(client, folder):
    weights = np.random.default_rng(2).random(3000)
    for i in range(3):
        part = slice(i * 1000, (i + 1) * 1000)
        table = frame(X[part], LABELS[part]).assign(w=weights[part])
        table.to_parquet(folder / f"part-{i}.parquet")
    net = make()
    net.fit(X, LABELS, batch_size=None, sample_weight=weights, **SETTINGS)
    got = trained(client, folder, "label", sample_weight="w")
    assert np.array_equal(got[0], state(net))


def test_frames(client):
    whole = dd.from_pandas(frame(), npartitions=4)
    same(expected(), trained(client, whole[NAMES], whole["label"]))
    same(expected(), trained(client, whole[NAMES], LABELS))
    unknown = whole[NAMES].to_dask_array(), whole["label"].to_dask_array()
    assert np.isnan(unknown[0].shape[0])
    same(expected(), trained(client, *unknown))


def test_validation_data_on_the_cluster(client):
    """They are fetched, and judged as arrays are."""
    whole = dd.from_pandas(frame(X[:500] + 0.1, LABELS[:500]), npartitions=3)
    array = da.from_array(X[:500] + 0.1, chunks=(200, -1))
    net = make()
    history = net.fit(
        X, LABELS, batch_size=None, validation_data=(X[:500] + 0.1, LABELS[:500]), **SETTINGS
    )
    for held in ((whole[NAMES], whole["label"]), (array, LABELS[:500])):
        got = trained(client, GOOD_X, GOOD_Y, validation_data=held)
        same((state(net), numbers(history)), got)
        assert len(got[1]["val_loss"]) == 2


def lying(blocks, shape, dtype=np.float32):
    """Return an array whose blocks are not what it says of them."""
    from dask import delayed

    parts = [da.from_delayed(delayed(block), shape, dtype) for block in blocks]
    return da.concatenate(parts)


def blocks_of(array, replaced):
    found = [array[i : i + 1000] for i in range(0, 3000, 1000)]
    return [replaced.get(i, block) for i, block in enumerate(found)]


def nan_in(rows):
    rows = rows.copy()
    rows[7, 3] = np.nan
    return rows


GOOD_X, GOOD_Y = da.from_array(X, chunks=(1000, -1)), da.from_array(LABELS, chunks=1000)
BAD = {
    "widths": (
        lying(blocks_of(X, {1: X[:1000, :19]}), (1000, 20)), GOOD_Y,
        ValueError, r"partition 1: X: expected 20 features, got 19",
    ),
    "rows": (
        lying(blocks_of(X, {2: X[:900]}), (1000, 20)), GOOD_Y,
        ValueError, r"partition 2: X: expected 1000 rows, as was said, got 900",
    ),
    "NaN": (
        da.from_array(np.concatenate([X[:1000], nan_in(X[1000:])]), chunks=(1000, -1)), GOOD_Y,
        ValueError, r"partition 1: X: expected finite numbers, got nan in row 7, column 3",
    ),
    "too large": (
        da.from_array(X.astype(float) * 1e300, chunks=(1000, -1)), GOOD_Y,
        ValueError, r"partition \d: X: expected numbers that float32 can hold, got .*e\+299 in",
    ),
    "no labels": (
        GOOD_X, lying(blocks_of(LABELS, {1: None}), (1000,), np.int64),
        ValueError, r"partition 1: y: expected labels, got None",
    ),
    "fewer labels": (
        GOOD_X, lying(blocks_of(LABELS, {0: LABELS[:10]}), (1000,), np.int64),
        ValueError, r"partition 0: y: expected 1000 rows as in X, got 10",
    ),
    "labels that are NaN": (
        GOOD_X, lying(blocks_of(LABELS, {2: np.full(1000, np.nan)}), (1000,), np.float64),
        ValueError, r"partition 2: y: expected class labels, got NaN in row 0",
    ),
    "labels out of range": (
        GOOD_X, da.from_array(LABELS + 1, chunks=1000),
        ValueError, r"partition \d: y: expected class labels 0 to 2 for 3 outputs, got 3",
    ),
    "text": (
        lying(blocks_of(X, {1: np.full((1000, 20), "a", object)}), (1000, 20), object), GOOD_Y,
        TypeError, r"partition 1: X: expected real numbers, got dtype object",
    ),
    "lengths": (GOOD_X, GOOD_Y[:2999], ValueError, r"y: expected 3000 rows as in X, got 2999"),
    "features": (GOOD_X[:, 1:], GOOD_Y, ValueError, r"X: expected 20 features, got 19"),
    "an array": (X, GOOD_Y, TypeError, r"X: expected a dask array.*got ndarray"),
    "y of another kind": (GOOD_X, "label", TypeError, r"y: expected a dask array.*got str"),
    "no y": (GOOD_X, None, ValueError, r"y: expected targets beside X, got None"),
    "nothing": (GOOD_X[:0], GOOD_Y[:0], ValueError, r"X: expected at least one sample"),
    "no folder": ("nowhere", "label", ValueError, r"X: expected a folder of Parquet files.*there"),
}  # fmt: skip


def unchanged(client, data, error, match, **settings) -> None:
    """See the error, and nothing half-done: neither here nor there."""
    net = make()
    net.fit(X, LABELS, epochs=1)
    before, history = state(net), numbers(net.history)
    generator, optimizer = net._rng.bit_generator.state, net.optimizer
    with pytest.raises(error, match=match):
        distributed.fit(net, *data, client=client, **{**SETTINGS, **settings})
    assert np.array_equal(before, state(net))
    assert history == numbers(net.history)
    assert net.optimizer is optimizer
    assert net._rng.bit_generator.state == generator


@pytest.mark.parametrize("case", BAD)
def test_bad_data_change_nothing(client, case):
    unchanged(client, BAD[case][:2], *BAD[case][2:])


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        (lambda f: f.assign(x3=f.x3.where(f.index % 700 > 0)), ValueError,
         r"partition \d+: X: expected finite numbers|column 'x3' of .*part-1.*: .* nulls"),
        (lambda f: f.assign(label=pd.array([None, *f.label[1:]], "Int64")), ValueError,
         r"column 'label' of .*part-1.parquet: expected numbers, got 1 nulls in row group 0"),
        (lambda f: f.assign(x5="text"), TypeError, r"X: expected columns of numbers, but 'x5' of"),
        (lambda f: f.assign(label="a"), TypeError, r"y: expected columns of numbers, but 'label'"),
        (lambda f: f.drop(columns="x7"), ValueError, r"X: expected a column 'x7', .*part-1"),
        (lambda f: f.drop(columns="label"), ValueError, r"y: expected a column 'label', .*part-1"),
        (lambda f: f.assign(more=1.0), ValueError, r"X: expected the same columns.*'more' too"),
    ],
    ids=["null", "no label", "text", "text labels", "narrower", "no labels", "wider"],
)  # fmt: skip
def test_bad_parquet_changes_nothing(client, folder, change, error, match):
    change(frame(X[1000:2000], LABELS[1000:2000])).to_parquet(folder / "part-1.parquet")
    unchanged(client, (folder, "label"), error, match)


def test_a_missing_category_is_missing(client):
    """Of categories of whole numbers, pandas makes it -2^63."""
    stars = np.arange(len(X)) % 3
    whole = frame().astype(int).assign(x2=pd.Categorical(stars))
    holes = whole.assign(x2=pd.Categorical.from_codes(np.where(stars < 2, stars, -1), [1, 5]))
    for known in (True, False):
        plain, with_holes = (dd.from_pandas(f, npartitions=3) for f in (whole, holes))
        if not known:
            plain, with_holes = (f.assign(x2=f.x2.cat.as_unknown()) for f in (plain, with_holes))
        match = r"partition \d: X: expected finite numbers, got nan in row \d+, .* .a missing"
        unchanged(client, (with_holes[NAMES], with_holes.label), ValueError, match)
    numbers_of_them = dd.from_pandas(whole.astype({"x2": int}), npartitions=3)
    same(
        trained(client, plain[NAMES], plain.label),
        trained(client, numbers_of_them[NAMES], numbers_of_them.label),
    )


def test_files_that_are_no_parquet(client, tmp_path):
    unchanged(client, (tmp_path, "label"), ValueError, r"it holds no file that ends in \.parquet")
    (tmp_path / "a.parquet").write_bytes(b"text")
    unchanged(client, (tmp_path, "label"), ValueError, r"a\.parquet cannot be read as Parquet")


@pytest.mark.parametrize(
    ("settings", "error", "match"),
    [
        ({"batch_size": 0}, ValueError, "batch_size: expected an integer of at least 1, got 0"),
        ({"groups": 0}, ValueError, "groups: expected an integer of at least 1, got 0"),
        ({"timeout": 0}, ValueError, "timeout: expected a number greater than 0"),
        ({"class_weight": {3: 1.0}}, ValueError, "class_weight: expected labels 0 to 2, got 3"),
        ({"early_stopping": True}, ValueError, "val_loss"),
        (
            {"validation_data": (GOOD_X, GOOD_Y[:5])},
            ValueError,
            "validation_data: y: expected 3000",
        ),
        (
            {"validation_data": (GOOD_X[:, 1:], GOOD_Y)},
            ValueError,
            "validation_data: X: expected 20",
        ),
        ({"validation_data": GOOD_X}, TypeError, "validation_data: expected a pair"),
        ({"sample_weight": np.zeros(3000)}, ValueError, "sample_weight: .*one weight above 0"),
        ({"sample_weight": np.ones(2)}, ValueError, "sample_weight: expected 3000 rows"),
        ({"sample_weight": np.r_[-1.0, np.ones(2999)]}, ValueError, "partition 0: sample_weight"),
        ({"epochs": "3"}, TypeError, "epochs: expected an integer"),
    ],
)
def test_bad_arguments_change_nothing(client, settings, error, match):
    unchanged(client, (GOOD_X, GOOD_Y), error, match, **settings)


def test_no_scheduler():
    unchanged("tcp://127.0.0.1:9", (GOOD_X, GOOD_Y), DistributedError,
              r"client: no scheduler answers at tcp://127\.0\.0\.1:9", timeout=0.5)  # fmt: skip
    unchanged(None, (GOOD_X, GOOD_Y), ValueError, r"client: expected a .*Client or an address")
    unchanged(5, (GOOD_X, GOOD_Y), TypeError, r"client: expected a blocking dask.*got 5")


def test_other_networks_are_refused(client):
    with pytest.raises(ValueError, match="net: expected one with backend 'numba'"):
        distributed.fit(make(backend="numpy"), GOOD_X, GOOD_Y, client=client)
    with pytest.raises(TypeError, match="net: expected an MLP, got str"):
        distributed.fit("net", GOOD_X, GOOD_Y, client=client)
