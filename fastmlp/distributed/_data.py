"""Dask arrays, Dask frames and folders of Parquet files as arrays of known chunks."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..support.extras import require
from ..support.frames import check_names, column_names, in_order, without_categories

__all__ = ["Collections", "collections"]


@dataclass
class Collections:
    """Samples, targets and weights as Dask arrays, cut alike along the samples.

    Attributes
    ----------
    X : dask array, (n, n_in)
    y : dask array, (n,) or (n, n_out)
    weight : dask array, (n,), or None
    names : tuple of str or None
        Of the columns of X, where it is a frame or Parquet, or the network knows them.
    """

    X: Any
    y: Any
    weight: Any
    names: tuple[str, ...] | None = None

    @property
    def lengths(self) -> tuple[int, ...]:
        """The samples of each chunk."""
        return tuple(int(n) for n in self.X.chunks[0])


def collections(
    X: Any, y: Any, sample_weight: Any, n_in: int, names: tuple[str, ...] | None = None
) -> Collections:
    """Return what a user passes as arrays; nothing but lengths and schemas is read.

    Parameters
    ----------
    X : dask array, dask frame, str or path
        A path is that of a folder of Parquet files, or of one file.
    y : dask array, frame or series; with Parquet str or sequence of str
        With Parquet the column of labels or the columns of targets; all others are X.
    sample_weight : dask array or series, array, or None; with Parquet str
    n_in : int
    names : tuple of str or None
        The columns that the network was trained on, where it knows them.

    Raises
    ------
    TypeError, ValueError
        If they are of another kind, or do not fit each other.
    """
    if isinstance(X, str | os.PathLike):
        return _parquet(os.fspath(X), y, sample_weight, n_in, names)
    X = in_order("X", X, names)
    names = names or column_names(X)
    X = _array("X", X)
    if X.ndim != 2:
        raise ValueError(f"X: expected shape (n_samples, n_features), got {X.shape}")
    if X.shape[1] != n_in:
        raise ValueError(f"X: expected {n_in} features, got {X.shape[1]}")
    if X.dtype.kind not in "biufO":
        raise TypeError(f"X: expected real numbers, got dtype {X.dtype}")
    if X.shape[0] == 0:
        raise ValueError("X: expected at least one sample, got none")
    X = X.rechunk({1: -1})
    lengths = tuple(n for n in X.chunks[0] if n)
    if lengths != X.chunks[0]:
        X = X.rechunk({0: lengths})
    return Collections(X, _beside("y", y, X), _beside("sample_weight", sample_weight, X), names)


def _array(name: str, value: Any) -> Any:
    """Return a Dask array of known chunks."""
    da = require("dask.array", "dask")
    if hasattr(value, "to_dask_array"):
        dtypes = value.dtypes if value.ndim == 2 else [value.dtype]
        if any(hasattr(dtype, "categories") for dtype in dtypes):
            value = value.map_partitions(without_categories)
        return value.to_dask_array(lengths=True)
    if not isinstance(value, da.Array):
        raise TypeError(
            f"{name}: expected a dask array, a dask frame or a path of Parquet files, got "
            f"{type(value).__name__}; an array in memory goes in as dask.array.from_array(...)"
        )
    if any(np.isnan(n) for n in value.shape):
        value = value.compute_chunk_sizes()
    return value


def _beside(name: str, value: Any, X: Any) -> Any:
    """Return an array with a row per row of X, in the same chunks."""
    if value is None:
        if name == "y":
            raise ValueError("y: expected targets beside X, got None")
        return None
    if isinstance(value, np.ndarray | list | tuple):
        value = require("dask.array", "dask").from_array(np.asarray(value), chunks=-1)
    value = _array(name, value)
    if value.ndim not in (1, 2):
        raise ValueError(f"{name}: expected one or two dimensions, got shape {value.shape}")
    if value.shape[0] != X.shape[0]:
        raise ValueError(f"{name}: expected {X.shape[0]} rows as in X, got {value.shape[0]}")
    return value.rechunk((X.chunks[0], *[-1] * (value.ndim - 1)))


def _parquet(
    path: str, y: Any, sample_weight: Any, n_in: int, names: tuple[str, ...] | None
) -> Collections:
    """Return the columns of Parquet files; a chunk is a row group."""
    parquet = require("pyarrow.parquet", "dask")
    fs = require("pyarrow.fs", "dask")
    da, delayed = require("dask.array", "dask"), require("dask", "dask").delayed
    targets = [y] if isinstance(y, str) else y
    if not isinstance(targets, Sequence) or not all(isinstance(name, str) for name in targets):
        raise TypeError(f"y: expected a column's name, or several, got {y!r}")
    if sample_weight is not None and not isinstance(sample_weight, str):
        raise TypeError(f"sample_weight: expected a column's name, got {sample_weight!r}")
    weights = [] if sample_weight is None else [sample_weight]
    try:
        system, place = fs.FileSystem.from_uri(path if "://" in path else os.path.abspath(path))
        files = _files(system, place)
    except (OSError, ValueError) as error:
        raise ValueError(f"X: expected a folder of Parquet files, but {path}: {error}") from None
    parts: list[tuple[Any, Any, Any]] = []
    features: list[str] | None = None
    kinds: dict[str, np.dtype] = {}
    for file in files:
        try:
            metadata = parquet.read_metadata(file, filesystem=system)
        except (OSError, ValueError) as error:
            raise ValueError(f"X: {file} cannot be read as Parquet: {error}") from None
        schema = metadata.schema.to_arrow_schema()
        if features is None:
            features = [n for n in schema.names if n not in (*targets, *weights)]
            features = [n for n in features if not n.startswith("__index_level_")]
            if len(features) != n_in:
                raise ValueError(
                    f"X: expected {n_in} features, got {len(features)} columns of {file} beside "
                    f"{', '.join([*targets, *weights])}"
                )
            if names is not None:
                check_names("X", features, names)
                features = list(names)
        kinds = _checked(file, schema, features, targets, weights, kinds)
        for group in range(metadata.num_row_groups):
            n = metadata.row_group(group).num_rows
            if n:
                read = [
                    delayed(_read)(system, file, group, columns, _dtype(kinds, columns), flat)
                    for columns, flat in (
                        (features, False), (list(targets), isinstance(y, str)), (weights, True)
                    )
                    if columns
                ]  # fmt: skip
                parts.append((n, read, None))
    if not parts or features is None:
        raise ValueError(f"X: expected at least one sample, got none in {path}")

    def joined(i: int, columns: Sequence[str], flat: bool) -> Any:
        dtype, width = _dtype(kinds, columns), [] if flat else [len(columns)]
        return da.concatenate(
            [da.from_delayed(read[i], (n, *width), dtype) for n, read, _ in parts]
        )

    return Collections(
        joined(0, features, False), joined(1, targets, isinstance(y, str)),
        joined(2, weights, True) if weights else None, tuple(features),
    )  # fmt: skip


def _files(system: Any, place: str) -> list[str]:
    """Return the files of a folder, by name.

    None that Spark and pyarrow take for hidden: a ``.`` or ``_`` begins its name or its folder's.
    """
    fs = require("pyarrow.fs", "dask")
    info = system.get_file_info(place)
    if info.type == fs.FileType.File:
        return [place]
    if info.type == fs.FileType.NotFound:
        raise FileNotFoundError("there is no such file or folder")
    found = system.get_file_info(fs.FileSelector(place, recursive=True))
    files = sorted(
        f.path
        for f in found
        if f.type == fs.FileType.File
        and f.extension in ("parquet", "parq", "pq")
        and not any(part.startswith((".", "_")) for part in f.path[len(place) :].split("/"))
    )
    if not files:
        raise ValueError("it holds no file that ends in .parquet")
    return files


def _checked(
    file: str,
    schema: Any,
    features: Sequence[str],
    targets: Sequence[str],
    weights: Sequence[str],
    kinds: dict[str, np.dtype],
) -> dict[str, np.dtype]:
    """Return the columns' dtypes, over all files so far; raise where one has other columns."""
    wanted = [*features, *targets, *weights]
    for argument, names in (("y", targets), ("sample_weight", weights), ("X", features)):
        missing = [name for name in names if name not in schema.names]
        if missing:
            raise ValueError(f"{argument}: expected a column {missing[0]!r}, {file} has none")
    extra = set(schema.names) - set(wanted)
    extra = {name for name in extra if not name.startswith("__index_level_")}
    if extra:
        raise ValueError(
            f"X: expected the same columns in all files, {file} has {sorted(extra)[0]!r} too"
        )
    found = {}
    for name in wanted:
        kind = schema.field(name).type
        try:
            dtype = np.dtype(kind.to_pandas_dtype())
        except (NotImplementedError, TypeError):
            dtype = np.dtype(object)
        if dtype.kind not in "biuf":
            which = "y" if name in targets else "sample_weight" if name in weights else "X"
            raise TypeError(
                f"{which}: expected columns of numbers, but {name!r} of {file} holds {kind}"
            )
        found[name] = np.promote_types(kinds.get(name, dtype), dtype)
    return found


def _dtype(kinds: dict[str, np.dtype], names: Sequence[str]) -> np.dtype:
    return np.result_type(*(kinds[name] for name in names))


def _read(
    system: Any, file: str, group: int, names: Sequence[str], dtype: np.dtype, flat: bool
) -> np.ndarray:
    """Return columns of a row group as a matrix, or one as a vector.

    Raises
    ------
    ValueError
        If one of them has a null.
    """
    import pyarrow.parquet

    with system.open_input_file(file) as source:
        reader = pyarrow.parquet.ParquetFile(source)
        table = reader.read_row_group(group, columns=list(names), use_threads=False)
    found = np.empty((table.num_rows, len(names)), dtype)
    for i, name in enumerate(names):
        column = table.column(name)
        if column.null_count:
            raise ValueError(
                f"column {name!r} of {file}: expected numbers, got {column.null_count} nulls in "
                f"row group {group}"
            )
        found[:, i] = column.to_numpy()
    return found[:, 0] if flat else found
