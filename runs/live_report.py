"""Figures and tables of live runs, from their logs.

    python -m runs.live_report --input results/live-paper --figures docs/measurements/figures  (the paper's 2 to 4)
    python -m runs.live_report --input results/live-links --per-second --figures docs/measurements/figures  (per second)

Tables are printed as Markdown. With --per-second, goodput is counted between --from-s and the end of the shortest run.
Seconds; figures need matplotlib.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path

from runs.live.comparison import ArmRateMetrics, ArmRoundMetrics, RunLogs, compare_rates, compare_rounds
from runs.live.plots import estimated_and_real, rates, utilities, wall_times
from runs.live.run_log import RunLog
from runs.live.setups import PER_ROUND

from goodspeed.errors import ConfigError
from goodspeed.stats.intervals import ConfidenceInterval


def load(folder: Path) -> dict[str, RunLogs]:
    """All complete run logs, by set-up, arm and seed. Raises ConfigError if there are none."""
    found: dict[str, dict[str, dict[int, RunLog]]] = {}
    for path in sorted(folder.glob("*/*/seed*.json")):
        run_log = RunLog.load(path)
        if run_log.is_complete:
            arms = found.setdefault(path.parts[-3], {})
            arms.setdefault(path.parts[-2], {})[int(path.stem.removeprefix("seed"))] = run_log
    if not found:
        raise ConfigError(f"no complete run logs in {folder}")
    return {setup: dict(sorted(arms.items(), key=lambda item: _rank(item[0]))) for setup, arms in found.items()}


def _rank(arm: str) -> tuple[int, str]:
    known = ("fixed", "random", PER_ROUND)
    return (known.index(arm) if arm in known else len(known), arm)


def paper(run_logs: dict[str, RunLogs], args: argparse.Namespace) -> None:
    """Print the table and make figures 2 to 4."""
    num_rounds = min(len(c.rounds) for arms in run_logs.values() for r in runs_of(arms) for c in r.clients)
    print(
        f"{num_rounds} rounds of every client; gain and ratio relative to {args.baseline}, paired by seed; "
        "95% intervals\n"
    )
    print("| set-up | arm | seeds | utility | gain | ms per token | ratio | Jain's index | committed / verified |")
    print("|---|---|---|---|---|---|---|---|---|")
    for setup, arms in run_logs.items():
        for metrics in compare_rounds(arms, args.baseline, num_rounds):
            print(_round_row(setup, metrics))
    if args.figures:
        utilities(run_logs, num_rounds, args.figures / "live-utility")
        wall_times(run_logs, args.figures / "live-wall-time")
        for setup, arms in run_logs.items():
            if args.ours in arms:
                first = next(iter(arms[args.ours].values()))
                estimated_and_real(first, num_rounds, args.figures / f"live-estimates-{setup}")


def per_second(run_logs: dict[str, RunLogs], args: argparse.Namespace) -> None:
    """Print the table of goodput per second and make its figure."""
    until_s = min(r.steps.verified_s[-1] for arms in run_logs.values() for r in runs_of(arms))
    print(f"from {args.from_s:g} s to {until_s:.1f} s; ratios to {args.baseline}, paired by seed; 95% intervals\n")
    all_figures = {}
    for setup, arms in run_logs.items():
        all_figures[setup] = compare_rates(arms, args.baseline, args.from_s, until_s)
        names = list(all_figures[setup][0].clients)
        print(f"| {setup} | seeds | geometric mean, tokens/s | ratio | {' | '.join(names)} | Jain's index |")
        print("|---|---|---|---|" + "---|" * (len(names) + 1))
        for metrics in all_figures[setup]:
            print(_rate_row(metrics))
    if args.figures:
        rates(all_figures, args.figures / "live-links")


def runs_of(arms: RunLogs) -> Iterable[RunLog]:
    """All run logs of a set-up."""
    return (run_log for runs in arms.values() for run_log in runs.values())


def _round_row(setup: str, metrics: ArmRoundMetrics) -> str:
    cells = [
        setup,
        metrics.arm,
        str(metrics.num_seeds),
        _cell(metrics.utility, 3),
        _cell(metrics.gain, 3),
        _cell(metrics.wall_ms_per_token, 2),
        _cell(metrics.wall_ratio, 3),
        _cell(metrics.jain_index, 3),
        _cell(metrics.efficiency, 3),
    ]
    return f"| {' | '.join(cells)} |"


def _rate_row(metrics: ArmRateMetrics) -> str:
    clients = (_cell(ratio, 2) for ratio in metrics.clients.values())
    cells = [metrics.arm, str(metrics.num_seeds), _cell(metrics.geometric_mean, 2), _cell(metrics.ratio, 3), *clients]
    return f"| {' | '.join([*cells, _cell(metrics.jain_index, 3)])} |"


def _cell(interval: ConfidenceInterval, digits: int) -> str:
    return f"{interval.mean:.{digits}f} ({interval.low:.{digits}f} to {interval.high:.{digits}f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", type=Path, required=True, help="output folder of live_paper or live_links")
    parser.add_argument("--figures", type=Path, help="folder for SVG and CSV; without it only tables are printed")
    parser.add_argument("--baseline", default="fixed", help="arm that the others are compared with")
    parser.add_argument("--ours", default=PER_ROUND, help="arm of figure 2")
    parser.add_argument("--per-second", action="store_true")
    parser.add_argument("--from-s", type=float, default=5.0, help="end of the warm-up, in seconds")
    args = parser.parse_args()
    run_logs = load(args.input)
    if args.per_second:
        per_second(run_logs, args)
    else:
        paper(run_logs, args)


if __name__ == "__main__":
    main()
