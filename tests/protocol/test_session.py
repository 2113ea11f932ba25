"""Both ends of a stream: order, repeated messages, divergence, limits, resumption."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from msgspec.structs import replace
from tests.protocol.verdicts import verdict_on

from goodspeed.decoding.draft import Draft, SparseProbs
from goodspeed.decoding.logit_changes import LogitChanges
from goodspeed.decoding.logprobs import TopTokens
from goodspeed.decoding.mode import Mode
from goodspeed.decoding.sampling import Sampling
from goodspeed.engine.interface import Outcome
from goodspeed.errors import ErrorCode, ProtocolError
from goodspeed.protocol.codec import encode_message
from goodspeed.protocol.limits import check_hello, check_open
from goodspeed.protocol.messages import (
    PROTOCOL_VERSION,
    ChangeMode,
    FinishReason,
    Hello,
    Open,
    Propose,
    Verdict,
    Welcome,
)
from goodspeed.protocol.session import DrafterStream, RepeatedProposal, VerifierStream, tokens_crc32

WELCOME = Welcome(PROTOCOL_VERSION, "verifier", "toy", "f00d", 100, 64, 4, 6, (0,))
HELLO = Hello(PROTOCOL_VERSION, "drafter", "cafe")
PROMPT = (5, 6, 7)
OPEN = Open(3, 0, PROMPT, 3, 16, Sampling(), (0,))


def target(prefix: Sequence[int]) -> int:
    """The target's own next token: never 0, a function of the whole prefix."""
    return 1 + tokens_crc32(prefix) % 99


def target_text(length: int, prompt: Sequence[int] = PROMPT) -> list[int]:
    """Prompt and answer of the target without drafts, `length` tokens in all."""
    tokens = list(prompt)
    while len(tokens) < length:
        tokens.append(target(tokens))
    return tokens


def verified(prefix: Sequence[int], draft: Sequence[int]) -> Outcome:
    """The outcome of a greedy engine for a draft."""
    tokens = list(prefix)
    num_accepted = 0
    for token in draft:
        if token != target(tokens):
            break
        tokens.append(token)
        num_accepted += 1
    return Outcome(0, num_accepted, target(tokens))


def started(opening: Open = OPEN, grant: int = 4) -> tuple[DrafterStream, VerifierStream]:
    """Both ends after round 0."""
    drafter, verifier = DrafterStream(opening), VerifierStream(opening, WELCOME)
    drafter.on_verdict(verdict_on(verifier, verified(opening.tokens, ()), grant))
    return drafter, verifier


def draft(*tokens: int) -> Draft:
    return Draft(tokens, (0.5,) * len(tokens))


def good_draft(drafter: DrafterStream, length: int) -> Draft:
    """A draft of the tokens that the target will choose."""
    return draft(*target_text(len(drafter.committed) + length)[len(drafter.committed) :])


def verdict_for(verifier: VerifierStream, propose: Propose, grant: int = 4) -> Verdict:
    """The verdict on a new proposal."""
    accepted = verifier.on_propose(propose)
    assert isinstance(accepted, Propose)
    return verdict_on(verifier, verified(verifier.committed, accepted.tokens), grant, accepted.tokens)


def refused(verifier: VerifierStream, propose: Propose) -> ErrorCode:
    """The code with which the stream refuses a proposal; the refusal must not change the stream."""
    before = list(verifier.committed)
    with pytest.raises(ProtocolError) as caught:
        verifier.on_propose(propose)
    assert caught.value.stream == propose.stream
    assert verifier.committed == before
    return caught.value.code


def test_a_round_commits_the_accepted_tokens_and_the_targets_own() -> None:
    drafter, verifier = started()
    right = good_draft(drafter, 2).tokens
    verdict = verdict_for(verifier, drafter.propose(draft(*right, 99), 0.01))
    assert (verdict.round, verdict.num_accepted, verdict.committed_length) == (1, 2, 7)
    assert drafter.on_verdict(verdict) == (*right, target(target_text(6)))
    assert drafter.committed == verifier.committed == target_text(7)
    assert drafter.grant == 4


