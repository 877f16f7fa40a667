"""one_hot and train_test_split."""

import numpy as np
import pytest

from fastmlp.datasets import one_hot, train_test_split

# one_hot


def test_one_hot():
    y = np.array([2, 0, 1, 2], np.uint8)
    expected = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    got = one_hot(y)
    assert got.dtype == np.float64
    assert np.array_equal(got, expected)
    wide = one_hot(y.tolist(), 5, dtype="float32")
    assert wide.dtype == np.float32
    assert wide.shape == (4, 5)
    assert np.array_equal(wide[:, :3], expected)
    assert not wide[:, 3:].any()
    assert np.array_equal(one_hot(y.astype(float), np.int64(3), dtype=bool), expected == 1)
    assert np.array_equal(one_hot([True, False]), [[0, 1], [1, 0]])
    assert one_hot([], 3).shape == (0, 3)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([0, 3], 3), ValueError, "y: expected labels from 0 to 2, got 3"),
        (([0, -1],), ValueError, "y: expected labels from 0 to one less .*, got -1"),
        (([0, 0.5],), ValueError, "y: expected whole numbers, got 0.5 at index 1"),
        (([0, np.nan],), ValueError, "y: expected whole numbers, got nan"),
        (([1e300],), ValueError, "y: expected labels from 0"),
        ((np.array([2**63], np.uint64),), ValueError, "y: expected labels from 0"),
        (([[0], [1]],), ValueError, r"y: expected labels of shape \(n,\)"),
        (([[0], [1, 2]],), ValueError, "y: expected class labels"),
        ((3,), ValueError, r"y: expected labels of shape \(n,\)"),
        (([],), ValueError, "n_classes: expected an int"),
        (([10**12],), ValueError, "n_classes: expected an int"),
        (([0], 0), ValueError, "n_classes: expected at least 1, got 0"),
        (([0], 3.0), TypeError, "n_classes: expected an int, got float"),
        (([0], True), TypeError, "n_classes: expected an int, got bool"),
        ((["a"],), TypeError, "y: expected whole numbers"),
        ((None,), TypeError, "y: expected whole numbers"),
    ],
)
def test_one_hot_errors(arguments, error, message):
    with pytest.raises(error, match=message):
        one_hot(*arguments)


def test_one_hot_dtype_errors():
    with pytest.raises(ValueError, match=r"dtype: expected .*, got 'complex128'"):
        one_hot([0], dtype="complex128")
    with pytest.raises(TypeError, match=r"dtype: expected .*, got int"):
        one_hot([0], dtype=1)


# train_test_split


def numbered(n, n_classes=3):
    """Samples whose first column is their own index, and labels that follow from it."""
    ids = np.arange(n)
    return np.stack([ids, ids * 10], axis=1), ids % n_classes


def check_partition(parts, n):
    """Every sample on exactly one side, each beside its own label."""
    X_train, X_test, y_train, y_test = parts
    ids = np.concatenate([X_train, X_test])[:, 0]
    assert sorted(ids) == list(range(n))
    assert len(X_train) == len(y_train)
    assert len(X_test) == len(y_test)
    assert np.array_equal(np.concatenate([y_train, y_test]), ids % 3)


@pytest.mark.parametrize(
    ("n", "test_size", "n_test"),
    [(100, 0.25, 25), (101, 0.25, 26), (10, 0.01, 1), (10, 3, 3), (2, 1, 1), (10, np.int8(9), 9)],
)
@pytest.mark.parametrize("shuffle", [True, False])
def test_split_sizes_and_disjointness(n, test_size, n_test, shuffle):
    X, y = numbered(n)
    before = X.copy()
    parts = train_test_split(X, y, test_size=test_size, shuffle=shuffle, rng=0)
    assert len(parts[1]) == n_test
    check_partition(parts, n)
    assert np.array_equal(X, before)


def test_split_default_is_a_shuffled_quarter():
    X, y = numbered(400)
    parts = train_test_split(X, y)
    assert len(parts[1]) == 100
    assert not np.array_equal(parts[1][:, 0], np.sort(parts[1][:, 0]))
    assert not np.array_equal(parts[0][:, 0], np.sort(parts[0][:, 0]))


def test_without_shuffle_the_last_are_tested_and_nothing_is_copied():
    X, y = numbered(10)
    X_train, X_test, _, y_test = train_test_split(X, y, test_size=3, shuffle=False)
    assert X_test[:, 0].tolist() == [7, 8, 9]
    assert y_test.tolist() == [1, 2, 0]
    assert np.shares_memory(X_train, X)


@pytest.mark.parametrize("stratify", [False, True])
@pytest.mark.parametrize(
    "make", [lambda s: s, np.random.default_rng, np.random.RandomState], ids=["int", "new", "old"]
)
def test_split_determinism(make, stratify):
    X, y = numbered(90)
    first, again, other = (
        train_test_split(X, y, stratify=stratify, rng=make(seed)) for seed in (7, 7, 8)
    )
    check_partition(first, 90)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[1], other[1])


def test_a_generator_is_used_and_moved_on_and_the_global_one_left_alone():
    X, y = numbered(50)
    state = np.random.get_state()[1].copy()
    rng = np.random.default_rng(1)
    first, second = (train_test_split(X, y, rng=rng)[1] for _ in range(2))
    train_test_split(X, y)
    assert not np.array_equal(first, second)
    assert np.array_equal(np.random.get_state()[1], state)


