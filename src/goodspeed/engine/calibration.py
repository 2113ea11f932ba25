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


class Calibration:
    """Acceptance counts per bucket; a bucket is an integer that identifies a kind of evidence."""

    def __init__(self) -> None:
        self._counts: dict[int, tuple[float, float]] = {}  # accepted, trials

    def __len__(self) -> int:
        return len(self._counts)

    def confidence(self, buckets: Sequence[int], prior: float) -> float:
        """Pr(accepted) for evidence in these buckets, coarsest first; `prior` if none of them has a trial."""
        estimate = prior
        for bucket in buckets:
            counts = self._counts.get(bucket)
            if counts is not None:
                estimate = (counts[0] + PRIOR_TRIALS * estimate) / (counts[1] + PRIOR_TRIALS)
        return min(max(estimate, MIN_CONFIDENCE), MAX_CONFIDENCE)

    def observe(self, buckets: Sequence[int], is_right: bool) -> None:
        """Count one trial: whether the token with this evidence was the target's own."""
        for bucket in buckets:
            num_right, num_trials = self._counts.get(bucket, (0.0, 0.0))
            if num_trials >= MAX_TRIALS:
                num_right, num_trials = num_right / 2, num_trials / 2
            self._counts[bucket] = (num_right + is_right, num_trials + 1.0)

    def faded(self, max_trials: float) -> "Calibration":
        """A copy that limits each bucket to `max_trials`: counts of another draft model, used as a prior."""
        faded = Calibration()
        for bucket, (num_right, num_trials) in dict(self._counts).items():  # a copy, because another thread may observe
            share = min(1.0, max_trials / num_trials)
            faded._counts[bucket] = (share * num_right, share * num_trials)
        return faded

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """All counts, to be saved: buckets [n] int64, counts [n, 2] float64."""
        return {
            "buckets": np.array(list(self._counts), dtype="<i8"),
            "counts": np.array(list(self._counts.values()), dtype="<f8").reshape(-1, 2),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> "Calibration":
        """The inverse of arrays(). Raises CheckpointError if the arrays are missing or have other shapes."""
        shapes = {name: arrays[name].shape if name in arrays else None for name in ("buckets", "counts")}
        buckets, counts = arrays.get("buckets"), arrays.get("counts")
        if buckets is None or counts is None or buckets.ndim != 1 or counts.shape != (len(buckets), 2):
            raise CheckpointError(f"not a calibration: its arrays have shapes {shapes}, expected [n] and [n, 2]")
        calibration = cls()
        pairs = zip(buckets.tolist(), counts.tolist(), strict=True)
        calibration._counts = {bucket: (num_right, num_trials) for bucket, (num_right, num_trials) in pairs}
        return calibration


def temperature_bucket(temperature: float) -> int:
    """0 to 3: temperature classes with separate acceptance counts; greedy decoding is class 0."""
    return 0 if temperature == 0.0 else 1 if temperature < 0.5 else 2 if temperature < 0.85 else 3
