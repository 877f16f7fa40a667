"""A step's sums on their way from worker to worker, in the groups' order.

Every worker is asked at once and sums its own groups; then it fetches the sums of all groups
before them from the one that has them, and adds its own. The last one answers whoever asked.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from ..support.extras import require
from ._sums import Rows, Sums, sum_groups
from ._worker import Job

__all__ = ["Ask", "Route", "sum_kept"]

_ARRIVAL_SECONDS = 10.0  # that one worker may be asked later than the next

Ask = tuple[str, int]  # a fit's name, and a count
Route = list[tuple[str, list[str]]]  # workers in the groups' order, and what they are to sum


@dataclass(eq=False)
class _Place:
    """Where a worker leaves sums for the next one; text, if there are none."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    sums: asyncio.Future[Sums | str] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    def leave(self, sums: Sums | str) -> None:
        """Leave sums, unless something lies there."""
        self.asked.set()
        if not self.sums.done():
            self.sums.set_result(sums)


_places: dict[tuple[Ask, int], _Place] = {}


def _place(ask: Ask, i: int) -> _Place:
    if (ask, i) not in _places:
        _places[ask, i] = _Place()
    return _places[ask, i]


def _leave_older(ask: Ask) -> None:
    """End what is left of earlier steps of a fit."""
    for earlier, i in list(_places):
        if earlier[0] == ask[0] and earlier[1] < ask[1]:
            _places.pop((earlier, i)).leave("it was given up")


async def sum_kept(
    ask: Ask, route: Route, job: Job, *arguments: Any, dask_worker: Any
) -> Sums | str | None:
    """Sum the groups of partitions that this worker keeps, and add them to those before them.

    Parameters
    ----------
    ask : (str, int)
        A later step of a fit has a higher count.
    route : list of (str, list of str)
        Under which names Dask keeps which worker's partitions; neighbours only stand together.
    job, arguments
        As for `sum_groups`.

    Returns
    -------
    Sums or str or None
        Of all groups, on the last worker; text, if a worker is lost, or keeps a partition no more.
    """
    _leave_older(ask)
    mine = [i for i, (address, _) in enumerate(route) if address == dask_worker.address]
    for i in mine:
        _place(ask, i).asked.set()
    found = await asyncio.gather(*[_add(ask, i, route, job, arguments, dask_worker) for i in mine])
    texts = [answer for answer in found if isinstance(answer, str)]
    return texts[0] if texts else found[-1]


async def _add(
    ask: Ask, i: int, route: Route, job: Job, arguments: tuple[Any, ...], worker: Any
) -> Sums | str | None:
    """Add the i-th sums to those before them, and leave them for the next."""
    found: Sums | str = "it failed"
    try:
        found = await _added(ask, i, route, job, arguments, worker)
    finally:
        if i + 1 < len(route):
            _place(ask, i).leave(found)
        else:
            _places.pop((ask, i), None)
    return found if isinstance(found, str) or i + 1 == len(route) else None


async def _added(
    ask: Ask, i: int, route: Route, job: Job, arguments: tuple[Any, ...], worker: Any
) -> Sums | str:
    address, keys = route[i]
    missing = [key for key in keys if key not in worker.data]
    if missing:
        return f"{address} keeps {missing[0]} no more"
    found, rows = await asyncio.gather(
        _fetch(ask, i - 1, route, worker), _sum_all(keys, worker, job, arguments)
    )
    if isinstance(found, str):
        return found
    return await asyncio.to_thread(_onto, found, rows, job.layout.size(arguments[0]))


async def _sum_all(
    keys: list[str], worker: Any, job: Job, arguments: tuple[Any, ...]
) -> list[Rows]:
    """Sum partitions, all at once; with some of them on disk, a few at a time, these last."""
    data, threads = worker.data, worker.state.nthreads
    spilled = set(keys) & set(getattr(data, "slow", None) or ())
    if not spilled:
        partitions = [data[key] for key in keys]
        return [await asyncio.to_thread(sum_groups, partitions, threads, job, *arguments)]
    found: dict[str, list[Rows]] = {}
    places = sorted(range(0, len(keys), threads), key=lambda k: keys[k] in spilled)
    for k in places:
        found[keys[k]] = [
            await asyncio.to_thread(
                sum_groups, [data[key] for key in keys[k : k + threads]], threads, job, *arguments
            )
        ]
    return [rows for key in keys for rows in found.get(key, ())]


def _onto(sums: Sums | None, parts: list[Rows], n: int) -> Sums:
    for rows in parts:
        sums = rows.onto(sums, n)
    assert sums is not None
    return sums


async def _fetch(ask: Ask, i: int, route: Route, worker: Any) -> Sums | str | None:
    """Return the sums of all groups up to the i-th of a route."""
    if i < 0:
        return None
    address, _ = route[i]
    dumps = require("distributed.protocol.pickle", "dask").dumps
    try:
        answer = await worker.rpc(address).run(function=dumps(_hand_on), args=dumps((ask, i)))
    except OSError as error:
        return f"{address} is lost: {error}"
    return answer["result"] if answer["status"] == "OK" else f"{address}: {answer}"


async def _hand_on(ask: Ask, i: int) -> Sums | str:
    """Wait for sums that this worker leaves, and take them away."""
    place = _place(ask, i)
    try:
        await asyncio.wait_for(place.asked.wait(), _ARRIVAL_SECONDS)
        return await place.sums
    except TimeoutError:
        return "it was not asked"
    finally:
        _places.pop((ask, i), None)
