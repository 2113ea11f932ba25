"""Speed of the simulator: simulated rounds per CPU second on one core, and memory.

A fleet has 50 drafters per verifier, an RTT of 20 ms with jitter, and users with a think time of two seconds. Each size
and policy runs in its own process; CPU time includes the set-up. 10 minutes interpreted, 4 compiled; no model. Ten
simulated minutes of 1,000 drafters: `--minutes 10 --drafters 1000 --policies price` (4 minutes compiled).

    python -m runs.simulator_speed
    ./scripts/compile && PYTHONPATH=build/compiled python -m runs.simulator_speed
"""

import argparse
import resource
import subprocess
import sys
import time

from goodspeed.simulator import kernel
from goodspeed.simulator.world import simulate
from goodspeed.testing.scenarios import POLICIES, fleet


def measure(num_drafters: int, seconds: float, policy: str) -> None:
    """Simulate one fleet and print a row of the table."""
    start_s = time.process_time()
    result = simulate(fleet(num_drafters, seconds, policy))
    spent_s = time.process_time() - start_s
    num_steps = sum(verifier.num_steps for verifier in result.verifiers)
    print(
        f"| {policy} | {num_drafters:,} | {seconds:g} | {result.num_rounds:,} | {result.num_rounds / num_steps:.1f} "
        f"| {result.num_rounds / spent_s:,.0f} | {1e6 * spent_s / result.num_rounds:.1f} "
        f"| {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drafters", type=int, nargs="*", default=[100, 1000, 10_000])
    parser.add_argument("--policies", nargs="*", default=list(POLICIES), choices=POLICIES)
    parser.add_argument("--minutes", type=float, help="simulated minutes; default: enough for some 100,000 rounds")
    parser.add_argument("--in-process", action="store_true", help="run in this process")
    args = parser.parse_args()
    if not args.in_process:
        print(f"{'interpreted' if kernel.__file__.endswith('.py') else 'compiled'}\n")
        print("| policy | drafters | simulated s | rounds | rounds per step | rounds/s | us per round | MB |")
        print("|---|---|---|---|---|---|---|---|", flush=True)
    for policy in args.policies:
        for num_drafters in args.drafters:
            seconds = 60.0 * args.minutes if args.minutes else max(8.0, 15_000 / num_drafters)
            if args.in_process:
                measure(num_drafters, seconds, policy)
            else:
                arguments = [
                    "--in-process",
                    "--drafters",
                    f"{num_drafters}",
                    "--policies",
                    policy,
                    "--minutes",
                    f"{seconds / 60}",
                ]
                subprocess.run([sys.executable, "-m", "runs.simulator_speed", *arguments], check=True)


if __name__ == "__main__":
    main()
