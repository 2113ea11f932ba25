"""How the budget is allocated to clients and their streams."""

from typing import Any

import pytest
from tests.protocol.verdicts import verdict_on

from goodspeed.config import from_mapping
from goodspeed.engine.interface import Outcome, Verify
from goodspeed.errors import ConfigError
from goodspeed.protocol.messages import PROTOCOL_VERSION, Propose, Welcome
from goodspeed.protocol.session import VerifierStream, tokens_crc32
from goodspeed.scheduling.co_located_length import CoLocatedPrices
from goodspeed.scheduling.exploration import MAX_INTERVAL, SHADOW_TOKENS
from goodspeed.scheduling.policies import ESTIMATORS
from goodspeed.testing.virtual_verifier import VirtualDrafter, VirtualVerifier, open_request
from goodspeed.verifier.core.batch import Batch
from goodspeed.verifier.core.batch_builder import make_turn
from goodspeed.verifier.core.client import Client
from goodspeed.verifier.core.core_config import VerifierCoreConfig
from goodspeed.verifier.core.draft_budget import DraftBudget
from goodspeed.verifier.core.grants import GrantAllocator
from goodspeed.verifier.core.served_streams import ServedStream
from goodspeed.verifier.core.timing.step_time import StepTimeModel
from goodspeed.verifier.step import proposal_path, select_draft_tokens

WELCOME = Welcome(PROTOCOL_VERSION, "verifier", "toy", "toy", 259, 4096, 64, 16, ())


def make_allocator(**options: Any) -> GrantAllocator:
    config = VerifierCoreConfig(**options)
    return GrantAllocator(config, DraftBudget(config.budget))


def client_with_streams(
    name: str, num_streams: int, first_key: int, accepted: int = 2
) -> tuple[Client, list[ServedStream]]:
    """A client with `accepted` of four tokens accepted in every round so far, and its open streams."""
    client = Client(name, ESTIMATORS["censored"](0.1, 0.05), conn=1)
    for _ in range(30):
        client.on_proposal_verified(4, accepted)
    protocol = VerifierStream(open_request(1), WELCOME)
    return client, [ServedStream(first_key + i, client, 1, protocol, 23, 0, 0.0) for i in range(num_streams)]


def test_streams_share_the_grant_of_their_client_and_take_turns_with_the_remainder() -> None:
    client, streams = client_with_streams("edge", 3, first_key=1)
    allocator = make_allocator(budget=7, scheduler="fixed")
    seen = []
    for _ in range(3):
        grants = allocator.allocate({client: streams}, recipients={client}, step_time=StepTimeModel())
        client.num_rounds += 1
        assert sorted(grants.values()) == [2, 2, 3]
        seen.append(grants)
    assert {key for grants in seen for key, grant in grants.items() if grant == 3} == {1, 2, 3}


@pytest.mark.parametrize("scheduler", ["gradient", "fixed"])
def test_opening_more_streams_does_not_win_most_of_the_budget(scheduler: str) -> None:
    many, many_streams = client_with_streams("many", 8, first_key=1)
    one, one_stream = client_with_streams("one", 1, first_key=100)
    make_allocator(budget=16, scheduler=scheduler).allocate(
        {many: many_streams, one: one_stream}, {many, one}, StepTimeModel()
    )
    assert many.grant + one.grant <= 16
    assert one.grant >= 3


def test_a_client_without_a_grant_is_asked_for_shadow_drafts() -> None:
    good, good_streams = client_with_streams("good", 1, first_key=1, accepted=4)
    bad, (stream,) = client_with_streams("bad", 1, first_key=2, accepted=0)
    for _ in range(50):
        good.estimator.on_verdict(0, 0)  # its goodput is low, so the scheduler prefers it
    allocator = make_allocator(budget=1, scheduler="gradient")
    asked = []
    for _ in range(4 * MAX_INTERVAL):
        grants = allocator.allocate({good: good_streams, bad: [stream]}, {good, bad}, StepTimeModel())
        assert grants == {1: 1, 2: 0}
        assert allocator.shadow_tokens(good_streams[0]) == 0
        asked.append(allocator.shadow_tokens(stream))
    assert set(asked) == {0, SHADOW_TOKENS}
    assert sum(map(bool, asked)) >= 4


