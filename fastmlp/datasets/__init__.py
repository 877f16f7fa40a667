"""MNIST, readers of the formats it is passed around in, and small helpers for labels.

`load_mnist` needs no download: the data set travels inside the package. `load_idx`, `load_csv`
and `load_npz` read files from elsewhere and trust nothing in them; `one_hot` and
`train_test_split` prepare what was read.
"""

from ._csv import load_csv
from ._idx import load_idx
from ._mnist import load_mnist
from ._npz import load_npz
from ._sets import MNIST
from ._split import one_hot, train_test_split

__all__ = [
    "MNIST",
    "load_csv",
    "load_idx",
    "load_mnist",
    "load_npz",
    "one_hot",
    "train_test_split",
]
