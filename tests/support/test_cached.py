"""Properties that are computed once."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from fastmlp.support.cached import cached_property


class Slow:
    asked = 0

    @cached_property
    def answer(self) -> int:
        """What it is."""
        self.asked += 1
        return 42


def test_it_is_computed_once():
    slow = Slow()
    assert (slow.answer, slow.answer, slow.asked) == (42, 42, 1)
    assert Slow.answer.__doc__ == "What it is."


FORK = """
import os, signal, threading
from fastmlp.support.cached import cached_property

class Slow:
    def __init__(self, wait):
        self.wait = wait

    @cached_property
    def answer(self):
        self.wait()
        return 42

begun, over = threading.Event(), threading.Event()
thread = threading.Thread(target=lambda: Slow(lambda: begun.set() or over.wait()).answer)
thread.start()
begun.wait()
child = os.fork()
if child == 0:
    signal.alarm(60)
    os._exit(Slow(lambda: None).answer)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
over.set()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_the_child_of_a_fork_does_not_wait_for_a_thread_that_stayed_behind():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK], capture_output=True, text=True, check=True
    )
    assert done.stdout == "42\n"
