"""Steps of the target after pauses: is it the pause, or what another process does meanwhile?

`goodspeed profile` with threads that keep their cores and with threads that the system places, alone and beside a
process that works for 2 ms of every 10 (as a drafter does), each arm in turns. Nothing else should run meanwhile.

    python -m runs.idle_penalty            (2 minutes)
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

from goodspeed.profiling.cell import ProfileCell
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
ARMS = [(is_bound, has_neighbour) for has_neighbour in (False, True) for is_bound in (False, True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15, help="steps after each pause, in each turn")
    parser.add_argument("--turns", type=int, default=2)
    args = parser.parse_args()
    turns = [{arm: _profiled(*arm, args.repeats) for arm in ARMS} for _ in range(args.turns)]
    pauses = [cell.pause_s for cell in turns[0][ARMS[0]]]
    print(f"| threads | beside | {' | '.join(f'{1e3 * pause_s:g} ms' for pause_s in pauses)} |")
    print("|---" * (2 + len(pauses)) + "|")
    for is_bound, has_neighbour in ARMS:
        columns = zip(*(turn[is_bound, has_neighbour] for turn in turns), strict=True)
        shown = " | ".join(_shown(cells) for cells in columns)
        print(
            f"| {'keep cores' if is_bound else 'placed'} | {'a neighbour' if has_neighbour else 'nobody'} | {shown} |"
        )


def _shown(turns: tuple[ProfileCell, ...]) -> str:
    """Median and 90%, each the median of the turns'."""
    median_s, p90_s = (quantile([getattr(cell, name) for cell in turns], 0.5) for name in ("median_s", "p90_s"))
    return f"{1e3 * median_s:.1f} ({1e3 * p90_s:.1f})"


def _profiled(is_bound: bool, has_neighbour: bool, repeats: int) -> list[ProfileCell]:
    with TemporaryDirectory(prefix="goodspeed-") as folder, _neighbour(has_neighbour):
        path = Path(folder) / "steps.json"
        command = ("-m", "goodspeed", "profile", *GRID, "--repeats", str(repeats), "--json", str(path))
        environment = {**os.environ, "OMP_PROC_BIND": str(is_bound).lower()}
        subprocess.run([sys.executable, *command], check=True, env=environment, capture_output=True)
        return [ProfileCell(**cell) for cell in json.loads(path.read_text(encoding="utf-8"))["waking"]]


@contextmanager
def _neighbour(is_there: bool) -> Iterator[None]:
    if not is_there:
        yield
        return
    with subprocess.Popen([sys.executable, "-c", NEIGHBOUR]) as process:
        try:
            yield
        finally:
            process.kill()


if __name__ == "__main__":
    main()
