"""A net that goes on learning from live traffic: the target scores what was recorded, and teaches the student by it."""

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

VALIDATED = 8  # every so manieth answer stops the training
SCORED = "scored"
"""Beside the rounds' folders: the data set of all answers that the target has scored, each of them once."""


@dataclass(frozen=True, slots=True)
class NetTrainer:
    """Distils from the draft model that drafts now, or from where `distil.student` says if there is none.

    The folder of `distil` is each round's own; that of `collect` is SCORED.
    """

    collect: CollectConfig
    distil: DistilConfig

    def make(self, current: DraftConfig, recorded: Path, folder: Path) -> DraftConfig:
        """Raises DataError, CheckpointError."""
        examples, facts = self._scored(recorded, folder.parent / SCORED)
        self._write(folder / "validation", facts, examples[::VALIDATED])
        self._write(folder / "train", facts, [one for place, one in enumerate(examples) if place % VALIDATED])
        student = self.distil.student
        if current.model:
            student = replace(student, init=str(locate(current.model)))
        train, validation, out = (str(folder / name) for name in ("train", "validation", "draft"))
        distiller = Distiller(replace(self.distil, student=student, data=train, validation=validation, out=out))
        distiller.run(lambda _: None, lambda _: None)
        distiller.export()
        engine = current.engine if current.engine in ("hybrid", "torch") else "hybrid"
        return replace(current, engine=engine, model=out)

    def _scored(self, recorded: Path, scored: Path) -> tuple[list[Example], DatasetInfo]:
        """An example of every recorded answer, in their order. What was scored in another round is not scored again."""
        collector = Collector(replace(self.collect, out=str(scored), recorded=(str(recorded),), split=SCORED))
        said = [_named(one) for one in collector.recorded()]
        if len(said) < 2 * VALIDATED:
            raise DataError(f"{recorded} has {len(said)} answers, a student needs {2 * VALIDATED}")
        wanted = {one.origin.key: one for one in said}
        data = collector.collect([], list(wanted.values()), lambda _: None)
        known = {one.origin.key: one for one in data.examples() if one.origin.key in wanted}
        return [known[one.origin.key] for one in said], data.facts

    def _write(self, folder: Path, facts: DatasetInfo, examples: Sequence[Example]) -> None:
        """Anew, since a round that was killed begins again."""
        store(Dataset(folder, replace(facts, split=folder.name)), examples, self.collect)


def _named(said: RecordedAnswer) -> RecordedAnswer:
    """By what it says, since its line moves as traffic grows old."""
    what = repr((said.prompt, said.answer, said.rejected, said.origin.temperature))
    return replace(said, origin=replace(said.origin, key=hashlib.sha256(what.encode()).hexdigest()[:16]))
