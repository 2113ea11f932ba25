"""Live runs over different emulated links: RTT 5, 20, 50 and 80 ms, jitter 20%, one slow drafter, deadline batching.

The metric is goodput per second. The run logs every round; `runs/live_report.py --per-second` makes table and figure.
Runs that have a log are not repeated. 15 minutes on two cores for five seeds; needs the target model.

    python -m runs.live_links --output results/live-links
    python -m runs.live_links --output /tmp/quick --quick
"""

import argparse
from pathlib import Path

from runs.live.campaign import Campaign, carry_out
from runs.live.setups import LINKS

from goodspeed.engine.target_config import TargetConfig


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("results/live-links"))
    parser.add_argument("--configs", nargs="+", default=list(LINKS), help="set-ups of runs/live/setups.py")
    parser.add_argument(
        "--arms",
        nargs="+",
        default=["fixed", "gradient,draft_selection=arrival", "time_aware,time_price=1.0"],
        help="SCHEDULER[,option=value..]",
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--seconds", type=float, default=45.0, help="seconds of every run")
    parser.add_argument("--quick", action="store_true", help="one seed, 8 s")
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--dtype", default="bf16", choices=("bf16", "fp32"))
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    campaign = Campaign(args.configs, args.arms, args.seeds, 0, args.seconds)
    if args.quick:
        campaign = Campaign(args.configs, args.arms, [1], 0, 8.0)
    target = TargetConfig(model=args.model, dtype=args.dtype, threads=args.threads)
    carry_out(campaign, target, args.output, lambda line: print(line, flush=True))


if __name__ == "__main__":
    main()
