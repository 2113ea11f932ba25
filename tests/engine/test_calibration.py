"""From kinds of evidence to calibrated confidences."""

import numpy as np
import pytest

from goodspeed.engine.calibration import MAX_CONFIDENCE, MAX_TRIALS, MIN_CONFIDENCE, Calibration
from goodspeed.errors import CheckpointError


def test_confidence_without_trials_is_the_prior() -> None:
    assert Calibration().confidence((1, 2, 3), 0.3) == 0.3


def test_confidence_approaches_the_observed_rate() -> None:
    """4,000 trials at rate 0.7; the last 250 to 500 count: 5 standard errors are 0.145 at most."""
    rng = np.random.default_rng(0)
    calibration = Calibration()
    for is_right in rng.random(4000) < 0.7:
        calibration.observe((5,), bool(is_right))
    assert abs(calibration.confidence((5,), 0.1) - 0.7) < 0.145


def test_fine_bucket_uses_the_coarse_estimate_as_its_prior() -> None:
    calibration = Calibration()
    for _ in range(200):
        calibration.observe((1, 10), is_right=True)
    assert calibration.confidence((1, 20), 0.1) > 0.9
    for _ in range(100):
        calibration.observe((1, 20), is_right=False)
    assert calibration.confidence((1, 20), 0.1) < 0.2
    assert calibration.confidence((1, 10), 0.1) > calibration.confidence((1, 20), 0.1) + 0.5


def test_old_evidence_fades() -> None:
    calibration = Calibration()
    for _ in range(10 * int(MAX_TRIALS)):
        calibration.observe((1,), is_right=True)
    for _ in range(2 * int(MAX_TRIALS)):
        calibration.observe((1,), is_right=False)
    assert calibration.confidence((1,), 0.5) < 0.25


def test_no_confidence_is_certain() -> None:
    calibration = Calibration()
    for _ in range(400):
        calibration.observe((1,), is_right=True)
        calibration.observe((2,), is_right=False)
    assert calibration.confidence((1,), 1.0) <= MAX_CONFIDENCE
    assert calibration.confidence((2,), 0.0) >= MIN_CONFIDENCE


def test_faded_copy_says_the_same_and_yields_sooner() -> None:
    calibration = Calibration()
    for _ in range(300):
        calibration.observe((1,), is_right=True)
    faded = calibration.faded(32.0)
    assert faded.confidence((1,), 1.0) == calibration.confidence((1,), 1.0)
    for one in (calibration, faded):
        for _ in range(32):
            one.observe((1,), is_right=False)
    assert faded.confidence((1,), 0.5) < 0.55
    assert calibration.confidence((1,), 0.5) > 0.8


def test_arrays_bring_it_back() -> None:
    calibration = Calibration()
    calibration.observe((1, 2**60), is_right=True)
    again = Calibration.from_arrays(calibration.arrays())
    assert again.confidence((1, 2**60), 0.2) == calibration.confidence((1, 2**60), 0.2)


def test_empty_arrays_bring_an_empty_one_back() -> None:
    assert Calibration.from_arrays(Calibration().arrays()).confidence((1,), 0.25) == 0.25


def test_other_arrays_are_refused() -> None:
    with pytest.raises(CheckpointError, match="not a calibration"):
        Calibration.from_arrays({"buckets": np.zeros(3, dtype=np.int64)})
