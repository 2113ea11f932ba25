"""The GoodSpeed paper's experiments, live: real servers in one process, a real target, several drafts and domains.

The run logs every round of every client; runs/live_report.py makes figures and tables. Runs that have a log are not
repeated, so it may be interrupted and restarted. Three hours on two cores for five seeds, much less with
--pregenerated; needs the target model.

    python -m runs.live_paper --output results/live-paper
    python -m runs.live_paper --output /tmp/quick --quick
"""

import argparse
from pathlib import Path

from runs.live.campaign import Campaign, carry_out
from runs.live.setups import PAPER, PER_ROUND

from goodspeed.engine.target_config import TargetConfig


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("results/live-paper"))
    parser.add_argument("--configs", nargs="+", default=list(PAPER), help="set-ups of runs/live/setups.py")
    parser.add_argument("--arms", nargs="+", default=["fixed", "random", PER_ROUND], help="SCHEDULER[,option=value..]")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--rounds", type=int, default=600, help="rounds of every client")
    parser.add_argument("--quick", action="store_true", help="one seed, 40 rounds of N = 4, C = 24")
    parser.add_argument(
        "--pregenerated",
        action="store_true",
        help="generate answers once and replay them: gives utilities, but no times",
    )
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--dtype", default="bf16", choices=("bf16", "fp32"))
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    campaign = Campaign(args.configs, args.arms, args.seeds, args.rounds, 900.0, args.pregenerated)
    if args.quick:
        campaign = Campaign(["n4-c24"], args.arms, [1], 40, 60.0, args.pregenerated)
    target = TargetConfig(model=args.model, dtype=args.dtype, threads=args.threads)
    carry_out(campaign, target, args.output, lambda line: print(line, flush=True))


if __name__ == "__main__":
    main()