def test_times_and_confidences_travel_as_integers() -> None:
    drafter, verifier = started()
    propose = drafter.propose(Draft((1, 2), (1.0, 0.25)), 0.0123)
    assert (propose.confidences, propose.drafting_us) == ((255, 64), 12_300)
    verdict = verdict_for(verifier, propose)
    assert (verdict.queue_us, verdict.verify_us) == (1_000, 30_000)


def test_a_repeated_proposal_gets_the_same_verdict() -> None:
    drafter, verifier = started()
    propose = drafter.propose(good_draft(drafter, 3), 0.0)
    verifier.on_propose(propose)
    assert verifier.on_propose(propose) == RepeatedProposal(None)  # still being verified
    verdict = verdict_on(verifier, verified(verifier.committed, propose.tokens), 4, propose.tokens)
    assert verifier.on_propose(propose) == RepeatedProposal(verdict)
    assert drafter.on_verdict(verdict) != ()
    assert drafter.on_verdict(verdict) == ()  # a repeated verdict commits nothing
    assert drafter.committed == verifier.committed


def test_the_last_verdict_can_be_repeated_too() -> None:
    drafter, verifier = started(replace(OPEN, max_tokens=3))
    propose = drafter.propose(good_draft(drafter, 1), 0.0)
    verdict = verdict_for(verifier, propose)
    assert verdict.finish is FinishReason.LENGTH
    assert verifier.on_propose(propose) == RepeatedProposal(verdict)


def test_proposals_out_of_order_are_refused() -> None:
    drafter, verifier = started()
    propose = drafter.propose(draft(1), 0.0)
    assert refused(verifier, replace(propose, epoch=1)) is ErrorCode.STALE_EPOCH
    assert refused(verifier, replace(propose, round=2)) is ErrorCode.WRONG_ROUND
    assert refused(VerifierStream(OPEN, WELCOME), propose) is ErrorCode.WRONG_ROUND  # not prefilled yet
    verifier.on_propose(propose)
    assert refused(verifier, replace(propose, round=2)) is ErrorCode.WRONG_ROUND  # round 1 is being verified


def test_a_proposal_after_the_end_is_refused() -> None:
    drafter, verifier = started(replace(OPEN, max_tokens=3))
    propose = drafter.propose(good_draft(drafter, 1), 0.0)
    verdict_for(verifier, propose)
    assert refused(verifier, replace(propose, round=2)) is ErrorCode.WRONG_ROUND


def test_after_a_grant_of_0_verdicts_come_without_proposals_until_the_next_grant() -> None:
    drafter, verifier = started(grant=0)
    assert verifier.is_local
    assert not drafter.is_ready
    for number, grant in ((1, 0), (2, 3)):
        verdict = verdict_on(verifier, verified(verifier.committed, ()), grant)
        assert (verdict.round, verdict.num_accepted, verdict.grant) == (number, 0, grant)
        assert len(drafter.on_verdict(verdict)) == 1
    assert not verifier.is_local
    verdict = verdict_for(verifier, drafter.propose(good_draft(drafter, 3), 0.0))
    assert (verdict.round, verdict.num_accepted) == (3, 3)
    assert len(drafter.on_verdict(verdict)) == 4
    assert drafter.committed == verifier.committed


def test_a_proposal_after_a_grant_of_0_is_refused() -> None:
    _, verifier = started(grant=0)
    assert refused(verifier, Propose(3, 0, 1, 4, tokens_crc32(verifier.committed), ())) is ErrorCode.WRONG_ROUND


@pytest.mark.parametrize("mode", [Mode.TARGET_ONLY, Mode.CO_LOCATED])
def test_a_proposal_in_a_mode_without_proposals_is_refused(mode: Mode) -> None:
    drafter, verifier = started(replace(OPEN, mode=mode))
    assert verifier.never_proposes
    assert verifier.is_local
    assert verifier.max_grant == drafter.grant == 0
    assert not drafter.is_ready
    propose = Propose(3, 0, 1, 4, tokens_crc32(verifier.committed), ())
    assert refused(verifier, propose) is ErrorCode.WRONG_ROUND


