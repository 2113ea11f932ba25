"""CPU time of processes."""

import math
import os
import time

import pytest

from goodspeed.cluster.cpu_time import CpuSeconds, cpu_seconds


def test_this_process_is_counted() -> None:
    before = cpu_seconds([os.getpid()], [])
    start = time.process_time()
    while time.process_time() - start < 0.1:
        pass
    spent = cpu_seconds([os.getpid()], []).since(before)
    assert spent.load >= 0.1
    assert spent.verifier == pytest.approx(spent.load, abs=0.05), "the system counts in hundredths of a second"
    assert math.isnan(spent.drafters), "no process was given"


def test_cpu_time_of_an_ended_process_is_nan() -> None:
    assert math.isnan(cpu_seconds([2**22 + 1], []).verifier)


def test_seconds_are_divided() -> None:
    assert CpuSeconds(4.0, 2.0, 1.0).per(4) == CpuSeconds(1.0, 0.5, 0.25)
