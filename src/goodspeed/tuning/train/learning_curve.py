"""How a run went: one line for every look at the validation set, in a CSV file."""

import csv
from dataclasses import asdict, dataclass
from pathlib import Path

from goodspeed.errors import DataError


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One line of the curve."""

    step: int
    num_tokens: int
    """ScoredAnswer tokens that had a loss so far."""
    elapsed_s: float
    """Of this process."""
    learning_rate: float
    loss: float
    """Mean since the last look."""
    agreement: float
    accepted_per_round: float
    """Greedy, window 4, on the validation set; see renewal.accepted_per_round."""
    expected_acceptance: float
    """One minus the total variation at temperature 1, mean over positions."""


class LearningCurve:
    """The file. All raise DataError if the disk does not let us."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, look: CurvePoint) -> None:
        """One more line, after a header in a new file."""
        is_new = not self._path.exists()
        try:
            with self._path.open("a", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                if is_new:
                    writer.writerow(asdict(look))
                writer.writerow(f"{value:.6g}" for value in asdict(look).values())
        except OSError as error:
            raise DataError(f"cannot write {self._path}: {error}; what was finished before is kept") from error

    def drop_after(self, step: int) -> None:
        """Forget looks that a run which goes on from this step makes again."""
        if not self._path.exists():
            return
        try:
            head, *lines = self._path.read_text(encoding="utf-8").splitlines(keepends=True)
            kept = [line for line in lines if int(float(line.split(",")[0])) <= step]
            self._path.write_text(head + "".join(kept), encoding="utf-8")
        except (OSError, ValueError) as error:
            raise DataError(f"{self._path} is no curve of a run: {error}") from error
