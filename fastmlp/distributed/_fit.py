"""fit: `MLP.fit` over data that the workers of a Dask cluster keep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..network import MLP
from ..optimizers import Optimizer
from ..schedules import Schedule
from ..support.extras import require
from ..support.interrupts import CtrlC
from ..support.notices import notices, warn
from ..support.validation import check_integer, check_number
from ..support.wording import counted
from ..training.history import History
from ..training.options import FitOptions
from ..training.trainer import prepare
from ._cluster import Cluster, connected
from ._samples import Data

__all__ = ["check_network", "fit"]


def check_network(net: Any, y: Any, groups: Any, timeout: Any) -> tuple[int, float]:
    """Check what every fit on a cluster needs; return the number of groups and the timeout."""
    if not isinstance(net, MLP):
        raise TypeError(f"net: expected an MLP, got {type(net).__name__}")
    if net.backend != "numba":
        raise ValueError(f"net: expected one with backend 'numba', got {net.backend!r}")
    timeout = check_number("timeout", timeout, above=0.0)
    from ..kernels.run.partial import GROUPS

    groups = GROUPS if groups is None else check_integer("groups", groups, low=1)
    if y is None:
        raise ValueError("y: expected targets beside X, got None")
    return groups, timeout


def _fetched(cluster: Cluster, data: Any) -> Any:
    """Return validation data with what is on the cluster as arrays or frames in memory."""
    dask = require("dask", "dask")
    if not isinstance(data, tuple | list) or not any(map(dask.is_dask_collection, data)):
        return data
    with cluster.named():
        return dask.compute(*data)


def fit(
    net: MLP,
    X: Any,
    y: Any,
    *,
    client: Any = None,
    epochs: int = 10,
    batch_size: int | None = None,
    optimizer: Optimizer | str | None = None,
    schedule: Schedule | str | None = None,
    l2: float = 0.0,
    dropout: float | Sequence[float] = 0.0,
    shuffle: bool = True,
    validation_data: tuple[Any, Any] | None = None,
    early_stopping: Any = None,
    callbacks: Sequence[Any] = (),
    sample_weight: Any = None,
    class_weight: Any = None,
    l1: float = 0.0,
    clip_norm: float | None = None,
    label_smoothing: float = 0.0,
    max_norm: float | None = None,
    metrics: Sequence[Any] = (),
    on_divergence: str = "raise",
    resume: bool = False,
    progress: bool | None = None,
    groups: int | None = None,
    timeout: float = 60.0,
) -> History:
    """Train on data that the workers of a Dask cluster keep in memory; else as `MLP.fit`.

    A batch is cut into groups of samples, by its size alone. Workers sum loss and gradient of the
    groups they keep, one after the other adds its own to the sums before, in the groups' order,
    and the optimizer takes one step here. So the number of workers, and which of them is lost on
    the way, changes no bit.

    **What equals what.** With ``shuffle=False``, or in full batch, parameters, optimizer state and
    history are those of ``net.fit(X, y, shuffle=False, ...)`` on one machine, bit for bit, on
    processors of one kind, where that goes by the same groups: batches of more than 512 samples, a
    gradient of at most 512 KB (131,072 parameters in float32), uint8, bool, float32 or float64,
    and the default `groups`. Larger networks, other dtypes or `groups` have a sum of their own,
    which is the same for any cluster.

    **Shuffling** happens within partitions: the k-th holds group k of every batch, and so a
    sample of the whole; every epoch draws an order within each. No sample moves between workers.

    Parameters
    ----------
    net : MLP
        With ``backend="numba"``.
    X : dask array, dask frame, str or path
        (n, n_in). A path, or a URI that pyarrow knows, is that of a folder of Parquet files that
        all workers can read: rows in order of the files' names. Names of columns are kept in
        ``net.feature_names``; a network that has them takes columns in their order.
    y : dask array, frame or series; with Parquet str or sequence of str
        Labels (n,) or targets (n, n_out); with Parquet the names of their columns. All other
        columns are X, in the order of the first file where the network knows no names.
    client : distributed.Client or str, optional
        Or a scheduler's address; the present client by default.
    batch_size : int or None, default None
        None is the full batch; a mini-batch gives work to ``batch_size / 64`` threads at most.
    validation_data : (X, y), optional
        Evaluated here: Dask arrays and frames are fetched once, and have to fit into memory.
    sample_weight : dask array or series, or array, (n,), optional
        With Parquet a column's name.
    groups : int, optional
        The most groups of a batch, and so the most threads that have work; 32 by default.
    timeout : float, default 60
        Seconds that are waited for a scheduler to answer, and for a worker where there is none.
    epochs ... progress
        As for `MLP.fit`.

    Returns
    -------
    History
        Also kept as ``net.history``.

    Raises
    ------
    DistributedError
        If there is no scheduler, or no worker is left and none comes back. The network has the
        parameters of the last whole step.
    DivergenceError
        As for `MLP.fit`.
    TypeError, ValueError
        If an argument or any partition of the data is not what was expected; the network is
        unchanged then.

    Examples
    --------
    >>> import dask.array as da, fastmlp
    >>> from dask.distributed import Client
    >>> from fastmlp import distributed
    >>> X = da.random.default_rng(0).normal(size=(10_000, 20), chunks=(2_000, 20))
    >>> y = (X[:, 0] > X[:, 1]).astype(int)
    >>> net = fastmlp.MLP((20, 16, 2), rng=0)
    >>> with Client(n_workers=2, dashboard_address=":0") as client:  # doctest: +SKIP
    ...     history = distributed.fit(net, X, y, client=client, epochs=50, optimizer="adam")
    """
    groups, timeout = check_network(net, y, groups, timeout)
    with connected(client, timeout) as found, notices(progress):
        cluster = Cluster(found, timeout)
        options = FitOptions(
            epochs=epochs, batch_size=batch_size, optimizer=optimizer, schedule=schedule, l2=l2,
            dropout=dropout, shuffle=shuffle, validation_data=_fetched(cluster, validation_data),
            validation_split=0.0, early_stopping=early_stopping, callbacks=callbacks,
            sample_weight=None, class_weight=None, l1=l1, clip_norm=clip_norm,
            label_smoothing=label_smoothing, max_norm=max_norm, metrics=metrics,
            on_divergence=on_divergence, resume=resume, progress=progress,
        )  # fmt: skip
        data = Data(net, cluster, (X, y, sample_weight), groups, class_weight)
        plan = prepare(net, data, None, options)
        history = plan.run(CtrlC(breakable=True), warn)
    if history.interrupted:
        warn(
            f"fit was interrupted after {counted(len(history), 'whole epoch')}; the network is "
            "trained so far"
        )
    return history
