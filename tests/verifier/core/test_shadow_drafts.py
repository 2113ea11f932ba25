"""What a verifier learns from shadow drafts, and what a wrong one can do."""

import pytest
from msgspec.structs import replace

from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.engine.interface import Outcome
from goodspeed.errors import ErrorCode, ProtocolError
from goodspeed.protocol.messages import PROTOCOL_VERSION, ShadowDraft, Verdict, Welcome
from goodspeed.protocol.session import VerifierStream
from goodspeed.scheduling.policies import ESTIMATORS
from goodspeed.testing.virtual_verifier import GREEDY, VirtualVerifier, open_request
from goodspeed.verifier.core.client import Client
from goodspeed.verifier.core.shadow_drafts import ShadowDrafts

VOCAB_SIZE = 100
WELCOME = Welcome(PROTOCOL_VERSION, "verifier", "toy", "toy", VOCAB_SIZE, 4096, 64, 16, ())
TEXT = (5, 6, 7, *range(20, 60))
"""Prompt and answer."""
NUM_PROMPT = 3


class ShadowedStream:
    """A stream in local rounds, each of which commits one token of TEXT and takes 10 ms."""

    def __init__(self, max_tokens: int = 20, sampling: Sampling = GREEDY) -> None:
        self.protocol = VerifierStream(open_request(1, TEXT[:NUM_PROMPT], max_tokens, sampling), WELCOME)
        self.client = Client("edge", ESTIMATORS["censored"](0.1, 0.05))
        self.shadows = ShadowDrafts(sampling)
        self.now = 100.0

    def commit(self, num_tokens: int = 1, shadow: int = 0) -> Verdict:
        """That many rounds; the last one asks for a shadow draft."""
        for i in range(num_tokens):
            self.now += 0.01
            self.protocol.on_outcome(Outcome(1, 0, TEXT[len(self.protocol.committed)]))
            is_last = i == num_tokens - 1
            verdict = self.protocol.make_verdict(0, 0.0, 0.01, shadow=shadow if is_last else 0)
            self.shadows.on_verdict(verdict, self.client, self.protocol.committed, self.now)
        return verdict

    def receive(self, draft: ShadowDraft) -> None:
        self.shadows.on_shadow_draft(draft, self.client, self.protocol.committed, VOCAB_SIZE, self.now)


def answer(verdict: Verdict, tokens: tuple[int, ...], drafting_us: int = 4000) -> ShadowDraft:
    return ShadowDraft(verdict.stream, verdict.epoch, verdict.round, verdict.committed_length, tokens, drafting_us)


def learned(stream: ShadowedStream, *rounds: tuple[int, int]) -> bool:
    """The estimator is in the state that these verdicts (num_granted, num_accepted) leave it in."""
    reference = ESTIMATORS["censored"](0.1, 0.05)
    for num_granted, num_accepted in rounds:
        reference.on_verdict(num_granted, num_accepted)
    mine = stream.client.estimator
    return (mine.acceptance_rate, mine.goodput) == (reference.acceptance_rate, reference.goodput)


def test_a_draft_is_judged_once_its_first_wrong_token_is_committed() -> None:
    stream = ShadowedStream()
    verdict = stream.commit(shadow=4)
    stream.receive(answer(verdict, (*TEXT[4:6], 99, 99)))
    stream.commit(2)
    assert learned(stream)
    stream.commit()
    assert learned(stream, (4, 2))
    stream.commit(3)
    assert learned(stream, (4, 2))


def test_a_draft_may_be_judged_when_it_arrives() -> None:
    stream = ShadowedStream()
    verdict = stream.commit(shadow=4)
    stream.commit(6)
    stream.receive(answer(verdict, TEXT[4:8]))
    assert learned(stream, (4, 4))


def test_tokens_that_were_requested_and_not_drafted_count_as_rejected() -> None:
    stream = ShadowedStream()
    verdict = stream.commit(shadow=4)
    stream.receive(answer(verdict, ()))
    assert learned(stream, (4, 0))


def test_a_draft_past_the_end_of_the_answer_is_judged_as_far_as_that() -> None:
    stream = ShadowedStream(max_tokens=5)
    verdict = stream.commit(shadow=3)
    late = replace(answer(verdict, TEXT[6:9]), committed_length=6)
    stream.commit(2)
    stream.receive(late)
    assert stream.commit(2).finish
    assert learned(stream, (2, 2))