@pytest.mark.parametrize("counts", [(50, 30, 20), (97, 2, 2), (9, 9, 13), (2, 2, 96)])
@pytest.mark.parametrize("test_size", [0.1, 0.25, 0.5, 0.9, 3])
def test_strata_get_their_share(counts, test_size):
    y = np.repeat(["a", "b", "c"], counts)
    n = len(y)
    n_test = test_size if test_size == 3 else int(np.ceil(n * test_size))
    ids = np.arange(n)
    train, test, y_train, y_test = train_test_split(
        ids, y, test_size=test_size, stratify=True, rng=3
    )
    assert len(test) == n_test
    assert sorted([*train, *test]) == ids.tolist()
    assert np.array_equal(y[train], y_train)
    assert np.array_equal(y[test], y_test)
    for name, count in zip("abc", counts, strict=True):
        tested, share = np.sum(y_test == name), count * n_test / n
        assert 1 <= tested <= count - 1
        if 1 <= share <= count - 1 and min(counts) > 2:
            assert abs(tested - share) < 1
    assert not np.array_equal(y_test, np.sort(y_test)) or n_test == 3


def test_every_sample_can_be_drawn():
    X, y = numbered(12)
    for stratify in (False, True):
        drawn = set()
        for seed in range(60):
            drawn |= set(train_test_split(X, y, stratify=stratify, rng=seed)[1][:, 0].tolist())
        assert drawn == set(range(12))


def test_containers_keep_their_type():
    X, y = numbered(20)
    expected = train_test_split(X, y, rng=5)
    pandas = pytest.importorskip("pandas")
    frame, series = pandas.DataFrame(X, index=np.arange(20)[::-1]), pandas.Series(y)
    got = train_test_split(frame, series, rng=5)
    assert isinstance(got[0], pandas.DataFrame)
    assert isinstance(got[3], pandas.Series)
    assert all(np.array_equal(a, b) for a, b in zip(got, expected, strict=True))
    from_lists = train_test_split(X.tolist(), y.tolist(), rng=5)
    assert all(np.array_equal(a, b) for a, b in zip(from_lists, expected, strict=True))
    strata = train_test_split(frame, series, stratify=True, rng=5)
    assert np.bincount(strata[3]).tolist() == [2, 2, 1]


def test_split_sparse_rows():
    sparse = pytest.importorskip("scipy.sparse")
    X, y = numbered(20)
    expected = train_test_split(X, y, rng=5)
    for made in (sparse.csr_matrix(X), sparse.csc_matrix(X), sparse.coo_array(X)):
        for shuffle in (True, False):
            got = train_test_split(made, y, shuffle=shuffle, rng=5)
            want = expected if shuffle else train_test_split(X, y, shuffle=False)
            assert np.array_equal(got[0].toarray(), want[0])
            assert np.array_equal(got[1].toarray(), want[1])


def test_split_polars_frame():
    polars = pytest.importorskip("polars")
    X, y = numbered(20)
    expected = train_test_split(X, y, rng=5)
    got = train_test_split(polars.DataFrame(X), polars.Series(y), rng=5)
    assert isinstance(got[0], polars.DataFrame)
    assert all(np.array_equal(a.to_numpy(), b) for a, b in zip(got, expected, strict=True))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"test_size": 0.0}, ValueError, "test_size: expected a float between 0 and 1, got 0.0"),
        ({"test_size": 1.0}, ValueError, "test_size: expected a float between 0 and 1"),
        ({"test_size": float("nan")}, ValueError, "test_size: expected a float between 0 and 1"),
        ({"test_size": 0.99}, ValueError, r"test_size: expected 1 to 5 of the 6 .* \(6\)"),
        ({"test_size": 0}, ValueError, "test_size: expected 1 to 5"),
        ({"test_size": 6}, ValueError, "test_size: expected 1 to 5"),
        ({"test_size": -1}, ValueError, "test_size: expected 1 to 5"),
        ({"test_size": True}, TypeError, "test_size: expected a float or int, got bool"),
        ({"test_size": "0.5"}, TypeError, "test_size: expected a float or int, got str"),
        ({"test_size": None}, TypeError, "test_size: expected a float or int, got NoneType"),
        ({"y": [0, 1, 2]}, ValueError, "y: expected 6 rows, as X has, got 3"),
        ({"X": [[1]], "y": [1]}, ValueError, "X: expected at least 2 rows, got 1"),
        ({"X": [[1], [1, 2]]}, ValueError, "X: expected rows of equal length"),
        ({"X": 5}, TypeError, "X: expected an array with rows"),
        ({"y": None}, TypeError, "y: expected an array with rows"),
        ({"shuffle": 1}, TypeError, "shuffle: expected a bool, got int"),
        ({"stratify": [0, 1]}, TypeError, "stratify: expected a bool, got list"),
        ({"shuffle": False, "stratify": True}, ValueError, "stratify: expected False where"),
        ({"stratify": True, "y": np.eye(6)}, ValueError, "stratify: expected labels y of shape"),
        ({"stratify": True, "y": [0, 0, 0, 1, 1, 2]}, ValueError, "stratify: expected 2 samples"),
        ({"stratify": True, "test_size": 2}, ValueError, "test_size: expected a sample of each"),
        ({"stratify": True, "test_size": 4}, ValueError, "test_size: expected a sample of each"),
        ({"rng": -1}, ValueError, "rng: expected a seed of at least 0, got -1"),
        ({"rng": 1.5}, TypeError, "rng: expected an int, got float"),
        ({"rng": True}, TypeError, "rng: expected an int, got bool"),
        ({"rng": "7"}, TypeError, "rng: expected an int, got str"),
    ],
)
def test_split_errors(changes, error, message):
    X, y = numbered(6)
    arguments = {"X": X, "y": y} | changes
    with pytest.raises(error, match=message):
        train_test_split(**arguments)
