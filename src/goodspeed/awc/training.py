"""From a collection to a network: the split, the rows, the training and the manifest."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from goodspeed.awc.scores import ScoreConfig
from goodspeed.awc.sweep_folder import SweepFolder
from goodspeed.awc.training_config import ScheduleConfig, TrainConfig
from goodspeed.awc.training_set import labelled_rows, split
from goodspeed.cluster.machine import this_machine
from goodspeed.errors import ConfigError
from goodspeed.extras import missing_extra
from goodspeed.windows.awc.network import AwcManifest, AwcNetwork

MIN_SCENARIOS: Final = 10


@dataclass(frozen=True, slots=True)
class TrainingOutcome:
    """A network and its errors on the rows of held-out scenarios: mean absolute errors in tokens."""

    network: AwcNetwork
    num_rows: int
    error: float
    constant_error: float
    """Of the median label, in place of the network."""


class Training:
    """The rows of a collection, ready for one or more trainings."""

    def __init__(self, config: TrainConfig) -> None:
        """Raises ConfigError if the collection is missing or too small, or if torch is not installed."""
        self._trainer = _trainer()
        self._config = config
        folder = SweepFolder(Path(config.data))
        self._sampling = folder.manifest().sampling
        learned, held_out = split(folder.complete(), config.held_out_share, config.split_seed)
        if config.half:
            learned = learned[config.half - 1 :: 2]
        if len(learned) < MIN_SCENARIOS or not held_out:
            raise ConfigError(
                f"{config.data} has {len(learned)} scenarios to learn from and {len(held_out)} held-out ones, expected "
                f"at least {MIN_SCENARIOS} and 1"
            )
        self._rows = labelled_rows(folder, learned, config.score, config.mode)
        self._held_out = labelled_rows(folder, held_out, config.score, config.mode)
        self._training_set = f"{len(learned)} scenarios of seed {self._sampling.seed}, {folder.digest(learned)}"

    def run(self, schedule: ScheduleConfig, on_epoch: Callable[[float], object]) -> TrainingOutcome:
        """Train a network. `on_epoch` gets the mean absolute error on the rows of each epoch, in tokens."""
        trained = self._trainer.train_network(self._rows, self._held_out, schedule, on_epoch)
        manifest = AwcManifest(
            trained.scaling,
            training_set=self._training_set,
            commit=this_machine().git_commit,
            label_score=_description(self._config.score, self._config.mode),
            hidden=schedule.hidden,
        )
        constant = float(np.median(self._rows.labels))
        return TrainingOutcome(
            AwcNetwork(manifest, trained.weights),
            len(self._rows.labels),
            trained.error,
            float(np.abs(self._held_out.labels - constant).mean()),
        )


def _trainer() -> Any:
    try:
        return importlib.import_module("goodspeed.awc.network_training")
    except ImportError as error:
        raise ConfigError(missing_extra("training", "torch", error)) from error


def _description(score: ScoreConfig, mode: str) -> str:
    return (
        f"goodput of answers, those beyond {score.ttft_s:g} s to the first token or {score.tpot_s:g} s per token with "
        f"weight {score.late_weight:g}; weight of all clients {score.others_weight:g}; window 1 is {mode}"
    )
