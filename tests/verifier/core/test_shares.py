"""The scheduler's view of clients, and their weights, floors and caps."""

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from goodspeed.config import from_mapping
from goodspeed.decoding.mode import Mode
from goodspeed.engine.interface import Verify
from goodspeed.errors import ConfigError
from goodspeed.scheduling.scheduler import ClientView
from goodspeed.testing.virtual_verifier import VirtualDrafter, VirtualVerifier, open_request, unlimited_info
from goodspeed.verifier.core.client import Client
from goodspeed.verifier.core.core_config import ClientConfig, VerifierCoreConfig
from goodspeed.verifier.core.grants import view_client


class FixedEstimator:
    """An estimator with fixed estimates, which counts prompts."""

    acceptance_rate = 0.49
    goodput = 2.0

    def __init__(self, survival: Sequence[float] = ()) -> None:
        self.survival = survival
        self.num_prompts = 0

    def on_stream(self) -> None:
        self.num_prompts += 1

    def on_verdict(self, num_granted: int, num_accepted: int) -> None:
        """The estimates are fixed."""


def view(num_streams: int, survival: Sequence[float] = (), config: ClientConfig | None = None) -> ClientView:
    client = Client("edge", FixedEstimator(survival), config=config or ClientConfig())
    client.timing.on_proposal(0.13, 0.03, 3, grant=3)
    client.timing.on_verdict(0.02, 0.0, 3.0)
    return view_client(client, num_streams, cap=min(num_streams * 4, client.config.cap))


def test_a_view_holds_times_weight_and_limits() -> None:
    seen = view(1, config=ClientConfig("edge", 2.0, 1, 3))
    assert (seen.weight, seen.min_grant, seen.max_grant, seen.co_batched_weight) == (2.0, 1, 3, 3.0)
    assert (seen.network_s, seen.drafting_s, seen.verify_s) == pytest.approx((0.1, 0.01, 0.02))


def test_streams_take_turns_on_the_survival_curve() -> None:
    seen = view(2, survival=(0.8, 0.5))
    assert list(seen.survival) == [0.8, 0.8, 0.5, 0.5]
    assert (seen.acceptance_rate, seen.goodput, seen.max_grant) == pytest.approx((0.7, 4.0, 8))
    assert seen.drafting_s == pytest.approx(0.005)


def test_co_located_drafts_are_seen_as_those_of_one_stream() -> None:
    client = Client("edge", FixedEstimator())
    assert view_client(client, 2, cap=4).co_located_survival == []
    for _ in range(200):
        client.on_co_located(num_requested=3, num_drafted=2, num_accepted=1)
    seen = view_client(client, 2, cap=4)
    assert seen.co_located_survival == pytest.approx((1.0, 0.0, 0.0), abs=0.2)
    assert seen.co_located_drafted == pytest.approx((1.0, 0.0, 0.0), abs=0.2)


def run_pair(first: ClientConfig, second: ClientConfig, budget: int) -> list[int]:
    """Draft tokens verified for two equal drafters."""
    verifier = VirtualVerifier(VerifierCoreConfig(budget=budget, clients=(first, second)), unlimited_info())
    for name in ("first", "second"):
        VirtualDrafter(verifier, name, 0.7).open(open_request(1, max_tokens=100_000))
    verifier.run(5.0)
    return [client.num_proposed for client in verifier.core.stats().clients]


def test_a_client_with_more_weight_is_granted_more() -> None:
    heavy, light = run_pair(ClientConfig("first", 4.0), ClientConfig("second"), budget=6)
    assert heavy > 1.3 * light


def test_floor_and_cap_hold_in_every_round() -> None:
    capped, with_floor = run_pair(ClientConfig("first", cap=1), ClientConfig("second", floor=6), budget=7)
    assert with_floor > 5 * capped > 0


def test_an_entry_without_a_name_holds_for_all_other_drafters() -> None:
    config = VerifierCoreConfig(clients=(ClientConfig("", 0.5), ClientConfig("edge", 2.0)))
    assert [config.client(name).weight for name in ("edge", "another")] == [2.0, 0.5]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clients": [{"name": "a", "weight": 0.0}]}, r"clients\[0\].weight is 0.0, expected more than 0"),
        ({"clients": [{"floor": 3, "cap": 2}]}, "floor of client '' is 3, expected at most its cap 2"),
        ({"clients": [{"name": "a"}, {"name": "a"}]}, "client 'a' has several entries"),
        ({"clients": [{"wieght": 1.0}]}, "did you mean 'weight'"),
        ({"draft_selection": "valu"}, "did you mean 'value'"),
        ({"overcommit": 0.5}, "overcommit is 0.5, expected 1 or more"),
    ],
)
def test_wrong_entries_are_errors_that_name_the_value(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_mapping(VerifierCoreConfig, options)


def test_grants_sum_to_at_most_the_overcommitted_budget() -> None:
    verifier = VirtualVerifier(VerifierCoreConfig(budget=6, overcommit=2.0, batching="barrier", scheduler="fixed"))
    for i in range(3):
        VirtualDrafter(verifier, f"drafter {i}", 0.7).open(open_request(1, max_tokens=200))
    verifier.run(1.0)
    assert sum(client.grant for client in verifier.core.stats().clients) == 12
    drafted = [sum(len(w.draft_tokens) for w in batch.work if isinstance(w, Verify)) for batch in verifier.steps]
    assert max(drafted) == 6


def test_the_estimator_is_notified_of_a_new_prompt_but_not_of_a_resumed_answer() -> None:
    verifier = VirtualVerifier()
    drafter = VirtualDrafter(verifier, "edge", 0.7)
    (client,) = verifier.core.stats().clients
    client.estimator = curve = FixedEstimator()
    drafter.open(open_request(1, max_tokens=500))
    verifier.run(0.2)
    drafter.open(open_request(2, max_tokens=20))
    verifier.run(0.1)
    assert curve.num_prompts == 2
    drafter.reconnect("edge")
    verifier.run(0.1)
    assert curve.num_prompts == 2


def test_a_target_only_stream_is_no_prompt_for_the_estimator() -> None:
    verifier = VirtualVerifier()
    conn = verifier.welcome("edge")
    (client,) = verifier.core.stats().clients
    client.estimator = curve = FixedEstimator()
    verifier.deliver(conn, replace(open_request(1), mode=Mode.TARGET_ONLY))
    assert curve.num_prompts == 0
