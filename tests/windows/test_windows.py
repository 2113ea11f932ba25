"""The contract of window policies, for every registered one, and the purpose of each."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from goodspeed.decoding.mode import Mode
from goodspeed.errors import ConfigError
from goodspeed.testing.awc_network import random_network
from goodspeed.windows.accepted_prefixes import AcceptedPrefixes
from goodspeed.windows.analytic import AnalyticWindow, tokens_per_s
from goodspeed.windows.awc.policy import AwcConfig
from goodspeed.windows.policies import WINDOWS, WindowConfig, window_policy
from goodspeed.windows.threshold import ThresholdConfig
from goodspeed.windows.ucb import UcbConfig
from goodspeed.windows.window_policy import Window, WindowView


def after(rounds: list[tuple[int, int]]) -> AcceptedPrefixes:
    """Rounds of verified and accepted tokens."""
    prefixes = AcceptedPrefixes()
    for num_verified, num_accepted in rounds:
        prefixes.on_round(num_verified, min(num_accepted, num_verified))
    return prefixes


views = st.builds(
    WindowView,
    grant=st.integers(0, 64),
    recent_acceptance=st.floats(0, 1),
    rtt_s=st.floats(0, 10),
    drafting_s_per_token=st.floats(0, 1),
    verify_s=st.floats(0, 10),
    queue_s=st.floats(0, 10),
    acceptance_rate=st.floats(0, 1),
    last_acceptance=st.none() | st.floats(0, 1),
    runs_ahead=st.booleans(),
    verifier=st.integers(0, 3),
    tpot_s=st.floats(0, 10),
    queue_utilisation=st.floats(0, 10),
    prefixes=st.none() | st.builds(after, st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=30)),
)


@pytest.fixture(scope="session")
def awc(tmp_path_factory: pytest.TempPathFactory) -> AwcConfig:
    """Options of AWC with a network of random weights."""
    path = tmp_path_factory.mktemp("awc") / "weights.npz"
    random_network(0).save(path)
    return AwcConfig(str(path))


@pytest.mark.parametrize("policy", list(WINDOWS))
@given(max_tokens=st.integers(0, 64), min_survival=st.floats(0, 1), view=views)
def test_window_is_within_the_grant_and_the_configured_length(
    awc: AwcConfig, policy: str, max_tokens: int, min_survival: float, view: WindowView
) -> None:
    window = window_policy(WindowConfig(policy, max_tokens, min_survival, awc=awc)).next_window(view)
    assert 0 <= window.max_tokens <= min(view.grant, max_tokens)
    assert 0.0 <= window.min_survival <= 1.0
    assert window.mode is Mode.DISTRIBUTED or (policy == "awc" and not window.max_tokens)


VIEW = WindowView(grant=6, recent_acceptance=0.1, rtt_s=0.1, drafting_s_per_token=0.0, verify_s=0.1)


def test_fixed_window_ignores_confidence() -> None:
    assert window_policy(WindowConfig("fixed", 4, 0.9)).next_window(VIEW) == Window(4, 0.0)


def test_confidence_window_stops_by_survival() -> None:
    assert window_policy(WindowConfig("confidence", 8, 0.2)).next_window(VIEW) == Window(6, 0.2)


def survival_bound(view: WindowView) -> float:
    return window_policy(WindowConfig("confidence", 8, 0.05)).next_window(view).min_survival


def test_confidence_window_ends_where_drafting_costs_more_than_a_token_brings() -> None:
    far = replace(VIEW, grant=8, rtt_s=0.03, verify_s=0.02, acceptance_rate=0.6)
    assert survival_bound(replace(far, drafting_s_per_token=0.0002)) == 0.05
    near = replace(far, rtt_s=0.0)
    by_drafting = [survival_bound(replace(near, drafting_s_per_token=ms / 1e3)) for ms in (1, 2, 4, 8, 100)]
    assert by_drafting == sorted(by_drafting)
    assert by_drafting[3] == pytest.approx(0.008 * 1.6 / 0.028)  # the best window has one token
    assert by_drafting[4] == 0.5


def test_confidence_window_with_run_ahead_is_drafted_while_a_proposal_is_under_way() -> None:
    """70 ms under way at 10 ms a token: the guess and six tokens. Fast drafts have the whole grant."""
    slow = replace(VIEW, grant=16, rtt_s=0.05, verify_s=0.02, drafting_s_per_token=0.01, acceptance_rate=0.9)
    policy = window_policy(WindowConfig("confidence", 16))
    assert policy.next_window(slow).max_tokens == 16
    assert policy.next_window(replace(slow, runs_ahead=True)).max_tokens == 6
    assert policy.next_window(replace(slow, runs_ahead=True, drafting_s_per_token=5e-5)).max_tokens == 16
    assert policy.next_window(replace(slow, runs_ahead=True, acceptance_rate=0.2)).max_tokens == 16


def test_analytic_window_counts_what_run_ahead_saves() -> None:
    slow = replace(VIEW, grant=16, rtt_s=0.02, verify_s=0.02, drafting_s_per_token=0.01, acceptance_rate=0.9)
    policy = window_policy(WindowConfig("analytic", 16))
    assert policy.next_window(slow).max_tokens == 6
    assert policy.next_window(replace(slow, runs_ahead=True)).max_tokens == 3


def test_unknown_policy_names_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match="did you mean 'confidence'"):
        WindowConfig("confidnce")


@pytest.mark.parametrize(("max_tokens", "min_survival"), [(-1, 0.1), (4, -0.1), (4, 1.1)])
def test_values_out_of_range_are_named(max_tokens: int, min_survival: float) -> None:
    with pytest.raises(ConfigError, match="expected 0"):
        WindowConfig("fixed", max_tokens, min_survival)


@pytest.mark.parametrize(
    ("acceptance", "length"), [(None, 4), (0.0, 2), (0.25, 2), (0.26, 4), (0.59, 4), (0.6, 8), (1.0, 8)]
)
def test_threshold_window_follows_the_last_round(acceptance: float | None, length: int) -> None:
    policy = window_policy(WindowConfig("threshold", 16))
    assert policy.next_window(replace(VIEW, grant=16, last_acceptance=acceptance)) == Window(length)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"low": 0.7}, "low is 0.7 and high is 0.6, expected low < high"),
        ({"high": 1.1}, "high is 1.1, expected 0 to 1"),
        ({"small": 5}, "small, middle and large are 5, 4 and 8, expected small <= middle <= large"),
        ({"large": 3}, "small, middle and large are 2, 4 and 3, expected small <= middle <= large"),
        ({"small": -1}, "small is -1, expected 0 or more"),
    ],
)
def test_thresholds_out_of_order_are_named(wrong: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ThresholdConfig(**wrong)


def analytic(view: WindowView, max_tokens: int = 64) -> int:
    return AnalyticWindow(max_tokens).next_window(view).max_tokens


FAR = WindowView(64, 0.5, rtt_s=0.05, drafting_s_per_token=0.005, verify_s=0.02, queue_s=0.01, acceptance_rate=0.8)


@given(
    view=st.builds(
        WindowView,
        grant=st.integers(1, 40),
        recent_acceptance=st.just(0.5),
        rtt_s=st.floats(0.001, 0.5),
        drafting_s_per_token=st.floats(0.0001, 0.05),
        verify_s=st.floats(0.001, 0.1),
        queue_s=st.floats(0, 0.1),
        acceptance_rate=st.floats(0, 0.99),
    )
)
def test_analytic_window_is_the_best_of_all_lengths(view: WindowView) -> None:
    def speed(length: int) -> float:  # in closed form: Leviathan et al. 2023, equation 1
        tokens = (1 - view.acceptance_rate ** (length + 1)) / (1 - view.acceptance_rate)
        return tokens / (view.rtt_s + view.queue_s + view.verify_s + length * view.drafting_s_per_token)

    best = max(speed(length) for length in range(1, view.grant + 1))
    assert speed(analytic(view)) == pytest.approx(best, rel=1e-9)


def test_analytic_window_grows_with_the_round_trip_and_with_acceptance() -> None:
    by_rtt = [analytic(replace(FAR, rtt_s=rtt_s)) for rtt_s in (0.0, 0.02, 0.1, 0.5)]
    by_acceptance = [analytic(replace(FAR, acceptance_rate=rate)) for rate in (0.1, 0.5, 0.8, 0.95)]
    assert by_rtt == sorted(set(by_rtt))
    assert by_acceptance == sorted(set(by_acceptance))


def test_analytic_window_is_shorter_if_drafting_is_slower() -> None:
    by_drafting = [analytic(replace(FAR, drafting_s_per_token=slow)) for slow in (0.001, 0.005, 0.02, 0.5)]
    assert by_drafting == sorted(set(by_drafting), reverse=True)
    assert by_drafting[-1] == 1  # so that acceptance is still measured


def test_analytic_window_without_measurements_is_one_token() -> None:
    assert analytic(WindowView(8, 1.0, 0.0, 0.0, 0.0)) == 1


def simulated_ucb(rate: float, view: WindowView, num_rounds: int) -> list[int]:
    """The windows that the ucb policy chooses while every token is accepted at `rate`."""
    rng = np.random.default_rng(7)
    policy = window_policy(WindowConfig("ucb", 12, ucb=UcbConfig()))
    prefixes, windows = AcceptedPrefixes(), []
    for _ in range(num_rounds):
        window = policy.next_window(replace(view, prefixes=prefixes)).max_tokens
        prefixes.on_round(window, int(np.argmin([*(rng.random(window) < rate), False])))
        windows.append(window)
    return windows


@pytest.mark.parametrize("rtt_s", [0.0, 0.02, 0.1])
@pytest.mark.parametrize("rate", [0.3, 0.6, 0.85])
def test_ucb_finds_a_length_that_is_nearly_the_best(rate: float, rtt_s: float) -> None:
    """At most 5% below the best length in tokens per second, over the second half of 1,000 rounds."""
    view = replace(FAR, grant=12, rtt_s=rtt_s, acceptance_rate=rate)
    by_length = [tokens_per_s(view, length) for length in range(13)]
    chosen = [by_length[length] for length in simulated_ucb(rate, view, 1_000)[500:]]
    assert np.mean(chosen) > 0.95 * max(by_length[1:])


def test_ucb_follows_the_delay_at_once() -> None:
    """What it has learned is acceptance; the delay is measured."""
    prefixes = after([(12, num_accepted) for num_accepted in range(13)] * 5)
    policy = window_policy(WindowConfig("ucb", 12, ucb=UcbConfig(0.0)))
    near, far = (policy.next_window(replace(FAR, rtt_s=rtt_s, prefixes=prefixes)) for rtt_s in (0.0, 0.5))
    assert near.max_tokens < far.max_tokens == 12


def test_ucb_tries_lengths_beyond_a_whole_proposal() -> None:
    """Proposals of two tokens that were always accepted say nothing of a third one."""
    prefixes = after([(2, 2)] * 50)
    assert window_policy(WindowConfig("ucb", 12)).next_window(replace(FAR, prefixes=prefixes)).max_tokens > 2


def test_ucb_of_an_unknown_exploration_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"exploration is -1\.0, expected 0 or more"):
        UcbConfig(-1.0)
