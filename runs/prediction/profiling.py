"""Latency tables of both engines from `goodspeed profile`, which runs in its own process, as the servers do.

The speed of a virtual machine drifts by 5 to 20% within a quarter of an hour, and may halve for a second. So there are
several profiles between the live runs, and the table of a live run is the mean of the profiles before and after it.
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
"""The range of the set-ups: 8 streams, proposals of up to 16 tokens, prompts and answers of 30 to 500 tokens."""

OUTLIER_RATIO = 1.5
"""A step that is longer by this factor is an outlier, not drift."""


def profile(pair: str, path: Path, repeats: int) -> None:
    """Profile both engines and write the tables. Raises CalledProcessError."""
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
    """Write the mean of two profiles of the same grid."""
    first, second = (json.loads(profile.read_bytes()) for profile in (before, after))
    between = {name: _between(values, second[name]) for name, values in first.items()}
    path.write_text(json.dumps(between, indent=1), encoding="utf-8")


def _between(first: Any, second: Any) -> Any:
    """The mean of two lists of cells; for other values, the first one."""
    if not isinstance(first, list) or not all(isinstance(cell, Mapping) for cell in first):
        return first
    return [
        {**cell, "median_s": _time_s(cell["median_s"], second_cell["median_s"])}
        for cell, second_cell in zip(first, second, strict=True)
    ]


def _time_s(first_s: float, second_s: float) -> float:
    """The mean, or the shorter time if the other one is an outlier."""
    shorter, longer = sorted((first_s, second_s))
    return shorter if longer > OUTLIER_RATIO * shorter else (shorter + longer) / 2.0
