"""A log replays to the same decisions, and a planted difference is found."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from msgspec import structs

from goodspeed.decoding.draft import SparseProbs
from goodspeed.decoding.mode import Mode
from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.engine.toy_target import toy_info
from goodspeed.errors import DataError, ErrorCode
from goodspeed.protocol.message_json import message_from_json, message_to_json
from goodspeed.protocol.messages import Error, Message, Open, Propose, Verdict
from goodspeed.scheduling.policies import SCHEDULERS
from goodspeed.testing.virtual_verifier import VirtualDrafter, VirtualVerifier, hello, open_request
from goodspeed.verifier.core.core_config import ClientConfig, VerifierCoreConfig
from goodspeed.verifier.event_log_replay import replay


class MemoryEventSink:
    """Keeps the lines of the log."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, event: str, now: float, fields: Mapping[str, object]) -> None:
        self.lines.append(json.dumps({"event": event, "now": now, **fields}))


def logged_run(scheduler: str, config: VerifierCoreConfig | None = None) -> list[str]:
    """Drafters with jitter and all rules, a reconnect, a wrong message, a revoked credential, and a shutdown."""
    config = config or VerifierCoreConfig(scheduler=scheduler, seed=3)
    rng = np.random.default_rng(1)
    log = MemoryEventSink()
    verifier = VirtualVerifier(config, toy_info(kv_capacity=500), events=log)
    drafters = [
        VirtualDrafter(verifier, f"drafter {i}", 0.5 + i / 10, lambda: float(rng.exponential(0.02))) for i in range(4)
    ]
    for i, drafter in enumerate(drafters):
        rule = Rule.REJECTION if i == 0 else Rule.COUPLED
        for stream in range(4):
            request = open_request(stream, sampling=Sampling(0.7, seed=stream, rule=rule), max_tokens=40)
            drafter.open(structs.replace(request, mode=Mode.TARGET_ONLY) if i == 3 else request)
    offender = verifier.welcome("offender")
    verifier.deliver(offender, Propose(1, 0, 1, 1, 1, ()))
    revoked = verifier.connect(names=frozenset({"its own"}))
    verifier.deliver(revoked, hello("its own"))
    verifier.deliver(revoked, open_request(1))
    verifier.deliver(verifier.connect(names=frozenset({"its own"})), hello("another's"))
    verifier.run(0.5)
    verifier.revoke(revoked)
    drafters[1].reconnect("drafter 1")
    verifier.run(20.0)
    verifier.core.on_shutdown(verifier.now)
    return log.lines


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_logged_run_replays_identically(scheduler: str) -> None:
    lines = logged_run(scheduler)
    assert sum('"Verdict"' in line for line in lines) > 50
    assert sum(line.count('"elapsed_us"') - line.count('"elapsed_us": 0') for line in lines) > 5
    assert sum('"revoked"' in line for line in lines) == 1
    assert sum("the credential is for" in line for line in lines) == 1
    assert replay(lines) is None


@pytest.mark.parametrize("time_price", [0.0, 1.0])
def test_selection_by_value_and_client_entries_replay_identically(time_price: float) -> None:
    clients = (ClientConfig("drafter 1", weight=3.0, floor=2), ClientConfig("", cap=9))
    base = VerifierCoreConfig(scheduler="time_aware", budget=6, overcommit=3.0, clients=clients)
    config = replace(base, draft_selection="value", time_price=time_price)
    assert replay(logged_run("time_aware", config)) is None


def test_two_runs_in_one_log_replay_identically() -> None:
    lines = logged_run("gradient")
    assert replay([*lines, *lines]) is None


def test_planted_difference_is_found_at_its_line() -> None:
    lines = logged_run("gradient")
    number = next(i for i, line in enumerate(lines) if i > 60 and re.search(r'"grant": [2-9]', line))
    lines[number] = re.sub(r'"grant": [2-9]', '"grant": 1', lines[number], count=1)
    difference = replay(lines)
    assert difference is not None
    assert difference.line == number + 1
    assert difference.logged != difference.replayed


def test_other_seed_of_the_random_scheduler_is_a_difference() -> None:
    lines = logged_run("random")
    start = json.loads(lines[0])
    start["config"]["seed"] += 1
    assert replay([json.dumps(start), *lines[1:]]) is not None


def test_the_error_names_a_line_that_is_not_an_event() -> None:
    with pytest.raises(DataError, match="line 2"):
        replay([logged_run("fixed")[0], "not json"])


@pytest.mark.parametrize(
    "message",
    [
        Open(1, 2, (3, 4), 1, 9, Sampling(0.7, 5, 0.9, 2**63, Rule.REJECTION), (7,), Mode.TARGET_ONLY, logprobs=True),
        Verdict(1, 2, 3, 4, 5, 6, 7, queue_us=8, logprobs=(-0.25, -1.5)),
        Error(ErrorCode.CAPACITY, "full", 3),
    ],
)
def test_messages_survive_the_log(message: Message) -> None:
    assert message_from_json(json.loads(json.dumps(message_to_json(message)))) == message


def test_draft_distributions_survive_the_log() -> None:
    probs = SparseProbs(np.array([2, 70_000], dtype=np.uint32), np.array([1, 65_535], dtype=np.uint16))
    message = Propose(1, 0, 1, 5, 7, (2,), (128,), (probs,))
    again = message_from_json(json.loads(json.dumps(message_to_json(message))))
    assert isinstance(again, Propose)
    assert again.draft_probs[0].token_ids.dtype == np.uint32
    assert again.draft_probs[0].weights.tolist() == [1, 65_535]