def test_a_change_of_mode_counts_from_the_next_verdict_on() -> None:
    """The grant that the drafter has is answered by an empty proposal."""
    drafter, verifier = started()
    assert drafter.change_mode(Mode.TARGET_ONLY) == ChangeMode(OPEN.stream, OPEN.epoch, Mode.TARGET_ONLY)
    verifier.change_mode(Mode.TARGET_ONLY)
    assert drafter.is_ready
    assert drafter.max_draft == verifier.max_draft == 0
    verdict = verdict_for(verifier, drafter.propose(draft(), 0.0))
    assert (verdict.num_committed, verdict.grant) == (1, 0)
    assert len(drafter.on_verdict(verdict)) == 1
    assert verifier.is_local
    assert not drafter.is_ready


def test_a_grant_that_crosses_a_change_of_mode_is_answered() -> None:
    drafter, verifier = started(grant=0)
    verdict = verdict_on(verifier, verified(verifier.committed, ()), 4)
    change = drafter.change_mode(Mode.CO_LOCATED)
    drafter.on_verdict(verdict)
    assert drafter.grant == 4
    assert (drafter.is_ready, drafter.max_draft) == (True, 0)
    verifier.change_mode(change.mode)
    assert verifier.max_draft > verifier.max_grant == 0
    assert verdict_for(verifier, drafter.propose(draft(), 0.0)).grant == 0


def test_a_changed_stream_returns() -> None:
    drafter, verifier = started(grant=0)
    for mode, grants in ((Mode.TARGET_ONLY, (0, 0)), (Mode.DISTRIBUTED, (4,))):
        verifier.change_mode(drafter.change_mode(mode).mode)
        for grant in grants:
            verdict = verdict_on(verifier, verified(verifier.committed, ()), 4)
            assert verdict.grant == grant
            drafter.on_verdict(verdict)
    verdict = verdict_for(verifier, drafter.propose(good_draft(drafter, 2), 0.0))
    assert len(drafter.on_verdict(verdict)) == 3


def test_no_shadow_draft_is_due_in_a_mode_without_proposals() -> None:
    drafter, verifier = started(grant=0)
    verifier.on_outcome(verified(verifier.committed, ()))
    drafter.on_verdict(verifier.make_verdict(0, 0.0, 0.0, shadow=3))
    assert drafter.max_draft == 3
    drafter.change_mode(Mode.TARGET_ONLY)
    assert drafter.max_draft == drafter.shadow == 0
    verifier.change_mode(Mode.TARGET_ONLY)
    verifier.on_outcome(verified(verifier.committed, ()))
    assert verifier.make_verdict(0, 0.0, 0.0, shadow=3).shadow == 0


def test_a_new_epoch_asks_for_the_mode_that_was_last_asked_for() -> None:
    drafter, _ = started()
    drafter.change_mode(Mode.CO_LOCATED)
    assert drafter.reopen().mode is Mode.CO_LOCATED
    drafter.change_mode(Mode.DISTRIBUTED)
    assert drafter.reopen().mode is Mode.DISTRIBUTED


def test_a_diverged_prefix_is_refused() -> None:
    drafter, verifier = started()
    propose = drafter.propose(draft(1), 0.0)
    assert refused(verifier, replace(propose, committed_crc32=propose.committed_crc32 ^ 1)) is ErrorCode.DIVERGED
    assert refused(verifier, replace(propose, committed_length=5)) is ErrorCode.DIVERGED


def test_a_proposal_longer_than_granted_is_refused() -> None:
    drafter, verifier = started(grant=2)
    propose = drafter.propose(draft(1, 2), 0.0)
    assert refused(verifier, replace(propose, tokens=(1, 2, 3), confidences=())) is ErrorCode.OVER_GRANT
    assert isinstance(verifier.on_propose(propose), Propose)


def test_a_token_outside_the_vocabulary_is_refused() -> None:
    drafter, verifier = started()
    propose = drafter.propose(draft(1, 99), 0.0)
    assert refused(verifier, replace(propose, tokens=(1, 100))) is ErrorCode.BAD_TOKEN


def sparse(ids: Sequence[int], weights: Sequence[int]) -> SparseProbs:
    return SparseProbs(np.array(ids, np.uint32), np.array(weights, np.uint16))


