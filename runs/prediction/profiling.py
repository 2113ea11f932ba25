"""Latency tables of both engines, by `goodspeed profile`, in a process of its own as the servers are.

A machine's speed drifts, by 5 to 10% within a quarter of an hour where it is a guest among others, and for a second it
may be half of what it was. So there are several profiles, between the live runs, and the tables are their medians.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from goodspeed.bench.machine import num_cores
from goodspeed.bench.stats import quantile
from goodspeed.bench.topology import PAIRS

GRID = (
    *("--streams", "1", "2", "4", "8"),
    *("--tokens", "1", "2", "4", "8", "17"),
    *("--context", "32", "128", "512"),
    *("--prefill", "32", "64", "128", "512"),
)
"""Where the set-ups go: 8 streams, proposals of up to 16, prompts and answers of 30 to 500 tokens."""


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


def merge(profiles: Sequence[Path], path: Path) -> None:
    """Write the tables of several profiles of the same grid: the first one's, each cell's time the median of all."""
    tables = [json.loads(profile.read_bytes()) for profile in profiles]
    merged = {name: _median(values, [table[name] for table in tables]) for name, values in tables[0].items()}
    path.write_text(json.dumps(merged, indent=1), encoding="utf-8")


def _median(value: Any, every: Sequence[Any]) -> Any:
    """Of lists of cells; whatever else a profile says is the first one's."""
    if not isinstance(value, list) or not all(isinstance(cell, Mapping) for cell in value):
        return value
    return [
        {**cell, "median_s": quantile([same["median_s"] for same in cells], 0.5)}
        for cell, cells in zip(value, zip(*every, strict=True), strict=True)
    ]
