"""Comparison of AWC with constant arms and the default policies, on scenarios that it has not learned from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from goodspeed.awc.arms import (
    CO_LOCATED,
    CO_LOCATED_CORE,
    DEFAULT,
    FIXED_CORE,
    TARGET_ONLY,
    Arm,
    remote_arm,
)
from goodspeed.awc.scenarios import SamplingConfig, random_scenario
from goodspeed.awc.scores import Floats64, ScoreConfig, scores
from goodspeed.awc.sweep_record import SweepRecord, record_of
from goodspeed.experiment.executor import Executor
from goodspeed.simulator.result import RunResult
from goodspeed.simulator.scenario import Scenario
from goodspeed.simulator.world import simulate
from goodspeed.windows.awc.policy import AwcConfig, AwcWindow, WindowNetwork
from goodspeed.windows.policies import WindowConfig

LENGTH: Final = 1.5
"""Length of a run, relative to one of a collection."""
MIN_LENGTH_S: Final = 4.0
"""Verifiers report their load once a second."""
EVALUATION_SEED: Final = 1000
"""Added to a scenario's seed: the oracle is chosen on other random numbers."""
STATIC, BEST_STATIC, ORACLE = "static 4", "best static", "oracle static"


@dataclass(frozen=True, slots=True)
class AwcPolicy:
    """AWC with one network."""

    config: AwcConfig
    network: WindowNetwork

    def window_of(self, client: str, window: WindowConfig) -> AwcWindow:  # noqa: ARG002
        """The window policy of one drafter."""
        return AwcWindow(window.max_tokens, self.config, self.network)


@dataclass(frozen=True, slots=True)
class EvaluatedArm:
    """An arm under a name."""

    name: str
    arm: Arm
    policy: AwcPolicy | None = None  # None: the window policy that the arm names

    def run(self, scenario: Scenario, seed: int) -> RunResult:
        """Simulate the scenario with this arm."""
        return simulate(self.arm.of(scenario), seed, window_of=self.policy.window_of if self.policy else None)


def awc_arm(name: str, network: WindowNetwork, config: AwcConfig) -> EvaluatedArm:
    """AWC with this network. The verifier drafts only if that is the mode that AWC switches to."""
    max_tokens = int(config.max_window)
    core = CO_LOCATED_CORE if config.mode == "co_located" else FIXED_CORE
    return EvaluatedArm(
        name, Arm(name, "distributed", core, WindowConfig("awc", max_tokens)), AwcPolicy(config, network)
    )


@dataclass(frozen=True, slots=True)
class EvaluationTask:
    """The arms of one scenario under one seed."""

    sampling: SamplingConfig
    score: ScoreConfig
    index: int
    seed: int
    arms: tuple[EvaluatedArm, ...]


@dataclass(frozen=True, slots=True)
class ArmOutcome:
    """What one arm has brought in one scenario under one seed."""

    arm: str
    goodput: float  # tokens per second of answer time, geometric mean over clients
    weighted_goodput: float  # the same, weighted by the service-level objective
    tokens_per_s: float  # of finished answers, of all clients together
    poorest: float  # the poorest client's goodput, relative to its own in target-only mode
    mode_changes_per_minute: float  # of a client


@dataclass(frozen=True, slots=True)
class ScenarioOutcome:
    """All arms of one scenario under one seed."""

    index: int
    seed: int
    arms: tuple[ArmOutcome, ...]


def evaluate(
    tasks: Sequence[EvaluationTask], executor: Executor, on_done: Callable[[], object]
) -> list[ScenarioOutcome]:
    """Run the tasks. `on_done` is called for each. The outcomes are in the order of the tasks."""
    found: dict[tuple[int, int], ScenarioOutcome] = {}
    for task, outcome in executor.results(outcome_of, tasks):
        found[task.index, task.seed] = outcome
        on_done()
    return [found[task.index, task.seed] for task in tasks]


def outcome_of(task: EvaluationTask) -> ScenarioOutcome:
    """Simulate all arms of a task; target-only mode must be one of them."""
    scenario = random_scenario(task.sampling, task.index)
    scenario = replace(scenario, duration_s=max(MIN_LENGTH_S, LENGTH * scenario.duration_s))
    runs = {arm.name: arm.run(scenario, scenario.seed + EVALUATION_SEED + task.seed) for arm in task.arms}
    record = record_of(scenario, {name: run.answers for name, run in runs.items()})
    plain = scores(record, replace(task.score, late_weight=1.0))
    weighted = scores(record, task.score)
    baseline = plain[record.arms.index(TARGET_ONLY.name)]
    outcomes = [
        ArmOutcome(
            arm=name,
            goodput=_geometric_mean(plain[place]),
            weighted_goodput=_geometric_mean(weighted[place]),
            tokens_per_s=sum(answer.num_answer_tokens for answer in run.answers) / scenario.duration_s,
            poorest=float((plain[place] / baseline).min()),
            mode_changes_per_minute=_changes(run) / (len(scenario.clients) * scenario.duration_s / 60.0),
        )
        for place, (name, run) in enumerate(runs.items())
    ]
    return ScenarioOutcome(task.index, task.seed, tuple(outcomes))


def compared_arms(record: SweepRecord, best_static: str, score: ScoreConfig) -> tuple[EvaluatedArm, ...]:
    """The constant arms that AWC is compared with in a scenario, and the default policies.

    `record`: of the collection, under other random numbers than those of the evaluation: the oracle is chosen by it.
    """
    values = np.log(scores(record, score)).mean(axis=1)
    without = [place for place, arm in enumerate(record.arms) if arm != CO_LOCATED.name]
    oracle = record.arms[max(without, key=lambda place: float(values[place]))]
    return (
        EvaluatedArm(TARGET_ONLY.name, TARGET_ONLY),
        EvaluatedArm(CO_LOCATED.name, CO_LOCATED),
        EvaluatedArm(STATIC, remote_arm(4)),
        EvaluatedArm(BEST_STATIC, _constant_arm(best_static)),
        EvaluatedArm(ORACLE, _constant_arm(oracle)),
        EvaluatedArm(DEFAULT.name, DEFAULT),
    )


def best_static_arm(records: Sequence[SweepRecord], score: ScoreConfig) -> str:
    """The fixed window with the highest geometric mean score over all these scenarios."""
    names = [arm for arm in records[0].arms if arm.startswith("remote")]
    total: Floats64 = np.zeros(len(names))
    for record in records:
        values = np.log(scores(record, score)).mean(axis=1)
        total += [values[record.arms.index(name)] for name in names]
    return names[int(total.argmax())]


def _constant_arm(name: str) -> Arm:
    if name == TARGET_ONLY.name:
        return TARGET_ONLY
    return remote_arm(int(name.split()[1]))


def _geometric_mean(goodputs: Floats64) -> float:
    return float(np.exp(np.log(goodputs).mean()))


def _changes(run: RunResult) -> int:
    return sum(answer.num_mode_changes for answer in run.answers)
