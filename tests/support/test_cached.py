"""Properties that are computed once."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from fastmlp.support.cached import cached_property


class Slow:
    def __init__(self, wait) -> None:
        self.wait, self.asked = wait, 0

    @cached_property
    def answer(self) -> int:
        """What it is."""
        self.wait()
        self.asked += 1
        return 42


def test_it_is_computed_once():
    slow = Slow(lambda: None)
    assert (slow.answer, slow.answer, slow.asked) == (42, 42, 1)
    assert Slow.answer.__doc__ == "What it is."


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_the_child_of_a_fork_does_not_wait_for_a_thread_that_stayed_behind():
    begun, over = threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        over.wait()

    thread = threading.Thread(target=lambda: Slow(wait).answer)
    thread.start()
    begun.wait()
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        os._exit(0 if Slow(lambda: None).answer == 42 else 1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    over.set()
    thread.join()
    assert code == 0