def test_a_stream_whose_shadow_draft_is_under_way_is_not_asked_for_another() -> None:
    client, (stream,) = client_with_streams("edge", 1, first_key=1, accepted=0)
    other, others = client_with_streams("other", 1, first_key=2, accepted=4)
    for _ in range(50):
        other.estimator.on_verdict(0, 0)
    allocator = make_allocator(budget=1, scheduler="gradient")
    stream.shadows.is_awaited = True
    for _ in range(4 * MAX_INTERVAL):
        allocator.allocate({client: [stream], other: others}, {client, other}, StepTimeModel())
        assert allocator.shadow_tokens(stream) == 0


def test_proposals_beyond_the_budget_are_cut_in_order_of_arrival() -> None:
    verifier = VirtualVerifier(VerifierCoreConfig(budget=8, batching="barrier", barrier_timeout_s=0.05))
    drafters = [VirtualDrafter(verifier, f"drafter {i}", 0.9) for i in range(3)]
    drafters[0].open(open_request(1, max_tokens=100))
    verifier.run(0.3)  # without the other, it is granted all eight
    for drafter in drafters[1:]:
        drafter.open(open_request(1, max_tokens=100))
    verifier.run(30.0)
    drafted = [
        sum(len(item.draft_tokens) for item in batch.work if isinstance(item, Verify)) for batch in verifier.steps
    ]
    assert max(drafted) == 8
    assert all(len(drafter.texts[1]) == 103 for drafter in drafters)


def test_no_stream_is_granted_more_than_the_rest_of_its_answer_can_use() -> None:
    ending, (stream,) = client_with_streams("ending", 1, first_key=1)
    other, other_streams = client_with_streams("other", 1, first_key=2)
    for _ in range(20 - 3):  # three tokens of twenty are left, the last one the target's own
        verdict_on(stream.protocol, Outcome(1, 0, 8), grant=0)
    for client in (ending, other):
        client.timing.on_proposal(0.001, 0.0, 1, grant=1)
        client.timing.on_verdict(0.02, 0.0, 1.0)
    make_allocator(budget=12).allocate({ending: [stream], other: other_streams}, {ending, other}, StepTimeModel())
    assert (ending.grant, other.grant) == (2, 10)


def proposed(key: int, num_tokens: int) -> ServedStream:
    """A stream with a proposal of `num_tokens` tokens to be verified."""
    _, (stream,) = client_with_streams(f"client {key}", 1, first_key=key)
    verdict_on(stream.protocol, Outcome(key, 0, 8), num_tokens)
    tokens = tuple(range(num_tokens))
    stream.proposal = Propose(1, 0, 1, 4, tokens_crc32([5, 6, 7, 8]), tokens)
    stream.protocol.on_propose(stream.proposal)
    return stream


def test_later_proposals_get_the_rest_of_the_budget_and_always_a_token_of_the_target() -> None:
    config = VerifierCoreConfig(draft_selection="arrival", co_located_tokens=0)
    turns = tuple(make_turn(proposed(key, num_tokens=5), config, CoLocatedPrices()) for key in (7, 3, 9))
    batch = Batch((), turns, budget=8, draft_selection="arrival")
    work = select_draft_tokens(batch, [proposal_path(turn) for turn in turns])
    assert work == [Verify(7, (0, 1, 2, 3, 4)), Verify(3, (0, 1, 2)), Verify(9, ())]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("scheduler", "gradiant", "did you mean 'gradient'"),
        ("estimator", "x", "estimator is 'x', expected one of "),
        ("batching", "dead", "batching is 'dead', expected one of "),
        ("budget", -1, "budget is -1, expected 0 or more"),
        ("beta", 1.5, "beta is 1.5, expected 0 to 1"),
        ("lease_s", -0.5, "lease_s is -0.5"),
    ],
)
def test_wrong_config_is_an_error_that_names_the_value(field: str, value: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_mapping(VerifierCoreConfig, {field: value})
