"""Peak memory of whole fits: the data, and what comes on top of them."""

from __future__ import annotations

import fastmlp
from fastmlp.datasets import load_mnist


class Memory:
    """Of a process that loads the whole of MNIST as uint8, 55 MB, and trains on it."""

    params = ((64, None, 1),)
    param_names = ("batch_size",)
    timeout = 300

    def setup(self, batch_size: int | None) -> None:
        self.data = load_mnist("uint8")
        self.net = fastmlp.MLP((784, 200, 100, 50, 10), input_scale=255.0, rng=0)

    def peakmem_loaded(self, batch_size: int | None) -> None:
        pass

    def peakmem_fit(self, batch_size: int | None) -> None:
        self.net.fit(self.data.x_train, self.data.y_train, epochs=1, batch_size=batch_size)

    def peakmem_predict(self, batch_size: int | None) -> None:
        self.net.predict(self.data.x_train)
