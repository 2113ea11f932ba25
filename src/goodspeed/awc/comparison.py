"""An evaluation on the held-out scenarios of a collection."""

from collections.abc import Callable, Sequence
from pathlib import Path

from goodspeed.awc.evaluation import (
    EvaluatedArm,
    EvaluationTask,
    ScenarioOutcome,
    best_static_arm,
    compared_arms,
    evaluate,
)
from goodspeed.awc.scores import ScoreConfig
from goodspeed.awc.sweep_folder import SweepFolder
from goodspeed.awc.training_set import split
from goodspeed.config import config_dataclass, option, table
from goodspeed.errors import ConfigError
from goodspeed.experiment.executor import Executor
from goodspeed.windows.awc.policy import LOCAL_MODES


@config_dataclass
class EvaluateConfig:
    """The held-out scenarios, and the weights."""

    data: str = option("", "folder of `goodspeed awc collect`", is_required=True)
    weights: str = option("", "file of `goodspeed awc train`; empty: the packaged one")
    mode: str = option("target_only", "mode without remote drafts that AWC switches to", choices=LOCAL_MODES)
    scenarios: int = option(0, "held-out scenarios, the first ones; 0: all", ge=0)
    seeds: int = option(2, "runs of each scenario and arm, with the same seeds", ge=1)
    held_out_share: float = option(0.2, "share of scenarios that was held out in training", gt=0.0, lt=1.0)
    split_seed: int = option(0, "seed of the choice of held-out scenarios in training", ge=0)
    score: ScoreConfig = table(ScoreConfig)
    jobs: int = option(0, "scenarios at a time; 0: one per core", ge=0)


class Comparison:
    """AWC beside constant arms and the default policies."""

    def __init__(self, config: EvaluateConfig) -> None:
        """Raises ConfigError if the collection is missing or has no scenario to evaluate on."""
        folder = SweepFolder(Path(config.data))
        sampling = folder.manifest().sampling
        learned, held_out = split(folder.answered(), config.held_out_share, config.split_seed)
        if not learned or not held_out:
            raise ConfigError(
                f"{config.data} has {len(learned)} scenarios and {len(held_out)} held-out ones, expected both"
            )
        static = best_static_arm([folder.answers(index) for index in learned], config.score)
        self._tasks = [
            EvaluationTask(
                sampling, config.score, index, seed, compared_arms(folder.answers(index), static, config.score)
            )
            for index in held_out[: config.scenarios or None]
            for seed in range(config.seeds)
        ]
        self.best_static = static

    @property
    def num_tasks(self) -> int:
        """Scenarios times seeds."""
        return len(self._tasks)

    def run(
        self, arms: Sequence[EvaluatedArm], executor: Executor, on_done: Callable[[], object]
    ) -> list[ScenarioOutcome]:
        """Simulate all scenarios, with these arms in addition. `on_done` is called for each scenario and seed."""
        tasks = [
            EvaluationTask(task.sampling, task.score, task.index, task.seed, (*task.arms, *arms))
            for task in self._tasks
        ]
        return evaluate(tasks, executor, on_done)
