"""Latency tables of both engines, by `goodspeed profile`, in a process of its own as the servers are."""

import os
import subprocess
import sys
from pathlib import Path

from goodspeed.bench.machine import num_cores
from goodspeed.bench.topology import PAIRS

GRID = (
    *("--streams", "1", "2", "4", "8"),
    *("--tokens", "1", "2", "4", "8", "17"),
    *("--context", "32", "512"),
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
