"""A client and its workers: where partitions are, what is waited for, and what can go wrong."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from typing import Any

from ..support.extras import require

__all__ = ["LOOK_SECONDS", "Cluster", "DistributedError", "connected"]

LOOK_SECONDS = 1.0  # between two looks at who is there


class DistributedError(RuntimeError):
    """The cluster cannot go on: no scheduler, no worker, or one that is lost again and again.

    The network keeps the parameters of its last whole step.
    """


@contextmanager
def connected(client: Any, timeout: float) -> Iterator[Any]:
    """Yield a client: the one given, the present one for None, a new one for an address.

    Raises
    ------
    TypeError
        If it is no client.
    DistributedError
        If nobody answers at the address, or the client is closed.
    """
    distributed = require("distributed", "dask")
    if client is None:
        try:
            client = distributed.default_client()
        except ValueError:
            raise ValueError(
                "client: expected a dask.distributed.Client or an address, got None and there is "
                "no present client"
            ) from None
    if isinstance(client, str):
        address = client
        try:
            client = distributed.Client(address, timeout=timeout, set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            raise DistributedError(f"client: no scheduler answers at {address} ({error})") from None
        with client, client.as_current():
            yield client
        return
    if not isinstance(client, distributed.Client) or client.asynchronous:
        raise TypeError(f"client: expected a blocking dask.distributed.Client, got {client!r}")
    if client.status != "running":
        raise DistributedError(f"client: expected one that is connected, it is {client.status}")
    with client.as_current():  # waiting asks for the present one
        yield client


class Cluster:
    """A client whose failures have one name.

    Parameters
    ----------
    client : distributed.Client
    timeout : float
        Seconds that are waited for a worker when there is none.
    """

    def __init__(self, client: Any, timeout: float) -> None:
        self.client, self.timeout = client, timeout
        self._distributed = require("distributed", "dask")

    def workers(self) -> dict[str, int]:
        """Return the threads of every worker, by address; wait until there is one."""
        deadline = time.monotonic() + self.timeout
        while not (found := self.present()):
            if time.monotonic() > deadline:
                raise DistributedError(f"no worker has come within {self.timeout:g} seconds")
            time.sleep(0.05)
        return found

    def present(self) -> dict[str, int]:
        """Return the threads of every worker that is there now, by address."""
        if self.client.status != "running":
            raise DistributedError(f"the client is {self.client.status}: the scheduler is gone")
        with self.named():
            return dict(sorted(self.client.nthreads().items()))

    @contextmanager
    def named(self) -> Iterator[None]:
        """Give failures of the cluster their name."""
        d = self._distributed
        # what a future that was dropped raises; older versions raise CancelledError itself
        dropped = getattr(d.client, "FutureCancelledError", CancelledError)
        try:
            yield
        except d.scheduler.KilledWorker as error:
            raise DistributedError(
                f"workers died again and again over the same work: {error}"
            ) from error
        except (CancelledError, dropped, d.comm.CommClosedError) as error:
            raise DistributedError(
                f"the scheduler has lost or dropped the work ({error})"
            ) from error
        except OSError as error:
            raise DistributedError(f"the scheduler does not answer ({error})") from error
        except (Exception, asyncio.CancelledError) as error:  # such as of a loop that is closed
            if isinstance(error, DistributedError) or self.client.status == "running":
                raise
            raise DistributedError(f"the client is {self.client.status} ({error})") from error

    def wait(self, futures: Sequence[Any]) -> None:
        """Wait until futures have results, which stay where they are; raise what they raise."""
        self._wait(futures, "ALL_COMPLETED")
        with self.named():
            failed = [future for future in futures if future.status == "error"]
            if failed:
                raise failed[0].exception()

    def first(self, futures: Sequence[Any]) -> list[str]:
        """Wait until some futures have ended; return their keys."""
        return [future.key for future in self._wait(futures, "FIRST_COMPLETED").done]

    def _wait(self, futures: Sequence[Any], until: str) -> Any:
        since = time.monotonic()
        while True:
            with self.named():
                try:
                    return self._distributed.wait(futures, LOOK_SECONDS, return_when=until)
                except TimeoutError:
                    pass
            if self.present():
                since = time.monotonic()
            elif time.monotonic() - since > self.timeout:
                raise DistributedError(
                    f"all workers are lost, and none has come back within {self.timeout:g} seconds"
                )

    def results(self, futures: Sequence[Any]) -> list[Any]:
        """Return what futures give, in their order; raise what they raise."""
        self.wait(futures)
        with self.named():
            return list(self.client.gather(futures))
