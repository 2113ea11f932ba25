"""Calibrated confidence: maps a kind of evidence to Pr(the token is accepted | all tokens before it are).

Each bucket holds Beta-Bernoulli counts that are learned online. The buckets of a token are ordered from coarse to fine.
The estimate of each is the prior of the next, worth PRIOR_TRIALS trials, so a fine bucket counts from its first trial.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from goodspeed.errors import CheckpointError

PRIOR_TRIALS = 16.0
MAX_TRIALS = 500.0
"""A bucket with this many trials halves its counts before the next one, so old evidence fades."""
MIN_CONFIDENCE, MAX_CONFIDENCE = 0.002, 0.998
NUM_TEMPERATURE_BUCKETS = 4


Cell = list[float]
"""The counts of one bucket: right, trials."""


class Calibration:
    """Acceptance counts per bucket; a bucket is an integer that identifies a kind of evidence."""

    def __init__(self, base: "Calibration | None" = None) -> None:
        """With a `base` every bucket starts from its counts, which are not changed."""
        self._base = base
        self._cells: dict[int, Cell] = {}

    def __len__(self) -> int:
        """Buckets with a trial of their own."""
        return sum(cell[1] > 0.0 for cell in self._cells.values())

    def cells(self, buckets: Sequence[int]) -> list[Cell]:
        """The counts of these buckets, for `estimate` and `count`: a bucket's list never changes its identity."""
        return [self._cells.get(bucket) or self._new_cell(bucket) for bucket in buckets]

    def counts(self, buckets: Sequence[int]) -> list[Cell]:
        """The counts of these buckets as they are; no trial for one that is not known."""
        none, known = [0.0, 0.0], self._base.counts(buckets) if self._base is not None else None
        return [self._cells.get(bucket) or (known[i] if known else none) for i, bucket in enumerate(buckets)]

    def confidence(self, buckets: Sequence[int], prior: float) -> float:
        """Pr(accepted) for evidence in these buckets, coarsest first; `prior` if none of them has a trial."""
        return estimate(self.cells(buckets), prior)

    def observe(self, buckets: Sequence[int], is_right: bool) -> None:
        """Count one trial: whether the token with this evidence was the target's own."""
        count(self.cells(buckets), is_right)

    def _new_cell(self, bucket: int) -> Cell:
        known = self._base._cells.get(bucket) if self._base is not None else None
        cell = self._cells[bucket] = list(known) if known else [0.0, 0.0]
        return cell

    def faded(self, max_trials: float) -> "Calibration":
        """A copy that limits each bucket to `max_trials`: counts of another draft model, used as a prior."""
        faded = Calibration()
        for bucket, (num_right, num_trials) in dict(self._cells).items():  # a copy, because another thread may observe
            share = min(1.0, max_trials / max(num_trials, 1.0))
            faded._cells[bucket] = [share * num_right, share * num_trials]
        return faded

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """All counts, to be saved: buckets [n] int64, counts [n, 2] float64."""
        cells = {bucket: cell for bucket, cell in self._cells.items() if cell[1] > 0.0}
        return {
            "buckets": np.array(list(cells), dtype="<i8"),
            "counts": np.array(list(cells.values()), dtype="<f8").reshape(-1, 2),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> "Calibration":
        """The inverse of arrays(). Raises CheckpointError if the arrays are missing or have other shapes."""
        shapes = {name: arrays[name].shape if name in arrays else None for name in ("buckets", "counts")}
        buckets, counts = arrays.get("buckets"), arrays.get("counts")
        if buckets is None or counts is None or buckets.ndim != 1 or counts.shape != (len(buckets), 2):
            raise CheckpointError(f"not a calibration: its arrays have shapes {shapes}, expected [n] and [n, 2]")
        calibration = cls()
        calibration._cells = dict(zip(buckets.tolist(), counts.tolist(), strict=True))
        return calibration


def estimate(cells: Sequence[Cell], prior: float) -> float:
    """Pr(accepted) for evidence with these counts, coarsest first."""
    for num_right, num_trials in cells:
        prior = (num_right + PRIOR_TRIALS * prior) / (num_trials + PRIOR_TRIALS)
    return MIN_CONFIDENCE if prior < MIN_CONFIDENCE else MAX_CONFIDENCE if prior > MAX_CONFIDENCE else prior


def count(cells: Sequence[Cell], is_right: bool) -> None:
    """Count one trial in each of these cells."""
    for cell in cells:
        if cell[1] >= MAX_TRIALS:
            cell[0] /= 2
            cell[1] /= 2
        cell[0] += is_right
        cell[1] += 1.0


def temperature_bucket(temperature: float) -> int:
    """0 to 3: temperature classes with separate acceptance counts; greedy decoding is class 0."""
    return 0 if temperature == 0.0 else 1 if temperature < 0.5 else 2 if temperature < 0.85 else 3
