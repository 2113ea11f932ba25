"""Steps of the target beside processes that wake, compute for a moment and sleep: what do they lose?

The engine's threads keep their cores, and each arm's steps lie between steps without neighbours. What a step loses is
set against what the neighbours computed during it; beyond 1.0 it is caches gone cold, `cold_cache_penalty` of a
simulated machine (docs/prediction.md). Nothing else should run meanwhile.

    python -m runs.noisy_neighbours            (a minute)
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from goodspeed.decoding.sampling import Sampling
from goodspeed.engine.interface import Prefill, StreamSpec, TargetEngine, Verify
from goodspeed.engine.target_config import TargetConfig
from goodspeed.engine.targets import target_engine
from goodspeed.engine.torch_import import keep_cores
from goodspeed.library_environment import set_library_environment

NEIGHBOUR = """
import random, sys, time
work_s, every_s, luck = float(sys.argv[1]), float(sys.argv[2]), random.Random(int(sys.argv[3]))
memory = {key: [key] * 8 for key in range(20_000)}
order = luck.sample(sorted(memory), len(memory))
print(flush=True)
while True:
    time.sleep(luck.expovariate(1.0 / every_s))
    end, first = time.thread_time() + work_s, luck.randrange(10_000)
    while time.thread_time() < end:
        for key in order[first : first + 50]:
            memory[key] = [number + 1 for number in memory[key]]
        first = (first + 50) % 19_000
"""
ARMS = ((1, 0.0005, 0.005), (1, 0.002, 0.02), (4, 0.0005, 0.02), (4, 0.002, 0.08), (4, 0.0005, 0.01), (8, 0.0005, 0.02))
"""Neighbours, what each computes at a time, and how long it sleeps on average: seconds."""
CONTEXT, TOKENS, CAPACITY = 64, (2, 3, 1, 4), 4096
STREAM_CONTEXTS = tuple(CONTEXT + 32 * number for number in range(len(TOKENS)))


@dataclass(frozen=True, slots=True)
class Took:
    """Means of a step, in seconds."""

    step_s: float
    others_s: float  # CPU time of neighbours meanwhile


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--steps", type=int, default=120, help="beside neighbours; a third of it without, before and after"
    )
    args = parser.parse_args()
    set_library_environment()
    keep_cores(TargetConfig())
    engine = target_engine("torch", TargetConfig())
    print("| neighbours | each, ms | sleeps, ms | step alone, ms | beside them | they computed | lost / computed |")
    print("|---" * 7 + "|")
    for arm in ARMS:
        alone_s, beside = _measured(engine, arm, args.steps)
        milliseconds = 1e3 * arm[1], 1e3 * arm[2], 1e3 * alone_s, 1e3 * beside.step_s, 1e3 * beside.others_s
        lost = (beside.step_s - alone_s) / beside.others_s
        print(f"| {arm[0]} | {' | '.join(f'{one:.2f}' for one in milliseconds)} | {lost:.2f} |", flush=True)


def _measured(engine: TargetEngine, arm: tuple[int, float, float], num_steps: int) -> tuple[float, Took]:
    """Seconds of a step alone (before and after), and beside the neighbours; contexts grow by a token a step."""
    _open(engine)
    before = _steps(engine, num_steps // 3, ())
    with _neighbours(*arm) as pids:
        beside = _steps(engine, num_steps, pids)
    after = _steps(engine, num_steps // 3, ())
    for stream in range(len(TOKENS)):
        engine.close(stream)
    return (before.step_s + after.step_s) / 2, beside


def _open(engine: TargetEngine) -> None:
    for stream, context in enumerate(STREAM_CONTEXTS):
        engine.open(stream, StreamSpec(tuple(range(1, context + 1)), Sampling(), CAPACITY))
        engine.step([Prefill(stream, context)])
    _steps(engine, 5, ())  # to warm up


def _steps(engine: TargetEngine, num: int, pids: Sequence[int]) -> Took:
    """So many in a row; drafts are of one token again and again, and mostly wrong."""
    others_s, began = _cpu_s(pids), time.perf_counter()
    for _ in range(num):
        engine.step([Verify(stream, (1,) * (tokens - 1)) for stream, tokens in enumerate(TOKENS)])
    return Took((time.perf_counter() - began) / num, (_cpu_s(pids) - others_s) / num)


def _cpu_s(pids: Sequence[int]) -> float:
    """The scheduler's own count."""
    return sum(int(Path(f"/proc/{pid}/schedstat").read_text(encoding="utf-8").split()[0]) for pid in pids) / 1e9


@contextmanager
def _neighbours(num: int, work_s: float, every_s: float) -> Iterator[list[int]]:
    command = (sys.executable, "-c", NEIGHBOUR, str(work_s), str(every_s))
    single = {**os.environ, "OMP_PROC_BIND": "false"}
    processes = [subprocess.Popen([*command, str(number)], stdout=subprocess.PIPE, env=single) for number in range(num)]
    try:
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()  # it has made its memory
        yield [process.pid for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()


if __name__ == "__main__":
    main()
