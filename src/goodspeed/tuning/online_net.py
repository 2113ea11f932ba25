"""A net that goes on learning from live traffic: the target scores what was recorded, and teaches the student by it."""

from dataclasses import dataclass, replace
from pathlib import Path

from goodspeed.engine.drafts import DraftConfig
from goodspeed.errors import DataError
from goodspeed.models.catalog import locate
from goodspeed.tuning.collect import Collector
from goodspeed.tuning.config import CollectConfig, DistilConfig
from goodspeed.tuning.distil import Distiller

VALIDATED = 8  # every so manieth answer stops the training


@dataclass(frozen=True, slots=True)
class NetMaker:
    """Distils from the draft model that drafts now, or from where `distil.student` says if there is none.

    The folders of `collect` and `distil` are each round's own.
    """

    collect: CollectConfig
    distil: DistilConfig

    def make(self, current: DraftConfig, recorded: Path, folder: Path) -> DraftConfig:
        """Raises DataError, CheckpointError."""
        lines = recorded.read_text(encoding="utf-8").splitlines(keepends=True)
        if len(lines) < 2 * VALIDATED:
            raise DataError(f"{recorded} has {len(lines)} answers, a student needs {2 * VALIDATED}")
        self._score("validation", lines[::VALIDATED], folder)
        self._score("train", [line for place, line in enumerate(lines) if place % VALIDATED], folder)
        student = self.distil.student
        if current.model:
            student = replace(student, init=str(locate(current.model)))
        train, validation, out = (str(folder / name) for name in ("train", "validation", "draft"))
        distiller = Distiller(replace(self.distil, student=student, data=train, validation=validation, out=out))
        distiller.run(lambda _: None, lambda _: None)
        distiller.export()
        engine = current.engine if current.engine in ("hybrid", "torch") else "hybrid"
        return replace(current, engine=engine, model=out)

    def _score(self, split: str, lines: list[str], folder: Path) -> None:
        path = folder / f"{split}.jsonl"
        path.write_text("".join(lines), encoding="utf-8")
        config = replace(self.collect, out=str(folder / split), recorded=(str(path),), split=split)
        Collector(config).run(lambda _: None)
