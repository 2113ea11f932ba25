"""CPU time of processes: on cores that all share, it says more of a cost than the clock does."""

import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from goodspeed.stats.summary import ratio

USER_TIME = 11  # fields of /proc/PID/stat after the command's name (proc(5))


@dataclass(frozen=True, slots=True)
class CpuSeconds:
    """By who used it; NaN where it cannot be told (servers of others, systems without /proc)."""

    verifier: float
    drafters: float
    load: float
    """The load generator itself."""

    def since(self, before: "CpuSeconds") -> "CpuSeconds":
        """What was used in between."""
        return CpuSeconds(self.verifier - before.verifier, self.drafters - before.drafters, self.load - before.load)

    def per(self, whole: float) -> "CpuSeconds":
        """Each divided by `whole`; NaN if that is 0."""
        return CpuSeconds(ratio(self.verifier, whole), ratio(self.drafters, whole), ratio(self.load, whole))


def cpu_seconds(verifier: Sequence[int], drafters: Sequence[int]) -> CpuSeconds:
    """CPU time so far of these process ids and of this process."""
    return CpuSeconds(_seconds(verifier), _seconds(drafters), time.process_time())


def _seconds(pids: Sequence[int]) -> float:
    try:
        return sum(_ticks(pid) for pid in pids) / os.sysconf("SC_CLK_TCK") if pids else math.nan
    except OSError:
        return math.nan


def _ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return int(fields[USER_TIME]) + int(fields[USER_TIME + 1])
