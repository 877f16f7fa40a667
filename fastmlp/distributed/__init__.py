"""Training on a Dask cluster: full batch and large mini-batches over data that workers keep.

Workers keep the data and sum losses and gradients; the step is taken once, where the program runs.
Needs the extra ``dask``: ``pip install 'fastmlp[dask]'``. ::

    from dask.distributed import Client
    from fastmlp import distributed

    client = Client("tcp://scheduler:8786")
    history = distributed.fit(net, X, y, client=client, epochs=50, optimizer="adam")
    history = distributed.fit(net, "folder/of/parquet", "label", client=client, batch_size=100_000)
    history = distributed.fit_lbfgs(net64, X, y, client=client, l2=1e-4)
    histories = fastmlp.fit_many(nets, X_here, y_here, client=client)

X and y are Dask arrays or frames, or Parquet files and the names of columns. Every partition is
checked before the network changes.

**The same bits.** A batch is cut into groups of samples by its size alone, and their sums are added
in order. Any number of workers leaves the same bits, and a worker that is killed costs time only.
In full batch or with ``shuffle=False`` they are the bits of ``net.fit`` on one machine, for batches
of more than 512 samples and a gradient of at most 512 KB. Larger networks have a sum of their own,
the same for any cluster. It is float32's own, whatever the ``precision`` of the network.

**When workers are lost.** When no worker comes back, `DistributedError` says so, and the network
has its last whole step.

**Memory.** Partitions that Dask has written to disk are read back a few at a time, so data may be
larger than the workers' memory: 2 GB on two workers limited to 1 GB each are a test of the full
run. A worker's memory stays below its partitions and 200 MB. Python, Dask, Numba and the kernels
are 165 MB, with LLVM's pages given back once the kernels are loaded; where the first fit on a
machine compiles them, it takes 60 MB more. ``validation_data`` may be on the cluster too; they are
fetched once, and judged where the program runs.

**When it pays.** A step costs latency per worker and bytes per parameter, none per sample, so it
pays where a batch's compute is much longer. ``benchmarks/README.md`` has a model of it, whose costs
``python benchmarks/cluster_model.py`` measures on any machine.

``fit_many`` and scikit-learn's searches (joblib's ``dask`` backend) spread whole networks instead.
"""

from ._cluster import DistributedError
from ._fit import fit
from ._lbfgs import fit_lbfgs

__all__ = ["DistributedError", "fit", "fit_lbfgs"]
