"""Facts about the machine in a report."""

import os
import threading

import pytest

from goodspeed.cluster.machine import num_cores


@pytest.mark.skipif(num_cores() == 1, reason="there is one core only")
def test_a_thread_that_keeps_a_core_leaves_the_others_to_the_process() -> None:
    """OpenMP binds threads in this way, including the calling one."""
    before, over, mine = num_cores(), threading.Event(), os.sched_getaffinity(0)
    other = threading.Thread(target=over.wait)
    other.start()
    try:
        os.sched_setaffinity(0, {min(mine)})
        assert num_cores() == before
    finally:
        os.sched_setaffinity(0, mine)
        over.set()
        other.join()
