"""Every registered window policy keeps the seam's contract; each does what it is there for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodspeed.errors import ConfigError
from goodspeed.windows.base import Window, WindowView
from goodspeed.windows.policies import WINDOWS, WindowConfig, window_policy

views = st.builds(
    WindowView,
    grant=st.integers(0, 64),
    recent_acceptance=st.floats(0, 1),
    rtt_s=st.floats(0, 10),
    drafting_s_per_token=st.floats(0, 1),
    verify_s=st.floats(0, 10),
)


@pytest.mark.parametrize("policy", list(WINDOWS))
@given(max_tokens=st.integers(0, 64), min_survival=st.floats(0, 1), view=views)
def test_window_is_within_the_grant_and_the_configured_length(
    policy: str, max_tokens: int, min_survival: float, view: WindowView
) -> None:
    window = window_policy(WindowConfig(policy, max_tokens, min_survival)).next_window(view)
    assert 0 <= window.max_tokens <= min(view.grant, max_tokens)
    assert 0.0 <= window.min_survival <= 1.0


VIEW = WindowView(grant=6, recent_acceptance=0.1, rtt_s=0.1, drafting_s_per_token=0.0, verify_s=0.1)


def test_fixed_window_does_not_look_at_confidence() -> None:
    assert window_policy(WindowConfig("fixed", 4, 0.9)).next_window(VIEW) == Window(4, 0.0)


def test_confidence_window_stops_by_survival() -> None:
    assert window_policy(WindowConfig("confidence", 8, 0.2)).next_window(VIEW) == Window(6, 0.2)


def test_unknown_policy_names_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match="did you mean 'confidence'"):
        WindowConfig("confidnce")


@pytest.mark.parametrize(("max_tokens", "min_survival"), [(-1, 0.1), (4, -0.1), (4, 1.1)])
def test_values_out_of_range_are_named(max_tokens: int, min_survival: float) -> None:
    with pytest.raises(ConfigError, match="expected 0"):
        WindowConfig("fixed", max_tokens, min_survival)
