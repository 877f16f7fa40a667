"""Whether threads can be had: what limits them is not to be read anywhere."""

from __future__ import annotations

import threading

__all__ = ["startable"]


def startable(count: int) -> int:
    """Return how many threads of `count` can be started beside the present ones.

    Each is started, and ended again: 50 us a thread.

    Examples
    --------
    >>> from fastmlp.support.threads import startable
    >>> startable(2)
    2
    """
    over, threads = threading.Event(), []
    try:
        for _ in range(count):
            thread = threading.Thread(target=over.wait, daemon=True)
            thread.start()
            threads.append(thread)
    except (RuntimeError, MemoryError):  # no more processes, or no memory for a stack
        pass
    finally:
        over.set()
    for thread in threads:
        thread.join()
    return len(threads)