@pytest.mark.parametrize(
    ("probs", "code"),
    [
        (sparse([1, 3], [5, 5]), ErrorCode.MALFORMED),  # lacks its token
        (sparse([2, 2], [5, 5]), ErrorCode.MALFORMED),  # not ascending
        (sparse([2, 3], [5, 0]), ErrorCode.MALFORMED),  # zero weight
        (sparse([], []), ErrorCode.MALFORMED),
        (sparse([2, 100], [5, 5]), ErrorCode.BAD_TOKEN),
    ],
)
def test_a_wrong_draft_distribution_is_refused(probs: SparseProbs, code: ErrorCode) -> None:
    drafter, verifier = started()
    propose = drafter.propose(Draft((2,), (0.5,), (probs,)), 0.0)
    assert refused(verifier, propose) is code


def test_counts_that_do_not_match_are_malformed() -> None:
    drafter, verifier = started()
    propose = drafter.propose(draft(2, 3), 0.0)
    assert refused(verifier, replace(propose, confidences=(1,))) is ErrorCode.MALFORMED
    assert refused(verifier, replace(propose, draft_probs=(sparse([2], [1]),))) is ErrorCode.MALFORMED


def test_a_trimmed_proposal_is_verified_like_a_shorter_one() -> None:
    drafter, verifier = started()
    propose = drafter.propose(good_draft(drafter, 4), 0.0)
    verifier.on_propose(propose)
    trimmed = propose.tokens[:1]
    verdict = verdict_on(verifier, verified(verifier.committed, trimmed), 4, trimmed)
    assert (verdict.num_accepted, verdict.next_token) == (1, propose.tokens[1])  # the drafter sees that it was right
    assert len(drafter.on_verdict(verdict)) == 2
    assert drafter.committed == verifier.committed == target_text(6)


def verdict_after(verifier: VerifierStream, draft_tokens: Sequence[int]) -> Verdict:
    """The verdict on a step over these tokens, whoever drafted them."""
    return verdict_on(verifier, verified(verifier.committed, draft_tokens), 4, draft_tokens)


def test_a_local_round_commits_co_located_tokens() -> None:
    drafter, verifier = started(grant=0)
    text = target_text(10)
    verdict = verdict_after(verifier, (*text[4:7], 98))
    assert (verdict.num_accepted, verdict.co_located_tokens, verdict.num_co_located) == (0, tuple(text[4:7]), 4)
    assert (verdict.next_token, verdict.committed_length, verdict.num_committed) == (text[7], 8, 4)
    assert drafter.on_verdict(verdict) == verifier.new_tokens == tuple(text[4:8])
    assert drafter.committed == verifier.committed == text[:8]
    propose = drafter.propose(good_draft(drafter, 1), 0.0)
    assert drafter.on_verdict(verdict_for(verifier, propose)) == tuple(text[8:10])


def test_co_located_tokens_may_follow_a_proposal() -> None:
    drafter, verifier = started()
    text = target_text(10)
    verifier.on_propose(drafter.propose(good_draft(drafter, 2), 0.0))
    verdict = verdict_after(verifier, text[4:9])
    assert (verdict.num_accepted, verdict.co_located_tokens, verdict.num_co_located) == (2, tuple(text[6:9]), 3)
    assert drafter.on_verdict(verdict) == tuple(text[4:10])
    assert drafter.committed == verifier.committed


def test_co_located_tokens_may_replace_a_proposal_which_is_judged_all_the_same() -> None:
    drafter, verifier = started()
    text = target_text(10)
    verifier.on_propose(drafter.propose(draft(*text[4:6], 98), 0.0))
    verdict = verdict_after(verifier, text[4:8])
    assert (verdict.num_accepted, verdict.co_located_tokens, verdict.num_co_located) == (2, tuple(text[6:8]), 2)
    assert drafter.on_verdict(verdict) == tuple(text[4:9])
    assert drafter.committed == verifier.committed


@pytest.mark.parametrize(
    ("end", "length", "finish"),
    [(6, 7, FinishReason.STOP), (7, 8, FinishReason.STOP), (8, 8, FinishReason.LENGTH)],
    ids=["before", "at", "beyond"],
)
def test_co_located_tokens_are_cut_at_an_end_token_or_else_at_max_tokens(
    end: int, length: int, finish: FinishReason
) -> None:
    """max_tokens ends the text after 8 tokens; the end token is before, at or beyond that."""
    text = target_text(12)
    drafter, verifier = started(replace(OPEN, end_tokens=(text[end],), max_tokens=5), grant=0)
    verdict = verdict_after(verifier, text[4:10])
    assert (verdict.co_located_tokens, verdict.next_token) == (tuple(text[4 : length - 1]), text[length - 1])
    assert (verdict.finish, verdict.committed_length) == (finish, length)
    drafter.on_verdict(verdict)
    assert drafter.committed == verifier.committed == text[:length]


