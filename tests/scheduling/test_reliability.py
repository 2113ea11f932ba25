"""How far reported confidences are trusted."""

import numpy as np
import pytest

from goodspeed.scheduling.reliability import ReliabilityCurve


def after_rounds(confidence: int, acceptance_rate: float, num_rounds: int = 300) -> ReliabilityCurve:
    """A client that reports the same confidence for four tokens in every round."""
    rng = np.random.default_rng(0)
    reliability = ReliabilityCurve()
    for _ in range(num_rounds):
        failed = np.flatnonzero(rng.random(4) >= acceptance_rate)
        reliability.on_verdict((confidence,) * 4, int(failed[0]) if len(failed) else 4)
    return reliability


def test_the_confidences_of_a_new_client_are_trusted() -> None:
    assert ReliabilityCurve().survival((204, 102)) == pytest.approx([0.8, 0.32])


def test_a_client_that_always_reports_certainty_gets_its_acceptance_rate() -> None:
    survival = after_rounds(255, 0.4).survival((255, 255, 255))
    assert survival == pytest.approx([0.4, 0.16, 0.064], abs=0.1)


def test_confidences_that_are_too_low_are_raised() -> None:
    assert after_rounds(50, 0.8).survival((50,))[0] > 0.65


def test_calibrated_confidences_stay_trusted() -> None:
    assert after_rounds(178, 0.7).survival((178,))[0] == pytest.approx(0.7, abs=0.1)


def test_outcomes_at_one_confidence_are_no_evidence_for_another() -> None:
    assert after_rounds(255, 0.2).survival((100,)) == pytest.approx([100 / 255])


def test_tokens_after_the_first_rejected_one_are_no_evidence() -> None:
    reliability = ReliabilityCurve()
    for _ in range(100):
        reliability.on_verdict((255, 20, 255, 255), 1)
    assert reliability.survival((255,))[0] == pytest.approx(1.0)
    assert reliability.survival((20,))[0] < 0.01


def test_old_evidence_fades() -> None:
    reliability = after_rounds(255, 0.1)
    for _ in range(200):
        reliability.on_verdict((255,) * 4, 4)
    assert reliability.survival((255,))[0] > 0.95
