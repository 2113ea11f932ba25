"""Figures and tables from recorded live runs.

    python -m runs.live_report --input results/live-paper --figures docs/measurements/figures  (the paper's 2 to 4)
    python -m runs.live_report --input results/live-links --per-second --figures docs/measurements/figures  (per second)

Tables go to standard output as Markdown. With --per-second goodput is counted between --from-s and the run's end.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path

from runs.live.comparison import ArmFigures, RateFigures, Recordings, compare_rates, compare_rounds
from runs.live.figures import estimated_and_real, rates, utilities, wall_times
from runs.live.recording import Recording
from runs.live.setups import PER_ROUND

from goodspeed.errors import ConfigError
from goodspeed.stats.intervals import ConfidenceInterval


def load(folder: Path) -> dict[str, Recordings]:
    """Every complete recording, by set-up, arm and seed. Raises ConfigError if there is none."""
    found: dict[str, dict[str, dict[int, Recording]]] = {}
    for path in sorted(folder.glob("*/*/seed*.json")):
        recording = Recording.load(path)
        if recording.is_complete:
            arms = found.setdefault(path.parts[-3], {})
            arms.setdefault(path.parts[-2], {})[int(path.stem.removeprefix("seed"))] = recording
    if not found:
        raise ConfigError(f"no complete recordings in {folder}")
    return {setup: dict(sorted(arms.items(), key=lambda item: _place(item[0]))) for setup, arms in found.items()}


def _place(arm: str) -> tuple[int, str]:
    known = ("fixed", "random", PER_ROUND)
    return (known.index(arm) if arm in known else len(known), arm)


def paper(recordings: dict[str, Recordings], args: argparse.Namespace) -> None:
    """Figures 2 to 4 and the table."""
    num_rounds = min(len(c.rounds) for arms in recordings.values() for r in runs_of(arms) for c in r.clients)
    print(
        f"{num_rounds} rounds of every client; gain and ratio beside {args.baseline}, paired by seed; 95% intervals\n"
    )
    print("| set-up | arm | seeds | utility | gain | ms per token | ratio | Jain's index | committed / verified |")
    print("|---|---|---|---|---|---|---|---|---|")
    for setup, arms in recordings.items():
        for figures in compare_rounds(arms, args.baseline, num_rounds):
            print(_round_row(setup, figures))
    if args.figures:
        utilities(recordings, num_rounds, args.figures / "live-utility")
        wall_times(recordings, args.figures / "live-wall-time")
        for setup, arms in recordings.items():
            if args.ours in arms:
                first = next(iter(arms[args.ours].values()))
                estimated_and_real(first, num_rounds, args.figures / f"live-estimates-{setup}")


def per_second(recordings: dict[str, Recordings], args: argparse.Namespace) -> None:
    """The table of goodput per second, and its figure."""
    until_s = min(r.steps.verified_s[-1] for arms in recordings.values() for r in runs_of(arms))
    print(f"from {args.from_s:g} s to {until_s:.1f} s; ratios to {args.baseline}, paired by seed; 95% intervals\n")
    all_figures = {}
    for setup, arms in recordings.items():
        all_figures[setup] = compare_rates(arms, args.baseline, args.from_s, until_s)
        names = list(all_figures[setup][0].clients)
        print(f"| {setup} | seeds | geometric mean, tokens/s | ratio | {' | '.join(names)} | Jain's index |")
        print("|---|---|---|---|" + "---|" * (len(names) + 1))
        for figures in all_figures[setup]:
            print(_rate_row(figures))
    if args.figures:
        rates(all_figures, args.figures / "live-links")


def runs_of(arms: Recordings) -> Iterable[Recording]:
    """All recordings of a set-up."""
    return (recording for runs in arms.values() for recording in runs.values())


def _round_row(setup: str, figures: ArmFigures) -> str:
    cells = [
        setup,
        figures.arm,
        str(figures.num_seeds),
        _cell(figures.utility, 3),
        _cell(figures.gain, 3),
        _cell(figures.wall_ms_per_token, 2),
        _cell(figures.wall_ratio, 3),
        _cell(figures.jain_index, 3),
        _cell(figures.efficiency, 3),
    ]
    return f"| {' | '.join(cells)} |"


def _rate_row(figures: RateFigures) -> str:
    clients = (_cell(ratio, 2) for ratio in figures.clients.values())
    cells = [figures.arm, str(figures.num_seeds), _cell(figures.geometric_mean, 2), _cell(figures.ratio, 3), *clients]
    return f"| {' | '.join([*cells, _cell(figures.jain_index, 3)])} |"


def _cell(interval: ConfidenceInterval, digits: int) -> str:
    return f"{interval.mean:.{digits}f} ({interval.low:.{digits}f} to {interval.high:.{digits}f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", type=Path, required=True, help="what live_paper or live_links has written")
    parser.add_argument("--figures", type=Path, help="folder for SVG and CSV; without it only tables are made")
    parser.add_argument("--baseline", default="fixed", help="an arm")
    parser.add_argument("--ours", default=PER_ROUND, help="the arm of figure 2")
    parser.add_argument("--per-second", action="store_true")
    parser.add_argument("--from-s", type=float, default=5.0, help="the time before counts as warm-up")
    args = parser.parse_args()
    recordings = load(args.input)
    if args.per_second:
        per_second(recordings, args)
    else:
        paper(recordings, args)


if __name__ == "__main__":
    main()
