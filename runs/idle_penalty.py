"""Idle penalty of the target: step times after pauses, with pinned and unpinned threads, with and without a neighbour.

The run calls `goodspeed profile` in each arm in turn; the neighbour works for 2 ms of every 10, as a drafter does. Two
minutes on cores that nothing else uses; needs the target model.

    python -m runs.idle_penalty
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from goodspeed.profiling.profile_grid import ProfileCell
from goodspeed.stats.summary import quantile

GRID = ("--streams", "1", "--tokens", "4", "--context", "128", "--prefill", "32")
NEIGHBOUR = """
import time
memory = bytearray(24_000_000)
while True:
    end = time.perf_counter() + 0.002
    while time.perf_counter() < end:
        memory[::4096] = bytes(len(memory[::4096]))
    time.sleep(0.008)
"""
ARMS = [(is_pinned, has_neighbour) for has_neighbour in (False, True) for is_pinned in (False, True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15, help="steps after each pause, in each repetition")
    parser.add_argument("--repetitions", type=int, default=2)
    args = parser.parse_args()
    repetitions = [{arm: _profiled(*arm, args.repeats) for arm in ARMS} for _ in range(args.repetitions)]
    pauses = [cell.pause_s for cell in repetitions[0][ARMS[0]]]
    print(f"| threads | neighbour | {' | '.join(f'{1e3 * pause_s:g} ms' for pause_s in pauses)} |")
    print("|---" * (2 + len(pauses)) + "|")
    for is_pinned, has_neighbour in ARMS:
        columns = zip(*(repetition[is_pinned, has_neighbour] for repetition in repetitions), strict=True)
        shown = " | ".join(_shown(cells) for cells in columns)
        print(f"| {'pinned' if is_pinned else 'unpinned'} | {'yes' if has_neighbour else 'no'} | {shown} |")


def _shown(repetitions: tuple[ProfileCell, ...]) -> str:
    """Median and 90th percentile; each is the median over the repetitions."""
    median_s, p90_s = (quantile([getattr(cell, name) for cell in repetitions], 0.5) for name in ("median_s", "p90_s"))
    return f"{1e3 * median_s:.1f} ({1e3 * p90_s:.1f})"


def _profiled(is_pinned: bool, has_neighbour: bool, repeats: int) -> list[ProfileCell]:
    with TemporaryDirectory(prefix="goodspeed-") as folder, _neighbour(has_neighbour):
        path = Path(folder) / "steps.json"
        command = ("-m", "goodspeed", "profile", *GRID, "--repeats", str(repeats), "--json", str(path))
        environment = {**os.environ, "OMP_PROC_BIND": str(is_pinned).lower()}
        subprocess.run([sys.executable, *command], check=True, env=environment, capture_output=True)
        return [ProfileCell(**cell) for cell in json.loads(path.read_text(encoding="utf-8"))["after_pauses"]]


@contextmanager
def _neighbour(has_neighbour: bool) -> Iterator[None]:
    if not has_neighbour:
        yield
        return
    with subprocess.Popen([sys.executable, "-c", NEIGHBOUR]) as process:
        try:
            yield
        finally:
            process.kill()


if __name__ == "__main__":
    main()
