"""An event log replays to the same decisions, and a planted difference is found."""

import json
from collections.abc import Mapping

import pytest
from tests.drafter.switching_verifier import SwitchingVerifier

from goodspeed.decoding.mode import Mode
from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.drafter.core.core_config import DrafterCoreConfig, RetryConfig
from goodspeed.drafter.core.request import GenerationRequest
from goodspeed.drafter.event_log_replay import replay
from goodspeed.drafter.event_logging import LoggedDrafterCore
from goodspeed.errors import DataError, ErrorCode
from goodspeed.protocol.messages import Error, RoundMode
from goodspeed.testing.virtual_drafter import ToyVerifier, VirtualClock, VirtualDrafterHost

PROMPT = tuple(b"the quick brown")


class Lines:
    """An EventSink that keeps the log's lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, event: str, now: float, fields: Mapping[str, object]) -> None:
        self.lines.append(json.dumps({"event": event, "now": now, **fields}))


def logged_run() -> list[str]:
    """All rules and modes, lost links, a dead verifier, an error, a cancelled stream, and a failed one."""
    log = Lines()
    clock = VirtualClock()
    verifiers = [ToyVerifier(clock), ToyVerifier(clock)]
    config = DrafterCoreConfig(num_verifiers=2, retry=RetryConfig(give_up_s=5.0))
    drafter = VirtualDrafterHost(clock, verifiers, config, LoggedDrafterCore(config, 3, log, clock.now))
    clock.run(0.1)
    samplings = [Sampling(), Sampling(0.8, rule=Rule.COUPLED), Sampling(1.0, top_k=9, rule=Rule.REJECTION)]
    keys = [
        drafter.open(GenerationRequest(PROMPT, 60, sampling, logprobs=sampling.top_k > 0)) for sampling in samplings
    ]
    keys.append(drafter.open(GenerationRequest(PROMPT, 60, mode=Mode.TARGET_ONLY)))
    clock.run(0.15)
    drafter.cut()
    clock.run(0.15)
    drafter.receive(Error(ErrorCode.DIVERGED, "so it is", keys[0], epoch=1))
    drafter.cancel(keys[1])
    clock.run(30)
    drafter.open(GenerationRequest(PROMPT, 3000))
    clock.run(0.2)
    verifiers[0].is_alive = verifiers[1].is_alive = False
    drafter.cut()
    clock.run(30)
    return log.lines


def test_log_replays_to_the_same_decisions() -> None:
    lines = logged_run()
    events = {json.loads(line)["event"] for line in lines}
    assert events == {"start", "open", "cancel", "link_up", "link_lost", "message", "time", "drafts", "drafted"}
    assert replay(lines) is None


def test_log_of_all_modes_replays_to_the_same_decisions() -> None:
    log, clock = Lines(), VirtualClock()
    config = DrafterCoreConfig()
    core = LoggedDrafterCore(config, 3, log, clock.now)
    drafter = VirtualDrafterHost(clock, [SwitchingVerifier(clock, seed=5)], config, core)
    clock.run(0.1)
    keys = [drafter.open(GenerationRequest(PROMPT, 200, mode=mode)) for mode in Mode]
    clock.run(0.3)
    drafter.cut()
    clock.run(30)
    events = [
        event
        for line in log.lines
        for event in json.loads(line).get("decision", {}).get("events", ())
        if event["kind"] == "TokensCommitted"
    ]
    rounds = [(event["stream"], event["round"]["mode"]) for event in events]
    modes = {(stream, RoundMode(mode)) for stream, mode in rounds if mode is not None}
    assert {stream for stream, mode in rounds if mode is None} == set(keys)
    distributed, target_only, co_located = keys
    assert modes == {
        *((distributed, mode) for mode in RoundMode),
        (target_only, RoundMode.TARGET_ONLY),
        (co_located, RoundMode.CO_LOCATED),
        (co_located, RoundMode.TARGET_ONLY),
    }
    assert any('"ShadowDraft"' in line for line in log.lines)
    assert replay(log.lines) is None


@pytest.mark.parametrize("event", ["message", "drafts", "drafted", "link_lost", "time"])
def test_first_difference_is_found(event: str) -> None:
    lines = logged_run()
    candidates = [i for i, line in enumerate(lines) if json.loads(line)["event"] == event]
    at = candidates[len(candidates) // 2]
    changed = json.loads(lines[at])
    if event == "drafts":
        changed["work"]["requests"] = [{"stream": 99, "max_tokens": 1, "min_survival": 0.5}]
    elif event == "link_lost":
        changed["dials"][0]["at"] += 1e-9
    else:
        changed["decision"]["disconnects"] = [[0, "planted"]]
    lines[at] = json.dumps(changed)
    difference = replay(lines)
    assert difference is not None
    assert difference.line == at + 1


@pytest.mark.parametrize("line", ["{", "{}", '{"event": "time", "now": 1}', '{"event": "start", "config": {}}'])
def test_line_that_is_not_an_event_is_named(line: str) -> None:
    with pytest.raises(DataError, match="event log"):
        replay([line])