def test_a_proposal_of_an_earlier_round_is_ignored() -> None:
    drafter, verifier = started()
    propose = drafter.propose(good_draft(drafter, 2), 0.0)
    verdict_for(verifier, propose, grant=0)
    verdict_after(verifier, ())
    assert verifier.on_propose(propose) == RepeatedProposal(None)


def test_a_shadow_draft_is_requested_only_beside_a_grant_of_0() -> None:
    for mode, grant, shadow in ((Mode.DISTRIBUTED, 0, 6), (Mode.DISTRIBUTED, 1, 0), (Mode.CO_LOCATED, 0, 0)):
        verifier = VerifierStream(replace(OPEN, mode=mode), WELCOME)
        verifier.on_outcome(verified(PROMPT, ()))
        assert verifier.make_verdict(grant, 0.0, 0.0, shadow=60).shadow == shadow


def test_an_end_token_inside_the_accepted_tokens_ends_the_stream_there() -> None:
    text = target_text(12)
    drafter, verifier = started(replace(OPEN, end_tokens=(text[5],)))
    verdict = verdict_for(verifier, drafter.propose(good_draft(drafter, 4), 0.0))
    assert (verdict.num_accepted, verdict.next_token, verdict.finish) == (1, text[5], FinishReason.STOP)
    drafter.on_verdict(verdict)
    assert drafter.committed == verifier.committed == text[:6]
    assert verifier.is_finished
    assert verdict.grant == 0
    assert not drafter.is_ready


def test_max_tokens_inside_the_accepted_tokens_ends_the_stream_there() -> None:
    drafter, verifier = started(replace(OPEN, max_tokens=4))
    propose = drafter.propose(good_draft(drafter, 2), 0.0)
    verifier.on_propose(propose)
    verdict = verdict_on(verifier, Outcome(3, 2, 42), 4, propose.tokens)
    assert (verdict.num_accepted, verdict.finish, verdict.committed_length) == (2, FinishReason.LENGTH, 7)
    target_only = VerifierStream(replace(OPEN, max_tokens=1, mode=Mode.TARGET_ONLY), WELCOME)
    assert verdict_on(target_only, Outcome(3, 0, 42), 4).finish is FinishReason.LENGTH


def test_grants_never_exceed_the_rest_of_the_answer() -> None:
    drafter, verifier = started(replace(OPEN, max_tokens=4), grant=9)
    assert drafter.grant == 2  # three tokens remain, one of them is the target's own
    assert drafter.max_draft == 2
    verdict = verdict_for(verifier, drafter.propose(good_draft(drafter, 2), 0.0))
    drafter.on_verdict(verdict)
    assert (drafter.finish, len(drafter.committed)) == (FinishReason.LENGTH, 7)
    assert verifier.spec().capacity == 7


def test_grants_never_exceed_the_longest_proposal() -> None:
    drafter, _ = started(grant=60)
    assert drafter.grant == WELCOME.max_proposal


def test_log_probabilities_are_cut_with_their_tokens() -> None:
    text = target_text(12)
    drafter, verifier = started(replace(OPEN, end_tokens=(text[5],)))
    propose = drafter.propose(good_draft(drafter, 4), 0.0)
    verifier.on_propose(propose)
    outcome = replace(verified(verifier.committed, propose.tokens), logprobs=(-1.0, -2.0, -3.0, -4.0, -5.0))
    assert verdict_on(verifier, outcome, 4, propose.tokens).logprobs == (-1.0, -2.0)


def test_target_only_mode_counts_rounds_without_proposals() -> None:
    drafter, verifier = started(replace(OPEN, mode=Mode.TARGET_ONLY, max_tokens=3))
    while drafter.finish is FinishReason.NONE:
        drafter.on_verdict(verdict_on(verifier, verified(verifier.committed, ()), 4))
    assert drafter.committed == target_text(6)


