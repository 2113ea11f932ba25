"""Slow-down of target steps by neighbour processes that wake, compute briefly and sleep.

The engine's threads are pinned, and the steps of each arm lie between steps without neighbours. The run prints the time
that a step loses relative to the CPU time of the neighbours during it. A ratio above 1.0 is due to cold caches: it is
the `cold_cache_penalty` of a simulated machine. A minute on cores that nothing else uses; needs the target model.

    python -m runs.noisy_neighbours
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
work_s, every_s, rng = float(sys.argv[1]), float(sys.argv[2]), random.Random(int(sys.argv[3]))
memory = {key: [key] * 8 for key in range(20_000)}
order = rng.sample(sorted(memory), len(memory))
print(flush=True)
while True:
    time.sleep(rng.expovariate(1.0 / every_s))
    end, first = time.thread_time() + work_s, rng.randrange(10_000)
    while time.thread_time() < end:
        for key in order[first : first + 50]:
            memory[key] = [number + 1 for number in memory[key]]
        first = (first + 50) % 19_000
"""
ARMS = ((1, 0.0005, 0.005), (1, 0.002, 0.02), (4, 0.0005, 0.02), (4, 0.002, 0.08), (4, 0.0005, 0.01), (8, 0.0005, 0.02))
"""(neighbours, seconds that each computes at a time, mean seconds of sleep)."""
CONTEXT, TOKENS, CAPACITY = 64, (2, 3, 1, 4), 4096
STREAM_CONTEXTS = tuple(CONTEXT + 32 * number for number in range(len(TOKENS)))


@dataclass(frozen=True, slots=True)
class StepMeans:
    """Mean seconds per step."""

    step_s: float
    neighbours_s: float  # CPU time of the neighbours


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--steps", type=int, default=120, help="steps with neighbours; a third as many before and after, without"
    )
    args = parser.parse_args()
    set_library_environment()
    keep_cores(TargetConfig())
    engine = target_engine("torch", TargetConfig())
    print("| neighbours | computes, ms | sleeps, ms | step without, ms | step, ms | neighbours' CPU, ms | lost / CPU |")
    print("|---" * 7 + "|")
    for arm in ARMS:
        undisturbed_s, disturbed = _measured(engine, arm, args.steps)
        milliseconds = (
            1e3 * arm[1],
            1e3 * arm[2],
            1e3 * undisturbed_s,
            1e3 * disturbed.step_s,
            1e3 * disturbed.neighbours_s,
        )
        lost = (disturbed.step_s - undisturbed_s) / disturbed.neighbours_s
        print(f"| {arm[0]} | {' | '.join(f'{value:.2f}' for value in milliseconds)} | {lost:.2f} |", flush=True)


def _measured(engine: TargetEngine, arm: tuple[int, float, float], num_steps: int) -> tuple[float, StepMeans]:
    """(seconds of a step without neighbours, means with them). Contexts grow by a token per step."""
    _open_streams(engine)
    before = _steps(engine, num_steps // 3, ())
    with _neighbours(*arm) as pids:
        disturbed = _steps(engine, num_steps, pids)
    after = _steps(engine, num_steps // 3, ())
    for stream in range(len(TOKENS)):
        engine.close(stream)
    return (before.step_s + after.step_s) / 2, disturbed


def _open_streams(engine: TargetEngine) -> None:
    for stream, context in enumerate(STREAM_CONTEXTS):
        engine.open(stream, StreamSpec(tuple(range(1, context + 1)), Sampling(), CAPACITY))
        engine.step([Prefill(stream, context)])
    _steps(engine, 5, ())  # warm-up


def _steps(engine: TargetEngine, num: int, pids: Sequence[int]) -> StepMeans:
    """Run `num` steps; drafts repeat one token and are mostly rejected."""
    neighbours_s, start_s = _cpu_s(pids), time.perf_counter()
    for _ in range(num):
        engine.step([Verify(stream, (1,) * (tokens - 1)) for stream, tokens in enumerate(TOKENS)])
    return StepMeans((time.perf_counter() - start_s) / num, (_cpu_s(pids) - neighbours_s) / num)


def _cpu_s(pids: Sequence[int]) -> float:
    """CPU seconds of the processes, from the kernel scheduler's statistics."""
    return sum(int(Path(f"/proc/{pid}/schedstat").read_text(encoding="utf-8").split()[0]) for pid in pids) / 1e9


@contextmanager
def _neighbours(num: int, work_s: float, every_s: float) -> Iterator[list[int]]:
    command = (sys.executable, "-c", NEIGHBOUR, str(work_s), str(every_s))
    environment = {**os.environ, "OMP_PROC_BIND": "false"}
    processes = [
        subprocess.Popen([*command, str(number)], stdout=subprocess.PIPE, env=environment) for number in range(num)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()  # its memory is allocated
        yield [process.pid for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()


if __name__ == "__main__":
    main()
