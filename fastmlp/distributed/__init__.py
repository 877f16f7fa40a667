"""Training on a Dask cluster: full batch and large mini-batches over data that workers keep.

Needs the extra ``dask``: ``pip install 'fastmlp[dask]'``.
"""

from ._cluster import DistributedError
from ._fit import fit
from ._lbfgs import fit_lbfgs

__all__ = ["DistributedError", "fit", "fit_lbfgs"]
