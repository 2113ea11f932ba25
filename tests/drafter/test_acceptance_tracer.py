"""A drafter's acceptance trace agrees with the pair's own acceptance, whatever its rounds were."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from goodspeed.analysis.accepted_by_round import accepted_by_round
from goodspeed.decoding.mode import Mode
from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.drafter.acceptance_tracer import AcceptanceTraceWriter, traced_answers
from goodspeed.drafter.core.core_config import DrafterCoreConfig
from goodspeed.drafter.core.request import GenerationRequest
from goodspeed.drafter.event_logging import LoggedDrafterCore
from goodspeed.engine.teacher_forcing import teacher_forced_trace
from goodspeed.engine.toy_draft import ToyDraft
from goodspeed.errors import DataError
from goodspeed.records.acceptance_trace import (
    RIGHT,
    STOPPED,
    UNKNOWN,
    TracedAnswer,
    read_acceptance_trace,
)
from goodspeed.records.event_log import EventFanOut
from goodspeed.simulator.acceptance.replayed_trace import replayed_traces
from goodspeed.testing.virtual_drafter import ToyVerifier, VirtualClock, VirtualDrafterHost
from goodspeed.tuning.data.scored_answer import ScoredAnswer
from goodspeed.verifier.core.core_config import VerifierCoreConfig
from goodspeed.windows.policies import WindowConfig

RATE = 0.7  # of the virtual drafter's toy draft
NUM_TOKENS = 60
COUPLED = Sampling(0.8, rule=Rule.COUPLED)


class Lines:
    """An EventSink that keeps the log's lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, event: str, now: float, fields: Mapping[str, object]) -> None:
        self.lines.append(json.dumps({"event": event, "now": now, **fields}))


class Run:
    """A virtual drafter with an event log and an acceptance trace."""

    def __init__(self, path: Path, window: WindowConfig) -> None:
        self.events, self.sink, self.path = Lines(), AcceptanceTraceWriter("ann", path), path
        self.clock = VirtualClock()
        verifiers = [ToyVerifier(self.clock, VerifierCoreConfig(scheduler="fixed", budget=24)) for _ in range(2)]
        config = DrafterCoreConfig(num_verifiers=2, window=window)
        core = LoggedDrafterCore(config, 3, EventFanOut([self.events, self.sink]), self.clock.now)
        self.drafter = VirtualDrafterHost(self.clock, verifiers, config, core)
        self.clock.run(0.1)

    def answers(self) -> list[TracedAnswer]:
        """The acceptance trace; the one made from the event log must be the same."""
        self.sink.close()
        live = read_acceptance_trace(self.path)
        assert live == list(traced_answers(self.events.lines, "ann"))
        return live


def prompt(number: int) -> tuple[int, ...]:
    return tuple(f"prompt number {number}".encode())


def teacher_forced(run: Run, key: int, request: GenerationRequest) -> TracedAnswer:
    written = ScoredAnswer(request.tokens, tuple(run.drafter.received[key].tokens), request.sampling)
    (outcome,) = teacher_forced_trace(ToyDraft(RATE), [written], "ann")
    return outcome


@pytest.mark.parametrize("sampling", [Sampling(), COUPLED], ids=["greedy", "coupled"])
def test_known_outcomes_are_those_of_the_pair_and_unknown_ones_are_few(sampling: Sampling, tmp_path: Path) -> None:
    run = Run(tmp_path / "log.jsonl", WindowConfig("fixed", 3))
    requests = [GenerationRequest(prompt(number), NUM_TOKENS, sampling) for number in range(4)]
    keys = [run.drafter.open(request) for request in requests]
    run.clock.run(0.3)
    run.drafter.cut()  # messages in flight are lost; the streams continue
    run.clock.run(30)
    answers = sorted(run.answers(), key=lambda answer: answer.request)
    assert [answer.request for answer in answers] == [0, 1, 2, 3]
    for key, request, answer in zip(keys, requests, answers, strict=True):
        true = teacher_forced(run, key, request)
        assert answer.finish == "LENGTH"
        assert (answer.num_answer, answer.num_prompt) == (NUM_TOKENS, len(request.tokens))
        assert answer.temperature == sampling.temperature
        assert answer.draft_outcomes[0] == UNKNOWN
        for position, outcome in enumerate(answer.draft_outcomes):
            if outcome == UNKNOWN:  # the first token, one after a lost link, or a bonus after a whole draft
                assert answer.depths[position] in {0, 3} or position == NUM_TOKENS - 1
                assert answer.confidences[position] == answer.drafting_s[position] == 0.0
            else:
                assert outcome == true.draft_outcomes[position]
                assert answer.confidences[position] == pytest.approx(RATE, abs=0.0021)
                assert answer.drafting_s[position] > 0.0
        assert answer.draft_outcomes.count(UNKNOWN) < NUM_TOKENS / 4