def test_times_are_those_of_a_proposal() -> None:
    stream = ShadowedStream()
    verdict = stream.commit(shadow=4)
    stream.commit(2)  # 20 ms
    stream.receive(answer(verdict, TEXT[4:8]))
    timing = stream.client.timing
    assert timing.turnaround.mean_s == pytest.approx(0.02)
    assert timing.network_s == pytest.approx(0.016)
    assert timing.drafting_s == pytest.approx(0.001)


def test_what_run_ahead_saves_is_no_time_of_the_round() -> None:
    """Of 4 ms of drafting and 20 ms in all, a proposal would take 3 ms less. More than was drafted cannot be saved."""
    for saved_us, drafting_s in ((3000, 0.001), (10**6, 0.0)):
        stream = ShadowedStream()
        verdict = stream.commit(shadow=4)
        stream.now += 0.02
        stream.receive(replace(answer(verdict, TEXT[4:7]), saved_us=saved_us))
        timing = stream.client.timing
        assert timing.network_s == pytest.approx(0.016)
        assert timing.drafting_s == pytest.approx(drafting_s / 4)


def test_nothing_is_learned_of_drawn_tokens_whose_positions_a_proposal_may_have() -> None:
    """A proposal would draw the same numbers, and a grant must not depend on them."""
    stream = ShadowedStream(sampling=Sampling(1.0, rule=Rule.REJECTION))
    verdict = stream.commit(shadow=4)
    stream.receive(answer(verdict, (TEXT[4], 99, 99, 99)))
    stream.commit(3)
    assert learned(stream)
    assert not stream.client.timing.turnaround.is_known
    stream.commit()
    assert learned(stream, (4, 1))
    assert stream.client.timing.drafting_s == pytest.approx(0.0)  # 4 ms of drafting, cut to the turnaround of 0


def test_an_answer_to_an_earlier_request_is_ignored() -> None:
    stream = ShadowedStream()
    early = stream.commit(shadow=4)
    late = stream.commit(shadow=4)
    stream.receive(answer(early, (99,)))
    assert learned(stream)
    stream.receive(answer(late, (99,)))
    stream.commit()
    assert learned(stream, (4, 0))
    stream.receive(answer(late, TEXT[5:9]))  # a second time
    stream.commit(5)
    assert learned(stream, (4, 0))


def test_after_a_grant_an_answer_is_not_awaited_but_counts() -> None:
    stream = ShadowedStream()
    verdict = stream.commit(shadow=4)
    assert stream.shadows.is_awaited
    stream.protocol.on_outcome(Outcome(1, 0, TEXT[4]))
    granted = stream.protocol.make_verdict(2, 0.0, 0.01)
    stream.shadows.on_verdict(granted, stream.client, stream.protocol.committed, stream.now)
    assert not stream.shadows.is_awaited
    stream.receive(answer(verdict, (99,)))  # it was being drafted already
    assert learned(stream, (4, 0))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"tokens": (1, 2, 3, 4, 5)}, ErrorCode.OVER_GRANT),
        ({"committed_length": 3}, ErrorCode.DIVERGED),
        ({"committed_length": 7}, ErrorCode.DIVERGED),
        ({"tokens": (100,)}, ErrorCode.BAD_TOKEN),
    ],
)
def test_a_wrong_answer_is_an_error_of_its_stream(change: dict[str, object], code: ErrorCode) -> None:
    stream = ShadowedStream()
    verdict = stream.commit(shadow=4)
    stream.commit(2)
    with pytest.raises(ProtocolError) as caught:
        stream.receive(replace(answer(verdict, TEXT[4:8]), **change))
    assert (caught.value.code, caught.value.stream) == (code, 1)
    assert learned(stream)


@pytest.mark.parametrize("stream", [1, 2])
@pytest.mark.parametrize("epoch", [0, 1])
def test_a_shadow_draft_that_nobody_requested_changes_nothing(stream: int, epoch: int) -> None:
    verifier = VirtualVerifier()
    conn = verifier.welcome("edge")
    verifier.deliver(conn, open_request(1))
    verifier.step_until_idle()
    verifier.take(conn)
    (client,) = verifier.core.stats().clients
    assert verifier.deliver(conn, ShadowDraft(stream, epoch, 0, 10**9, (10**9,) * 100, 10**9)) == []
    assert not client.timing.turnaround.is_known
    assert verifier.core.stats().load.open_streams == 1