def test_a_resumed_stream_continues_the_same_text() -> None:
    drafter, verifier = started()
    verdict_for(verifier, drafter.propose(good_draft(drafter, 3), 0.0))  # this verdict is lost with the link
    reopening = drafter.reopen()
    assert (reopening.epoch, reopening.num_prompt, list(reopening.tokens)) == (1, 3, target_text(4))
    check_open(reopening, WELCOME)
    elsewhere = VerifierStream(reopening, WELCOME)
    drafter.on_verdict(verdict_on(elsewhere, verified(elsewhere.committed, ()), 4))
    while drafter.finish is FinishReason.NONE:
        drafter.on_verdict(verdict_for(elsewhere, drafter.propose(good_draft(drafter, min(2, drafter.max_draft)), 0.0)))
    assert drafter.committed == target_text(3 + 16)


def test_a_verdict_of_an_older_epoch_is_ignored() -> None:
    drafter, verifier = started()
    late = verdict_for(verifier, drafter.propose(draft(1), 0.0))
    drafter.reopen()
    before = list(drafter.committed)
    assert drafter.on_verdict(late) == ()
    assert drafter.committed == before


@pytest.mark.parametrize(
    "change",
    [
        lambda verdict: replace(verdict, num_accepted=4, committed_length=9),  # more than proposed
        lambda verdict: replace(verdict, committed_length=7),
        lambda verdict: replace(verdict, round=2),
        lambda verdict: replace(verdict, next_token=100),
        lambda verdict: replace(verdict, co_located_tokens=(1,), committed_length=9),  # more than were verified
        lambda verdict: replace(verdict, co_located_tokens=(100,), num_co_located=1, committed_length=9),
        lambda verdict: replace(verdict, logprobs=(-1.0,)),
    ],
)
def test_a_verdict_that_contradicts_the_proposal_is_an_error(change: Callable[[Verdict], Verdict]) -> None:
    drafter, verifier = DrafterStream(OPEN, vocab_size=100), VerifierStream(OPEN, WELCOME)
    drafter.on_verdict(verdict_on(verifier, verified(PROMPT, ()), 4))
    verdict = verdict_for(verifier, drafter.propose(good_draft(drafter, 3), 0.0))
    before = list(drafter.committed)
    with pytest.raises(ProtocolError) as caught:
        drafter.on_verdict(change(verdict))
    assert (caught.value.code, caught.value.stream) == (ErrorCode.DIVERGED, 3)
    assert drafter.committed == before
    assert len(drafter.on_verdict(verdict)) == 4  # the stream still accepts the true one


def test_a_verdict_that_is_not_due_is_an_error() -> None:
    drafter, _ = started()
    with pytest.raises(ProtocolError, match="no verdict is due"):
        drafter.on_verdict(Verdict(3, 0, 1, 0, 9, 5, 4))


def test_a_full_length_verdict_without_a_finish_reason_is_an_error() -> None:
    drafter = DrafterStream(replace(OPEN, max_tokens=1))
    with pytest.raises(ProtocolError, match="not finished"):
        drafter.on_verdict(Verdict(3, 0, 0, 0, 9, 4, 4))


def test_a_verdict_after_the_end_is_an_error() -> None:
    drafter, _ = started(replace(OPEN, max_tokens=1, mode=Mode.TARGET_ONLY))
    with pytest.raises(ProtocolError, match="the maximum length is 4"):
        drafter.on_verdict(Verdict(3, 0, 1, 0, 9, 5, 0, FinishReason.LENGTH))


def test_the_awaited_proposal_can_be_sent_again() -> None:
    drafter, verifier = started()
    assert drafter.pending_proposal is None
    propose = drafter.propose(draft(1), 0.0)
    assert drafter.pending_proposal == propose
    drafter.on_verdict(verdict_for(verifier, propose))
    assert drafter.pending_proposal is None


