"""CPU time of processes. On cores that several servers share, it measures cost better than wall time."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

from goodspeed.stats.summary import ratio


@dataclass(frozen=True, slots=True)
class CpuSeconds:
    """CPU seconds by process group; NaN if not known, for example for servers on another machine."""

    verifier: float
    drafters: float
    load: float
    """The load generator: this process."""

    def since(self, before: "CpuSeconds") -> "CpuSeconds":
        """The increase since an earlier reading."""
        return CpuSeconds(self.verifier - before.verifier, self.drafters - before.drafters, self.load - before.load)

    def per(self, whole: float) -> "CpuSeconds":
        """Each divided by `whole`; NaN if that is 0."""
        return CpuSeconds(ratio(self.verifier, whole), ratio(self.drafters, whole), ratio(self.load, whole))


def cpu_seconds(verifier: Sequence[int], drafters: Sequence[int]) -> CpuSeconds:
    """CPU time so far of these processes and of this one."""
    return CpuSeconds(_seconds(verifier), _seconds(drafters), time.process_time())


def _seconds(pids: Sequence[int]) -> float:
    """User and system time of the processes together."""
    try:
        times = [psutil.Process(pid).cpu_times() for pid in pids]
    except psutil.Error:
        return math.nan
    return sum(used.user + used.system for used in times) if times else math.nan
