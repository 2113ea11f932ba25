"""Acceptance models fitted to a trace, and their goodness of fit on held-out answers.

LOG is an acceptance trace (`goodspeed drafter --acceptance-trace`, runs/teacher_forced_trace.py) or a drafter's event
log. Every family is fitted by maximum likelihood to each half of the answers and evaluated on the other half. --toml
prints a family's config for a scenario, fitted to all answers. 10 s for 200 answers; no model.

    python -m runs.acceptance_fit results/acceptance.jsonl --toml markov
"""

import argparse
import dataclasses
import json
import sys
from pathlib import Path

from goodspeed.analysis.acceptance_fit import FAMILIES
from goodspeed.analysis.goodness_of_fit import WINDOWS, FamilyFit, GoodnessOfFit, goodness_of_fit
from goodspeed.drafter.acceptance_tracer import traced_answers
from goodspeed.errors import ConfigError
from goodspeed.records.acceptance_trace import TracedAnswer, read_acceptance_trace


def main() -> int:
    args = _parser().parse_args()
    try:
        answers = read(args.log)
        found = goodness_of_fit(answers, args.seed)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(json.dumps(dataclasses.asdict(found), indent=2) if args.json else table(found))
    if args.toml:
        print("\n" + toml(next(fit for fit in found.fits if fit.name == args.toml)))
    return 0


def read(path: Path) -> list[TracedAnswer]:
    """Read either kind of log. Raises ConfigError or DataError for other files and for fewer than four answers."""
    try:
        with path.open(encoding="utf-8") as file:
            is_event_log = '"event"' in file.readline()
            file.seek(0)
            answers = list(traced_answers(file, path.stem)) if is_event_log else read_acceptance_trace(path)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    if len(answers) < 4:
        raise ConfigError(f"{path} has {len(answers)} answers, expected at least 4")
    return answers


def table(found: GoodnessOfFit) -> str:
    """The fits as a Markdown table."""
    rows = [
        f"{found.num_answers} answers, {found.num_known} tokens known, {found.num_unknown} unknown, "
        f"{found.rate:.3f} accepted, calibration error {found.calibration_error:.3f}",
        "",
        "| tokens per round at window | "
        + " | ".join(map(str, WINDOWS))
        + " | spread over answers | largest error | AIC | log-likelihood of a "
        "held-out token | run lengths, p |",
        "|---" * (len(WINDOWS) + 6) + "|",
        "| replayed | "
        + " | ".join(f"{replayed.mean:.3f} ± {replayed.standard_error:.3f}" for replayed in found.replayed)
        + f" | {found.replayed[-1].spread:.2f} | | | | |",
    ]
    return "\n".join(rows + [_row(fit, found) for fit in found.fits])


def _row(fit: FamilyFit, found: GoodnessOfFit) -> str:
    errors = [
        predicted.mean / replayed.mean - 1.0
        for predicted, replayed in zip(fit.tokens_per_round, found.replayed, strict=True)
    ]
    cells = " | ".join(f"{predicted.mean:.3f}" for predicted in fit.tokens_per_round)
    largest = max(errors, key=abs)
    return (
        f"| {fit.name} | {cells} | {fit.tokens_per_round[-1].spread:.2f} | {largest:+.1%} | {fit.aic:.0f} "
        f"| {fit.held_out_log_likelihood:.4f} | {fit.run_lengths_p_value:.2g} |"
    )


def toml(fit: FamilyFit) -> str:
    """The config as a table of a scenario file."""
    numbers = dataclasses.asdict(fit.config)
    model = fit.config.model
    tables = {f"acceptance.{model}": numbers[model], "acceptance.confidence": numbers["confidence"]}
    lines = ["[acceptance]", f'model = "{model}"']
    for name, values in tables.items():
        lines += ["", f"[{name}]", *(f"{key} = {_value(value)}" for key, value in values.items())]
    return "\n".join(lines)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    return f"{value:.4g}" if isinstance(value, float) else json.dumps(value)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("log", type=Path, metavar="LOG")
    parser.add_argument("--toml", choices=list(FAMILIES), help="print the config of this family")
    parser.add_argument("--json", action="store_true", help="print all results as JSON")
    parser.add_argument("--seed", type=int, default=0)
    return parser


if __name__ == "__main__":
    sys.exit(main())