@pytest.mark.parametrize(
    ("hello", "code"),
    [
        (replace(HELLO, version=1), ErrorCode.VERSION),
        (replace(HELLO, drafter=""), ErrorCode.BAD_REQUEST),
        (replace(HELLO, drafter="x" * 129), ErrorCode.BAD_REQUEST),
        (replace(HELLO, drafter="two\nlines"), ErrorCode.BAD_REQUEST),
        (replace(HELLO, tokenizer_fingerprint="beef"), ErrorCode.TOKENIZER_MISMATCH),
    ],
)
def test_a_hello_that_does_not_match_the_verifier_is_refused(hello: Hello, code: ErrorCode) -> None:
    check_hello(HELLO, WELCOME, "cafe")
    with pytest.raises(ProtocolError) as caught:
        check_hello(hello, WELCOME, "cafe")
    assert (caught.value.code, caught.value.stream) == (code, None)


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (replace(OPEN, num_prompt=0), ErrorCode.BAD_REQUEST),
        (replace(OPEN, num_prompt=4), ErrorCode.BAD_REQUEST),
        (replace(OPEN, tokens=()), ErrorCode.BAD_REQUEST),
        (replace(OPEN, max_tokens=0), ErrorCode.BAD_REQUEST),
        (replace(OPEN, max_tokens=62), ErrorCode.BAD_REQUEST),  # one more than the context holds
        (replace(OPEN, tokens=PROMPT + (1,) * 16), ErrorCode.BAD_REQUEST),  # the answer is complete
        (replace(OPEN, tokens=(5, 6, 100)), ErrorCode.BAD_TOKEN),
        (replace(OPEN, end_tokens=(100,)), ErrorCode.BAD_TOKEN),
        (replace(OPEN, logprobs=True, top_logprobs=21), ErrorCode.BAD_REQUEST),
        (replace(OPEN, top_logprobs=1), ErrorCode.BAD_REQUEST),
        (replace(OPEN, prompt_logprobs=True), ErrorCode.BAD_REQUEST),
        (replace(OPEN, logprobs=True, prompt_logprobs=True, tokens=(*PROMPT, 1)), ErrorCode.BAD_REQUEST),
        (replace(OPEN, sampling=Sampling(logit_changes=LogitChanges(allowed_tokens=(100,)))), ErrorCode.BAD_TOKEN),
    ],
)
def test_an_open_beyond_the_limits_is_refused(request_: Open, code: ErrorCode) -> None:
    check_open(replace(OPEN, max_tokens=61), WELCOME)
    with pytest.raises(ProtocolError) as caught:
        check_open(request_, WELCOME)
    assert (caught.value.code, caught.value.stream) == (code, 3)


def test_log_probabilities_of_a_prompt_fit_into_a_verdict() -> None:
    """The longest prompt whose verdict is allowed, with the widest token ids."""
    num_prompt, top = 5813, 20
    welcome = replace(WELCOME, max_context=10**6)
    longest = Open(3, 0, (1,) * num_prompt, num_prompt, 1, Sampling(), (), logprobs=True, prompt_logprobs=True)
    longest = replace(longest, top_logprobs=top)
    check_open(longest, welcome)
    with pytest.raises(ProtocolError, match="prompt_logprobs of 5814 tokens, expected at most 5813"):
        check_open(replace(longest, tokens=(1,) * (num_prompt + 1), num_prompt=num_prompt + 1), welcome)
    widest = TopTokens((2**21,) * top, (-1.0,) * top)
    encode_message(
        Verdict(
            3,
            0,
            0,
            0,
            1,
            num_prompt + 1,
            0,
            logprobs=(-1.0,),
            top_logprobs=(widest,),
            prompt_logprobs=(-1.0,) * (num_prompt - 1),
            prompt_top_logprobs=(widest,) * (num_prompt - 1),
        )
    )


def test_a_stream_reopened_after_its_first_verdict_needs_no_log_probabilities_of_the_prompt_again() -> None:
    drafter = DrafterStream(replace(OPEN, logprobs=True, prompt_logprobs=True))
    assert drafter.reopen().prompt_logprobs
    first = Verdict(3, 1, 0, 0, 9, len(PROMPT) + 1, 4, logprobs=(-1.0,), prompt_logprobs=(-2.0,) * (len(PROMPT) - 1))
    with pytest.raises(ProtocolError, match="number of log-probabilities"):
        drafter.on_verdict(replace(first, prompt_logprobs=()))
    drafter.on_verdict(first)
    assert not drafter.reopen().prompt_logprobs


def test_the_crc_of_tokens_can_be_continued() -> None:
    assert tokens_crc32([1, 2, 3]) == tokens_crc32([3], tokens_crc32([1, 2])) == 0xB0E02293
