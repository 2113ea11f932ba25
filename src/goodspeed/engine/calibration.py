"""Calibrated acceptance: from the kind of evidence to Pr(the token is accepted | all before it are).

Beta-Bernoulli counts per bucket, learned online. Buckets form a line from coarse to fine: each one's estimate is the
next one's prior, worth PRIOR_TRIALS trials, so that a fine bucket speaks as soon as it has something to say.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from goodspeed.errors import CheckpointError

PRIOR_TRIALS = 16.0
MAX_TRIALS = 500.0
"""Counts of a bucket are halved there, so that old evidence fades."""
MIN_CONFIDENCE, MAX_CONFIDENCE = 0.002, 0.998


class Calibration:
    """Acceptance counts per bucket; a bucket is an integer that names a kind of evidence."""

    def __init__(self) -> None:
        self._counts: dict[int, tuple[float, float]] = {}  # accepted, trials

    def __len__(self) -> int:
        return len(self._counts)

    def confidence(self, buckets: Sequence[int], prior: float) -> float:
        """Pr(accepted) for evidence that falls into these buckets, coarsest first; `prior` where nothing was seen."""
        estimate = prior
        for bucket in buckets:
            counts = self._counts.get(bucket)
            if counts is not None:
                estimate = (counts[0] + PRIOR_TRIALS * estimate) / (counts[1] + PRIOR_TRIALS)
        return min(max(estimate, MIN_CONFIDENCE), MAX_CONFIDENCE)

    def observe(self, buckets: Sequence[int], is_right: bool) -> None:
        """One trial: the token that such evidence spoke for was, or was not, the target's own."""
        for bucket in buckets:
            num_right, num_trials = self._counts.get(bucket, (0.0, 0.0))
            if num_trials >= MAX_TRIALS:
                num_right, num_trials = num_right / 2, num_trials / 2
            self._counts[bucket] = (num_right + is_right, num_trials + 1.0)

    def faded(self, max_trials: float) -> "Calibration":
        """A copy in which no bucket is worth more than so many trials: what was learned elsewhere, as a prior."""
        faded = Calibration()
        for bucket, (num_right, num_trials) in dict(self._counts).items():  # a copy: another thread may observe
            keep = min(1.0, max_trials / num_trials)
            faded._counts[bucket] = (keep * num_right, keep * num_trials)
        return faded

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """All that is known, to be saved: buckets [n] int64, counts [n, 2] float64."""
        return {
            "buckets": np.array(list(self._counts), dtype="<i8"),
            "counts": np.array(list(self._counts.values()), dtype="<f8").reshape(-1, 2),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> "Calibration":
        """The calibration whose arrays() these were. Raises CheckpointError if they are no such arrays."""
        shapes = {name: arrays[name].shape if name in arrays else None for name in ("buckets", "counts")}
        buckets, counts = arrays.get("buckets"), arrays.get("counts")
        if buckets is None or counts is None or buckets.ndim != 1 or counts.shape != (len(buckets), 2):
            raise CheckpointError(f"no calibration: its arrays are {shapes}, expected [n] and [n, 2]")
        calibration = cls()
        pairs = zip(buckets.tolist(), counts.tolist(), strict=True)
        calibration._counts = {bucket: (num_right, num_trials) for bucket, (num_right, num_trials) in pairs}
        return calibration


def temperature_bucket(temperature: float) -> int:
    """Four classes of temperature, whose acceptance is counted apart; greedy is one of its own."""
    return 0 if temperature == 0.0 else 1 if temperature < 0.5 else 2 if temperature < 0.85 else 3
