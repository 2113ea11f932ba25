"""Sweeps of random scenarios, and the features that AWC sees in them.

First every arm is simulated, under the same random numbers: this gives the labels. Then the clients run AWC's own
policy with random windows, under other random numbers: this gives features of decisions in many states.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from goodspeed.awc.arms import FIXED_CORE, MAX_WINDOW, WINDOWS, Arm, swept_arms
from goodspeed.awc.feature_rows import FeatureRows, joined
from goodspeed.awc.recording import ExploringNetwork, sampled_rows
from goodspeed.awc.scenarios import SamplingConfig, check_measured, random_scenario
from goodspeed.awc.sweep_folder import SCHEMA, CollectionManifest, SweepFolder
from goodspeed.awc.sweep_record import SweepRecord, record_of
from goodspeed.config import config_dataclass, option, table
from goodspeed.experiment.executor import Executor
from goodspeed.simulator.scenario import Scenario
from goodspeed.simulator.world import simulate
from goodspeed.windows.awc.policy import AwcConfig, AwcWindow
from goodspeed.windows.policies import WindowConfig

EXPLORED: Final = "explored"
"""Source of features that were recorded with random windows."""
FEATURE_SEED: Final = 1
"""Added to a scenario's seed: features and labels share no random number."""
CENTRES: Final = ((1, 2), (2, 6), (6, 13))
"""Ranges of the centre of a run's windows; 1 is the local mode."""
RUN_SHARE, MIN_RUN_S = 0.6, 3.0
"""Length of such a run, as a share of a run that is scored; verifiers report their load once a second."""
AWC: Final = Arm("awc", "distributed", FIXED_CORE, WindowConfig("awc", MAX_WINDOW))


@config_dataclass
class CollectConfig:
    """The scenarios of a collection, and what is simulated of them."""

    out: str = option("", "folder of the collection; an interrupted run continues there", is_required=True)
    scenarios: int = option(2000, "scenarios in the folder when the command ends", ge=1)
    windows: tuple[int, ...] = option(
        WINDOWS, "windows that are swept in remote mode", ge=1, le=MAX_WINDOW, is_required=True
    )
    num_rows: int = option(6, "decisions of each client and run whose features are kept", ge=1)
    sampling: SamplingConfig = table(SamplingConfig)
    jobs: int = option(0, "scenarios at a time; 0: one per core", ge=0)


class Collection:
    """A folder, and what it lacks."""

    def __init__(self, config: CollectConfig) -> None:
        """Raises ConfigError if the folder has another collection, or a scenario needs tables that are missing."""
        self._config = config
        self._folder = SweepFolder(Path(config.out))
        if config.sampling.measured_share:
            check_measured()
        self._folder.open(CollectionManifest(SCHEMA, config.sampling, config.windows))

    @property
    def num_jobs(self) -> int:
        """Two for each scenario."""
        return 2 * self._config.scenarios

    def run(self, executor: Executor, on_done: Callable[[], object]) -> None:
        """Simulate what the folder lacks. `on_done` is called for each job, those of earlier runs included."""
        config, folder = self._config, self._folder
        for index, record in executor.results(partial(sweep, config), self._todo(folder.answered(), on_done)):
            folder.save_answers(index, record)
            on_done()
        for index, rows in executor.results(partial(explore, config), self._todo(folder.recorded(EXPLORED), on_done)):
            folder.save_features(index, EXPLORED, rows)
            on_done()

    def _todo(self, done: Iterable[int], on_done: Callable[[], object]) -> list[int]:
        """The scenarios that are not done; those that are done count as such."""
        wanted = range(self._config.scenarios)
        todo = sorted(set(wanted) - set(done))
        for _ in range(len(wanted) - len(todo)):
            on_done()
        return todo


def sweep(config: CollectConfig, index: int) -> SweepRecord:
    """Simulate all arms of a scenario."""
    scenario = random_scenario(config.sampling, index)
    answers = {arm.name: simulate(arm.of(scenario)).answers for arm in swept_arms(scenario, config.windows)}
    return record_of(scenario, answers)


def explore(config: CollectConfig, index: int) -> FeatureRows:
    """Simulate a scenario with random windows around three centres, and record features."""
    scenario = random_scenario(config.sampling, index)
    return joined([_explore_run(scenario, number, config.num_rows) for number in range(len(CENTRES))])


def _explore_run(scenario: Scenario, number: int, num_rows: int) -> FeatureRows:
    rng = np.random.default_rng((scenario.seed, number))
    centre = int(rng.integers(*CENTRES[number]))
    networks: dict[str, ExploringNetwork] = {}

    def window_of(client: str, window: WindowConfig) -> AwcWindow:
        networks[client] = ExploringNetwork(centre, rng)
        return AwcWindow(window.max_tokens, AwcConfig(), networks[client])

    run = replace(scenario, duration_s=max(MIN_RUN_S, RUN_SHARE * scenario.duration_s))
    simulate(AWC.of(run), scenario.seed + FEATURE_SEED + number, window_of=window_of)
    vectors = {number: networks[client].vectors for number, client in enumerate(scenario.clients)}
    return sampled_rows(vectors, num_rows)
