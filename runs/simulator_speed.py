"""How many rounds a core simulates in a second, and in how much memory: `python -m runs.simulator_speed`.

50 drafters a verifier (issue: 20 verifiers with 1,000 drafters), 20 ms away, jittery links, users who think for two
seconds. Each size and policy runs in a process of its own, one after the other; seconds are CPU seconds, the making of
the world included. Compiled: `./scripts/compile`, then `PYTHONPATH=build/compiled python -m runs.simulator_speed`.

About 4 minutes compiled, 10 interpreted; `--minutes 10 --drafters 1000 --policies price` for the whole of ten simulated
minutes (some 4 minutes compiled).
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
    """A row of the table."""
    started = time.process_time()
    result = simulate(fleet(num_drafters, seconds, policy))
    spent_s = time.process_time() - started
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
    parser.add_argument("--minutes", type=float, help="simulated; default: as long as some 100,000 rounds take")
    parser.add_argument("--alone", action="store_true", help="in this process")
    args = parser.parse_args()
    if not args.alone:
        print(f"{'interpreted' if kernel.__file__.endswith('.py') else 'compiled'}\n")
        print("| policy | drafters | simulated s | rounds | rounds a step | rounds/s | us a round | MB |")
        print("|---|---|---|---|---|---|---|---|", flush=True)
    for policy in args.policies:
        for num_drafters in args.drafters:
            seconds = 60.0 * args.minutes if args.minutes else max(8.0, 15_000 / num_drafters)
            if args.alone:
                measure(num_drafters, seconds, policy)
            else:
                one = ["--alone", "--drafters", f"{num_drafters}", "--policies", policy, "--minutes", f"{seconds / 60}"]
                subprocess.run([sys.executable, "-m", "runs.simulator_speed", *one], check=True)


if __name__ == "__main__":
    main()
