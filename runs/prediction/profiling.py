"""Latency tables of both engines, by `goodspeed profile`, in a process of its own as the servers are.

A machine's speed drifts, by 5 to 20% within a quarter of an hour where it is a guest among others, and for a second it
may be half of what it was. So there are several profiles, between the live runs, and the tables of a live run are
between those of the profile before and of the one after it.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from goodspeed.cluster.machine import num_cores
from goodspeed.cluster.topology import PAIRS

GRID = (
    *("--streams", "1", "2", "4", "8"),
    *("--tokens", "1", "2", "4", "8", "17"),
    *("--context", "32", "128", "512"),
    *("--prefill", "32", "64", "128", "512"),
)
"""Where the set-ups go: 8 streams, proposals of up to 16, prompts and answers of 30 to 500 tokens."""

BAD_MOMENT = 1.5
"""No drift makes a step so many times as long."""


def profile(pair: str, path: Path, repeats: int) -> None:
    """Write the tables. Raises CalledProcessError."""
    flags = PAIRS[pair](0.8)
    command = ("-m", "goodspeed", "profile", *flags.verifier, *flags.drafter, *GRID, "--repeats", str(repeats))
    threads = {name: str(num_cores()) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    unfinished = path.with_suffix(".part")
    subprocess.run(
        [sys.executable, *command, "--json", str(unfinished)],
        check=True,
        env={**os.environ, **threads},
        stdout=subprocess.DEVNULL,
    )
    unfinished.replace(path)


def merge(before: Path, after: Path, path: Path) -> None:
    """Write the tables between two profiles of the same grid: the first one's, each cell's time as of both."""
    first, second = (json.loads(profile.read_bytes()) for profile in (before, after))
    between = {name: _between(values, second[name]) for name, values in first.items()}
    path.write_text(json.dumps(between, indent=1), encoding="utf-8")


def _between(first: Any, second: Any) -> Any:
    """Of lists of cells; whatever else a profile says is the first one's."""
    if not isinstance(first, list) or not all(isinstance(cell, Mapping) for cell in first):
        return first
    return [
        {**cell, "median_s": _time_s(cell["median_s"], same["median_s"])}
        for cell, same in zip(first, second, strict=True)
    ]


def _time_s(one_s: float, other_s: float) -> float:
    """The mean; the shorter one where the other was met by a bad moment."""
    shorter, longer = sorted((one_s, other_s))
    return shorter if longer > BAD_MOMENT * shorter else (shorter + longer) / 2.0
