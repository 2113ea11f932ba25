"""Training of a draft model from a traffic log: the target scores its answers, and the student learns from them."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from goodspeed.engine.drafts import DraftConfig
from goodspeed.errors import DataError
from goodspeed.models.catalog import locate
from goodspeed.tuning.data.collector import Collector, store
from goodspeed.tuning.data.dataset import Dataset, DatasetInfo
from goodspeed.tuning.data.example import Example
from goodspeed.tuning.data.generation import RecordedAnswer
from goodspeed.tuning.train.distiller import Distiller
from goodspeed.tuning.tuning_config import CollectConfig, DistilConfig

VALIDATE_EVERY_NTH = 8  # every eighth answer is for validation
SCORED = "scored"
"""Folder beside those of the rounds: the data set of all scored answers, each of them once."""


@dataclass(frozen=True, slots=True)
class NetTrainer:
    """Distils from the current draft model, or from the start that `distil.student` names if there is none.

    The folder of `distil` is replaced by each round's own, that of `collect` by SCORED.
    """

    collect: CollectConfig
    distil: DistilConfig

    def train(self, current: DraftConfig, traffic_log: Path, folder: Path) -> DraftConfig:
        """Raises DataError, CheckpointError."""
        examples, info = self._scored(traffic_log, folder.parent / SCORED)
        self._write(folder / "validation", info, examples[::VALIDATE_EVERY_NTH])
        training = [example for index, example in enumerate(examples) if index % VALIDATE_EVERY_NTH]
        self._write(folder / "train", info, training)
        student = self.distil.student
        if current.model:
            student = replace(student, init=str(locate(current.model)))
        train, validation, out = (str(folder / name) for name in ("train", "validation", "draft"))
        distiller = Distiller(replace(self.distil, student=student, data=train, validation=validation, out=out))
        distiller.run(lambda _: None, lambda _: None)
        distiller.export()
        engine = current.engine if current.engine in ("hybrid", "torch") else "hybrid"
        return replace(current, engine=engine, model=out)

    def _scored(self, traffic_log: Path, scored: Path) -> tuple[list[Example], DatasetInfo]:
        """An example for every recorded answer, in their order. No answer is scored twice."""
        config = replace(self.collect, out=str(scored), traffic_logs=(str(traffic_log),), split=SCORED)
        collector = Collector(config)
        recorded = [_keyed_by_content(answer) for answer in collector.recorded_answers()]
        if len(recorded) < 2 * VALIDATE_EVERY_NTH:
            raise DataError(f"{traffic_log} has {len(recorded)} answers, a student needs {2 * VALIDATE_EVERY_NTH}")
        distinct = {answer.origin.key: answer for answer in recorded}
        data = collector.collect([], list(distinct.values()), lambda _: None)
        examples = {example.origin.key: example for example in data.examples() if example.origin.key in distinct}
        return [examples[answer.origin.key] for answer in recorded], data.info

    def _write(self, folder: Path, info: DatasetInfo, examples: Sequence[Example]) -> None:
        """Write a new data set over the one that an interrupted round may have left."""
        store(Dataset(folder, replace(info, split=folder.name)), examples, self.collect)


def _keyed_by_content(answer: RecordedAnswer) -> RecordedAnswer:
    """The answer with a key that does not depend on its line, which changes as the log is trimmed."""
    content = repr((answer.prompt, answer.answer, answer.rejected, answer.origin.temperature))
    return replace(answer, origin=replace(answer.origin, key=hashlib.sha256(content.encode()).hexdigest()[:16]))
