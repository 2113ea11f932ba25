"""The weights of the window policy awc, from nothing: simulations, training, evaluation, model card.

Collects scenarios into a folder (a stopped run continues there), trains the shipped weights, evaluates them on held-out
scenarios, and trains again: with another seed, and on each half of the scenarios. Those three are evaluated on the same
scenarios, so the card shows how much of the result is chance. About 1.3 s of one core per scenario, compiled, then a
minute for each training and 2 s for each held-out scenario. Needs the extras torch and gpu-tables.

    python -m runs.awc_weights --folder results/awc --scenarios 2000
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.progress import Progress

from goodspeed.awc.collector import CollectConfig, Collection
from goodspeed.awc.comparison import Comparison, EvaluateConfig
from goodspeed.awc.evaluation import EvaluatedArm, ScenarioOutcome, awc_arm
from goodspeed.awc.outcome_table import HEADERS, rows, summarise
from goodspeed.awc.training import Training, TrainingOutcome
from goodspeed.awc.training_config import ScheduleConfig, TrainConfig
from goodspeed.experiment.executor import executor_of
from goodspeed.windows.awc.network import PACKAGED
from goodspeed.windows.awc.policy import AwcConfig

WINDOWS = (2, 3, 4, 6, 8, 12)
CARD = Path("docs/measurements/cards/awc.md")
AWC, OTHER_SEED = "awc", "awc, trained with another seed"
HALVES = ("awc, trained on one half", "awc, trained on the other half")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", default="results/awc", help="folder of the collection")
    parser.add_argument("--scenarios", type=int, default=2000)
    parser.add_argument("--held-out", type=int, default=0, help="held-out scenarios that are evaluated; 0: all")
    parser.add_argument("--seeds", type=int, default=2, help="runs of each of them")
    parser.add_argument("--jobs", type=int, default=0, help="scenarios at a time; 0: one per core")
    args = parser.parse_args()
    collect(CollectConfig(out=args.folder, scenarios=args.scenarios, windows=WINDOWS, jobs=args.jobs))
    outcomes = train_all(args.folder)
    outcomes[AWC].network.save(PACKAGED)
    arms = [awc_arm(name, outcome.network, AwcConfig()) for name, outcome in outcomes.items()]
    config = EvaluateConfig(data=args.folder, scenarios=args.held_out, seeds=args.seeds, jobs=args.jobs)
    found = evaluate(Comparison(config), arms, args.jobs)
    CARD.write_text(card(outcomes[AWC], found), encoding="utf-8")
    print(f"{PACKAGED} and {CARD}")


def collect(config: CollectConfig) -> None:
    """Simulate what the folder lacks."""
    collection = Collection(config)
    with Progress() as progress, executor_of(config.jobs, None) as executor:
        bar = progress.add_task("simulating", total=collection.num_jobs)
        collection.run(executor, lambda: progress.advance(bar))


def train_all(folder: str) -> dict[str, TrainingOutcome]:
    """The shipped network, and those that show how much of it is chance."""
    training = Training(TrainConfig(data=folder))
    halves = {name: Training(TrainConfig(data=folder, half=half + 1)) for half, name in enumerate(HALVES)}
    with Progress() as progress:
        bar = progress.add_task("training", total=4 * ScheduleConfig().epochs)

        def on_epoch(error: float) -> None:  # noqa: ARG001
            progress.advance(bar)

        return {
            AWC: training.run(ScheduleConfig(), on_epoch),
            OTHER_SEED: training.run(ScheduleConfig(seed=1), on_epoch),
            **{name: half.run(ScheduleConfig(), on_epoch) for name, half in halves.items()},
        }


def evaluate(comparison: Comparison, arms: Sequence[EvaluatedArm], num_jobs: int) -> list[ScenarioOutcome]:
    """All arms on the held-out scenarios."""
    with Progress() as progress, executor_of(num_jobs, None) as executor:
        bar = progress.add_task("evaluating", total=comparison.num_tasks)
        return comparison.run(arms, executor, lambda: progress.advance(bar))


def card(outcome: TrainingOutcome, found: Sequence[ScenarioOutcome]) -> str:
    """The model card, in Markdown."""
    manifest = outcome.network.manifest
    num_scenarios = len({one.index for one in found})
    table = [HEADERS, ["---"] * len(HEADERS), *rows(summarise(found))]
    return "\n".join(
        [
            "# Weights of the window policy `awc`\n",
            "`src/goodspeed/windows/awc_weights.npz`: the network of DSD's AWC (arXiv 2511.21669), trained here: a "
            f"residual MLP of two blocks with SiLU and {manifest.hidden} hidden units. Made by "
            "`python -m runs.awc_weights`.\n",
            "| | |",
            "|---|---|",
            f"| inputs | {', '.join(manifest.inputs)}; each at this decision and the two before |",
            f"| training set | {manifest.training_set}; {outcome.num_rows:,} decisions |",
            f"| label | {manifest.label_score} |",
            f"| error on held-out scenarios | {outcome.error:.2f} tokens in the mean; the best constant has "
            f"{outcome.constant_error:.2f} |\n",
            "The scenarios are simulated: one verifier, 2 to 24 unlike clients that all have the same window. What a "
            "long window costs the other clients is in the label.\n",
            "## On held-out scenarios\n",
            f"{num_scenarios} scenarios, runs of each: {len(found) // num_scenarios}, under other random numbers than "
            "the choice of the oracle. Ratios are geometric means over scenarios with 95% intervals. *Oracle static* "
            "is the best window, or target-only mode, of each scenario, for all its clients. *Best static* is the "
            "best window over all training scenarios.\n",
            *(f"| {' | '.join(row)} |" for row in table),
            "",
        ]
    )


if __name__ == "__main__":
    main()
