"""Legacy generators permute in C long, 32 bits on Windows: what kernels read is 64 bits anyway."""

import numpy as np
import pytest

import fastmlp


class Narrow(np.random.RandomState):
    """A RandomState as it is where C long has 32 bits."""

    def __deepcopy__(self, memo):
        """Stay narrow: RandomState copies itself as its own class."""
        copied = Narrow()
        copied.set_state(self.get_state())
        return copied

    def permutation(self, x):
        """Return the same permutation in 32 bits."""
        return super().permutation(x).astype(np.int32)


def trained(generator, batch_size, l2, backend):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((120, 9)).astype(np.float32), rng.integers(0, 3, 120)
    net = fastmlp.MLP((9, 8, 3), rng=generator(3), backend=backend)
    history = net.fit(
        X, y, epochs=2, batch_size=batch_size, l2=l2, validation_split=0.2, progress=False
    )
    return [*net.weights, *net.biases], history


@pytest.mark.parametrize("backend", ["numba", "numpy"])
@pytest.mark.parametrize(("batch_size", "l2"), [(16, 0.0), (1, 0.0), (1, 1e-3), (None, 0.0)])
def test_a_permutation_of_32_bits_trains_the_same_network(batch_size, l2, backend):
    narrow, narrow_history = trained(Narrow, batch_size, l2, backend)
    wide, wide_history = trained(np.random.RandomState, batch_size, l2, backend)
    assert all(np.array_equal(a, b) for a, b in zip(narrow, wide, strict=True))
    assert narrow_history.loss == wide_history.loss
    assert narrow_history.val_loss == wide_history.val_loss