def test_a_draft_that_ends_early_has_the_confidence_at_which_it_stopped(tmp_path: Path) -> None:
    """Survivals of 0.7 and 0.49 are above 0.4; the third token's survival of 0.343 is below it."""
    run = Run(tmp_path / "log.jsonl", WindowConfig("confidence", 8, min_survival=0.4))
    run.drafter.open(GenerationRequest(prompt(0), NUM_TOKENS))
    run.clock.run(30)
    (answer,) = run.answers()
    stops = [position for position, outcome in enumerate(answer.draft_outcomes) if outcome == STOPPED]
    assert stops
    for position in stops:
        assert answer.draft_outcomes[position - 2 : position] == RIGHT * 2
        assert answer.depths[position] == 2
        assert answer.confidences[position] == pytest.approx(0.4 / RATE**2, abs=0.01)


def test_cancelled_answers_are_traced_and_target_only_ones_are_not(tmp_path: Path) -> None:
    run = Run(tmp_path / "log.jsonl", WindowConfig("fixed", 3))
    target_only = run.drafter.open(GenerationRequest(prompt(0), 8, mode=Mode.TARGET_ONLY))
    cancelled = run.drafter.open(GenerationRequest(prompt(1), 4000))
    run.clock.run(0.5)
    run.drafter.cancel(cancelled)
    run.clock.run(5)
    (answer,) = run.answers()
    assert len(run.drafter.received[target_only].tokens) == 8
    assert (answer.client, answer.request, answer.finish) == ("ann", 0, "CANCELLED")
    assert answer.num_answer == len(run.drafter.received[cancelled].tokens)


def test_a_trace_at_window_3_replays_the_pair_at_other_windows(tmp_path: Path) -> None:
    """Replayed acceptance per round at windows 1, 5 and 8 against the answers with a draft token everywhere.

    Only the unknown positions (a sixth of them), which are imputed, can differ. Paired by answer, within 4
    standard errors. Window 1 steps over the same bonus tokens as window 3: there nothing differs.
    """
    run = Run(tmp_path / "log.jsonl", WindowConfig("fixed", 3))
    requests = [GenerationRequest(prompt(number), NUM_TOKENS) for number in range(60)]
    keys = []
    for request in requests:
        keys.append(run.drafter.open(request))
        run.clock.run(1.0)
    run.clock.run(30)
    answers = sorted(run.answers(), key=lambda answer: answer.request)
    true = replayed_traces([teacher_forced(run, key, request) for key, request in zip(keys, requests, strict=True)])[0]
    for window in (1, 5, 8):
        differences = []
        for filling in replayed_traces(answers):
            for tape, other in zip(filling, true, strict=True):
                here, there = (list(accepted_by_round(one, NUM_TOKENS, window)) for one in (tape, other))
                differences.append(np.mean(here) - np.mean(there))
        per_answer = np.array(differences).reshape(-1, len(requests)).mean(axis=0)
        assert abs(per_answer.mean()) <= 4 * per_answer.std() / math.sqrt(len(requests))
        assert (per_answer.std() == 0.0) == (window == 1)


@pytest.mark.parametrize("line", ["{", "{}", '{"event": "open", "now": 1}', "[]"])
def test_a_line_that_is_not_an_event_is_an_error(line: str) -> None:
    with pytest.raises(DataError, match="line 1"):
        list(traced_answers([line], "ann"))


def test_log_of_an_older_format_is_refused() -> None:
    with pytest.raises(DataError, match="the log has format 1"):
        list(traced_answers(['{"event": "start", "now": 0.0, "seed": 1}'], "ann"))
