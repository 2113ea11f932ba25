"""A decision of AWC: clamp, smoothing, rounding, hysteresis, in this order, with a state for each link."""

import pytest
from msgspec.structs import replace

from goodspeed.decoding.mode import Mode
from goodspeed.errors import ConfigError
from goodspeed.testing.awc_network import linear_network
from goodspeed.windows.awc.policy import AwcConfig, AwcWindow
from goodspeed.windows.window_policy import Window, WindowView

VIEW = WindowView(grant=16, recent_acceptance=0.5, rtt_s=0.0, drafting_s_per_token=0.001, verify_s=0.02)
BY_RTT = linear_network(0.0, rtt_s=1.0)
"""The window is the round trip in seconds: a test chooses both."""
UNSMOOTHED = AwcConfig(smoothing=1.0)


def windows(policy: AwcWindow, *chosen: float, verifier: int = 0) -> list[Window]:
    """The windows of decisions in which the network chooses these."""
    return [policy.next_window(replace(VIEW, rtt_s=window, verifier=verifier)) for window in chosen]


def lengths(policy: AwcWindow, *chosen: float) -> list[int]:
    return [window.max_tokens for window in windows(policy, *chosen)]


def test_the_window_is_clamped_before_it_is_smoothed() -> None:
    """8, then 12 instead of 100: 8 + 0.4 * (12 - 8) = 9.6; then 1 instead of -50: 9.6 - 0.4 * 8.6 = 6.16."""
    assert lengths(AwcWindow(16, AwcConfig(), BY_RTT), 8.0, 100.0, -50.0) == [8, 10, 6]


def test_the_smoothed_window_is_rounded_to_the_nearest_integer() -> None:
    assert lengths(AwcWindow(16, UNSMOOTHED, BY_RTT), 3.4, 3.6, 11.9) == [3, 4, 12]


def test_smoothing_goes_on_from_the_window_before_rounding() -> None:
    """4.4, then 4.4 + 0.4 * 0.6 = 4.64: from the rounded 4 it would have stayed at 4."""
    assert lengths(AwcWindow(16, AwcConfig(), BY_RTT), 4.4, 5.0) == [4, 5]


def test_the_grant_and_max_tokens_bound_the_window_but_not_the_state() -> None:
    policy = AwcWindow(6, AwcConfig(), linear_network(0.0, rtt_s=1.0, previous_window=0.0))
    assert lengths(policy, 9.0) == [6]
    assert policy.next_window(replace(VIEW, rtt_s=9.0, grant=2)).max_tokens == 2
    assert lengths(policy, 9.0) == [6]


def test_the_network_reads_the_window_of_the_decision_before() -> None:
    policy = AwcWindow(16, UNSMOOTHED, linear_network(1.0, previous_window=1.0))
    assert lengths(policy, *[0.0] * 3) == [5, 6, 7]  # it begins at 4


@pytest.mark.parametrize(("name", "mode"), [("target_only", Mode.TARGET_ONLY), ("co_located", Mode.CO_LOCATED)])
def test_the_mode_changes_after_two_decisions_in_a_row_and_back_likewise(name: str, mode: Mode) -> None:
    policy = AwcWindow(16, AwcConfig(smoothing=1.0, mode=name, return_window=2), BY_RTT)
    found = windows(policy, 4.0, 1.0, 4.0, 1.0, 1.2, 4.0, 1.0, 4.0, 5.0)
    remote, local = Mode.DISTRIBUTED, mode
    assert [window.mode for window in found] == [remote, remote, remote, remote, local, local, local, local, remote]
    assert [window.max_tokens for window in found] == [4, 1, 4, 1, 0, 0, 0, 0, 5]


def test_small_windows_do_not_end_the_local_mode() -> None:
    policy = AwcWindow(16, AwcConfig(smoothing=1.0, return_window=6), BY_RTT)
    modes = [window.mode for window in windows(policy, 1.0, 1.0, 5.0, 5.0, 5.4, 5.5, 6.0, 2.0)]
    assert modes == [Mode.DISTRIBUTED, *[Mode.TARGET_ONLY] * 5, *[Mode.DISTRIBUTED] * 2]


@pytest.mark.parametrize("hysteresis", [1, 3, 5])
def test_hysteresis_is_a_number_of_decisions(hysteresis: int) -> None:
    policy = AwcWindow(16, AwcConfig(smoothing=1.0, hysteresis=hysteresis), BY_RTT)
    modes = [window.mode for window in windows(policy, *[1.0] * 6)]
    assert modes.index(Mode.TARGET_ONLY) == hysteresis - 1


def test_links_have_states_of_their_own() -> None:
    policy = AwcWindow(16, AwcConfig(), BY_RTT)
    assert windows(policy, 1.0, 1.0)[-1].mode is Mode.TARGET_ONLY
    assert windows(policy, 8.0, verifier=3) == [Window(8)]
    assert windows(policy, 1.0)[-1].mode is Mode.TARGET_ONLY
    assert [policy.mode_of(verifier) for verifier in (0, 3, 7)] == [Mode.TARGET_ONLY, *[Mode.DISTRIBUTED] * 2]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"smoothing": 0.0}, "smoothing is 0.0, expected more than 0, at most 1"),
        ({"hysteresis": 0}, "hysteresis is 0, expected 1 or more"),
        ({"mode": "fused"}, "mode is 'fused', expected one of target_only, co_located"),
        ({"min_window": 13.0}, "min_window is 13, expected at most max_window, 12"),
        ({"max_window": float("nan")}, "max_window is nan"),
    ],
)
def test_wrong_options_are_named(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        AwcConfig(**wrong)  # type: ignore[arg-type]
