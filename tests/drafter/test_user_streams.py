"""The acceptance rate that a stream's rounds show."""

import numpy as np
import pytest

from goodspeed.drafter.core.user_streams import StreamAcceptance


@pytest.mark.parametrize("window", [1, 4, 12])
def test_rate_is_that_of_a_token_whatever_the_window(window: int) -> None:
    rng = np.random.default_rng(3)
    rates = []
    acceptance = StreamAcceptance()
    for _ in range(4000):
        rejected = np.flatnonzero(rng.random(window) >= 0.8)
        acceptance.on_round(window, int(rejected[0]) if len(rejected) else window)
        rates.append(acceptance.rate)
    assert np.mean(rates[100:]) == pytest.approx(0.8, abs=0.03)


def test_last_is_of_the_last_round_that_proposed() -> None:
    acceptance = StreamAcceptance()
    assert acceptance.last is None
    acceptance.on_round(4, 1)
    acceptance.on_round(0, 0)
    assert acceptance.last == 0.25


def test_stream_without_evidence_has_the_prior() -> None:
    assert StreamAcceptance().rate == 0.75
