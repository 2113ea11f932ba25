"""The learning curve of a training run: a CSV file with one line for every validation."""

import csv
from dataclasses import asdict, dataclass
from pathlib import Path

from goodspeed.errors import DataError


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One validation: a line of the curve."""

    step: int
    num_tokens: int
    """Answer tokens trained on so far."""
    elapsed_s: float
    """Since this process started to train."""
    learning_rate: float
    loss: float
    """Mean since the last validation."""
    agreement: float
    accepted_per_round: float
    """Greedy, window 4, on the validation set; see `evaluate.renewal.accepted_per_round`."""
    expected_acceptance: float
    """One minus the total variation at temperature 1, mean over positions."""


class LearningCurve:
    """The CSV file. All methods raise DataError if the disk is full or read-only."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, point: CurvePoint) -> None:
        """Append a line; a new file gets a header first."""
        is_new = not self._path.exists()
        try:
            with self._path.open("a", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                if is_new:
                    writer.writerow(asdict(point))
                writer.writerow(f"{value:.6g}" for value in asdict(point).values())
        except OSError as error:
            raise DataError(f"cannot write {self._path}: {error}; earlier lines remain") from error

    def drop_after(self, step: int) -> None:
        """Remove the lines after this step: a run that resumes from the step writes them again."""
        if not self._path.exists():
            return
        try:
            head, *lines = self._path.read_text(encoding="utf-8").splitlines(keepends=True)
            earlier = [line for line in lines if int(float(line.split(",")[0])) <= step]
            self._path.write_text(head + "".join(earlier), encoding="utf-8")
        except (OSError, ValueError) as error:
            raise DataError(f"{self._path} is not a learning curve: {error}") from error
