"""Run-ahead: what is drafted past a proposal, when it becomes the next one, and that no text changes."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from goodspeed.decoding.draft import Draft, DraftRequest
from goodspeed.decoding.rules import one_hot
from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.drafter.core.core_config import DrafterCoreConfig
from goodspeed.drafter.core.request import GenerationRequest
from goodspeed.drafter.core.run_ahead import (
    MODES,
    RunAhead,
    RunAheadCounts,
    RunAheads,
    joined,
)
from goodspeed.engine.toy_draft import ToyDraft
from goodspeed.protocol.message_json import message_to_json
from goodspeed.protocol.messages import Propose
from goodspeed.testing.virtual_drafter import ToyVerifier, VirtualClock, VirtualDrafterHost, target_only_tokens
from goodspeed.verifier.core.core_config import VerifierCoreConfig
from goodspeed.windows.policies import WindowConfig
from goodspeed.windows.run_ahead import RunAheadView, pays
from goodspeed.windows.window_policy import Window

REQUEST = GenerationRequest(tuple(b"the quick brown"), max_tokens=60)
SAMPLINGS = [
    Sampling(),
    Sampling(0.8, top_k=20, seed=7, rule=Rule.COUPLED),
    Sampling(1.0, seed=7, rule=Rule.REJECTION),
]
WINDOW = 4
TOKEN_S = 0.004


def draft(*tokens: int, confidence: float = 0.5) -> Draft:
    return Draft(tokens, (confidence,) * len(tokens))


def ahead_of(*proposal: int, window: Window | None = None) -> tuple[RunAhead, RunAheadCounts]:
    counts = RunAheadCounts()
    return RunAhead(1, draft(*proposal), window or Window(2), counts), counts


def extend(ahead: RunAhead, *tokens: int) -> None:
    """The engine drafts these tokens, one for each request."""
    for token in tokens:
        ahead.next_request(1)
        ahead.on_drafted(draft(token))


def test_hit_leaves_what_follows_the_guess() -> None:
    ahead, counts = ahead_of(1, 2)
    extend(ahead, 3, 4, 5)
    assert ahead.is_complete
    assert ahead.on_verdict((1, 2, 3))
    assert ahead.head_start(Window(2)) == (draft(4, 5), True)
    ahead.on_used(2)
    assert (counts.num_hits, counts.num_misses, counts.num_drafted, counts.num_used) == (1, 0, 3, 3)


@pytest.mark.parametrize("tokens", [(9,), (1, 9), (1, 2, 9)])
def test_other_tokens_than_those_drafted_are_a_miss(tokens: tuple[int, ...]) -> None:
    ahead, counts = ahead_of(1, 2)
    extend(ahead, 3, 4)
    assert not ahead.on_verdict(tokens)
    assert (counts.num_hits, counts.num_misses, counts.num_drafted, counts.num_used) == (0, 1, 2, 0)


def test_verdict_on_the_first_tokens_of_the_proposal_leaves_the_rest_of_it() -> None:
    """The verifier has verified one token; its own token is the second of the proposal."""
    ahead, counts = ahead_of(1, 2, 3)
    extend(ahead, 4)
    assert ahead.on_verdict((1, 2))
    assert ahead.head_start(Window(4)) == (draft(3, 4), False)
    ahead.on_used(2)
    assert counts.num_used == 1  # the other token was in the proposal before


def test_verdict_with_tokens_of_the_verifiers_own_leaves_what_follows_them() -> None:
    ahead, _ = ahead_of(1, 2, window=Window(4))
    extend(ahead, 3, 4, 5)
    assert ahead.on_verdict((1, 2, 3, 4))
    assert ahead.head_start(Window(2)) == (draft(5), False)


def test_verdict_during_the_call_that_drafts_the_guess() -> None:
    for guess, counted in ((3, (1, 0)), (9, (0, 1))):
        ahead, counts = ahead_of(1, 2)
        ahead.next_request(1)
        assert ahead.on_verdict((1, 2, 3))
        assert ahead.head_start(Window(2)) == (draft(), False)
        ahead.on_drafted(draft(guess))
        assert ahead.head_start(Window(2)) == (draft(), False)
        assert (counts.num_hits, counts.num_misses) == counted


def test_verdict_during_a_later_call_takes_what_the_call_drafts() -> None:
    ahead, _ = ahead_of(1, 2)
    extend(ahead, 3)
    ahead.next_request(1)
    assert ahead.on_verdict((1, 2, 3))
    ahead.on_drafted(draft(4))
    assert ahead.head_start(Window(2)) == (draft(4), False)


def test_requests_are_the_guess_and_then_the_next_proposal() -> None:
    """Survival counts from the begin of the next proposal."""
    ahead, _ = ahead_of(1, 2, window=Window(3, 0.2))
    requests = []
    for token in (3, 4, 5):
        requests.append(ahead.next_request(2))
        ahead.on_drafted(draft(token) if len(requests) < 2 else draft(token, token))
    assert [request.max_tokens for request in requests] == [1, 2, 1]
    assert [request.after for request in requests] == [(1, 2), (1, 2, 3), (1, 2, 3, 4, 4)]
    assert [request.min_survival for request in requests] == [0.0, 0.2, pytest.approx(0.8)]


def test_draft_that_a_low_confidence_ended_is_whole() -> None:
    ahead, _ = ahead_of(1, window=Window(4, 0.2))
    extend(ahead, 2, 3)
    ahead.next_request(1)
    ahead.on_drafted(draft())
    assert ahead.is_complete
    assert ahead.on_verdict((1, 2))
    assert ahead.head_start(Window(4, 0.2)) == (draft(3), True)
    assert ahead.head_start(Window(4, 0.1)) == (draft(3), False)
    assert ahead.head_start(Window(4, 0.6)) == (draft(), True)


def test_parts_with_and_without_draft_probs_are_joined() -> None:
    """The engine was replaced in between: tokens without probabilities are one-hot."""
    drawn = ToyDraft(0.5)
    drawn.open(1, (1, 2), SAMPLINGS[2])
    (from_engine,) = drawn.draft([DraftRequest(1, 2)])
    both = joined(from_engine, draft(7))
    assert both.draft_probs[:2] == from_engine.draft_probs
    assert both.draft_probs[2].token_ids.tolist() == [7]
    assert joined(draft(), from_engine) == from_engine
    assert joined(draft(1), draft(2)).draft_probs == ()


def view(hit_probability: float, drafting_s_per_token: float, under_way_s: float) -> RunAheadView:
    return RunAheadView(hit_probability, drafting_s_per_token, under_way_s, num_next=4)


def test_run_ahead_pays_where_drafting_is_slow_and_the_link_is_long() -> None:
    assert pays(view(0.4, 0.010, 0.070))
    assert not pays(view(0.4, 0.010, 0.012)), "the verdict comes before the second token"
    assert not pays(view(0.4, 0.00005, 0.070)), "drafting takes no time"
    assert not pays(view(0.03, 0.010, 0.070)), "the proposal is hardly ever accepted as a whole"
    assert not pays(view(0.4, 0.010, 0.0)), "nothing is known"


def test_shadow_drafts_report_what_run_ahead_would_save() -> None:
    far = view(0.4, 0.010, 0.070)
    assert RunAheads("auto").saving_s(far) == pytest.approx(0.4 * 4 * 0.010)
    assert RunAheads("never").saving_s(far) == 0.0
    assert RunAheads("auto").saving_s(view(0.03, 0.010, 0.070)) == 0.0


def drafter_of(
    mode: str, sampling: Sampling, acceptance_rate: float = 0.9, drafting_s: float = TOKEN_S
) -> tuple[VirtualClock, VirtualDrafterHost]:
    clock = VirtualClock()
    verifier = ToyVerifier(clock, VerifierCoreConfig(scheduler="fixed", budget=8, draft_selection="arrival"))
    config = DrafterCoreConfig(window=WindowConfig("fixed", WINDOW), run_ahead=mode)
    drafter = VirtualDrafterHost(clock, [verifier], config)
    drafter.engine = ToyDraft(acceptance_rate)
    drafter.drafting_s, drafter.drafting_s_per_token = 0.0, drafting_s
    drafter.latency_s = lambda: 0.02
    clock.run(0.1)
    drafter.open(replace(REQUEST, sampling=sampling))
    return clock, drafter


def proposals(drafter: VirtualDrafterHost) -> list[Propose]:
    return [sent for sent in drafter.sent if isinstance(sent, Propose)]


@pytest.mark.parametrize("sampling", SAMPLINGS[:2], ids=lambda sampling: sampling.rule.name)
def test_proposals_are_those_that_would_be_drafted_after_the_verdict(sampling: Sampling) -> None:
    """Only their drafting times differ, and when they are sent."""
    sent, finished_at = {}, {}
    for mode in ("never", "always"):
        clock, drafter = drafter_of(mode, sampling)
        while not drafter.received[1].finish:
            clock.run(0.001)
        finished_at[mode] = clock.now
        sent[mode] = [message_to_json(structs.replace(proposal, drafting_us=0)) for proposal in proposals(drafter)]
        assert (drafter.core.run_ahead_counts.num_hits > 3) == (mode == "always")
    assert sent["always"] == sent["never"]
    assert finished_at["always"] < finished_at["never"] - 3 * WINDOW * TOKEN_S


@pytest.mark.parametrize("is_drawn", [False, True])
def test_drawn_tokens_that_a_verdict_has_judged_are_not_proposed_again(is_drawn: bool) -> None:
    """A verdict of the rejection rule depends on all tokens of its proposal, also on those after its last one."""
    proposal = draft(1, 2, 3)
    if is_drawn:
        proposal = structs.replace(proposal, draft_probs=tuple(map(one_hot, proposal.tokens)))
    for committed, is_hit in (((1, 2), not is_drawn), ((1, 2, 3, 4), True)):
        ahead = RunAhead(1, proposal, Window(2), RunAheadCounts())
        extend(ahead, 4, 5)
        assert ahead.on_verdict(committed) is is_hit


def test_head_start_is_proposed_without_drafting() -> None:
    """The round trip takes longer than drafting. Only the first proposal has to be drafted after its verdict."""
    clock, drafter = drafter_of("always", Sampling(), acceptance_rate=1.0)
    clock.run(60)
    times = [proposal.drafting_us for proposal in proposals(drafter)]
    assert times[0] == pytest.approx(1e6 * WINDOW * TOKEN_S)
    assert set(times[1:]) == {0}
    counts = drafter.core.run_ahead_counts
    assert counts.num_hits == len(times) - 1  # nothing can follow the last one
    assert counts.num_misses == 0
    assert counts.num_used == counts.num_drafted


def test_verdict_waits_for_one_token_at_most() -> None:
    """With a short link, the verdict finds the engine at work: a miss waits for the end of its call."""
    clock, drafter = drafter_of("always", Sampling(), acceptance_rate=0.0)
    drafter.latency_s = lambda: 0.001
    clock.run(60)
    assert drafter.received[1].tokens == target_only_tokens(REQUEST)
    waits = [proposal.drafting_us / 1e6 - len(proposal.tokens) * TOKEN_S for proposal in proposals(drafter)]
    assert max(waits) > 0.0
    assert max(waits) <= TOKEN_S + 1e-6
    assert drafter.core.run_ahead_counts.num_used == 0


def test_auto_drafts_ahead_only_where_it_pays() -> None:
    for acceptance_rate, drafting_s, is_on in ((0.9, TOKEN_S, True), (0.9, 5e-5, False), (0.1, TOKEN_S, False)):
        clock, drafter = drafter_of("auto", Sampling(), acceptance_rate, drafting_s)
        clock.run(60)
        assert (drafter.core.run_ahead_counts.num_drafted > 10) == is_on


def test_stream_that_is_cancelled_during_run_ahead_leaves_nothing() -> None:
    clock, drafter = drafter_of("always", Sampling())
    while drafter.core.run_ahead_counts.num_drafted < 5:
        clock.run(0.001)
    drafter.cancel(1)
    clock.run(1)
    other = drafter.open(REQUEST)
    clock.run(60)
    assert drafter.received[other].tokens == target_only_tokens(REQUEST)


@given(
    cuts=st.lists(st.floats(0.001, 0.3), max_size=4),
    mode=st.sampled_from(MODES),
    sampling=st.sampled_from(SAMPLINGS[:2]),
    latency_s=st.floats(0.0, 0.05),
    speed=st.tuples(st.floats(0.3, 1.0), st.floats(0.0, 0.02)),
)
@settings(max_examples=60)
def test_text_does_not_depend_on_run_ahead(
    cuts: list[float], mode: str, sampling: Sampling, latency_s: float, speed: tuple[float, float]
) -> None:
    """`speed`: acceptance rate, and drafting time of a token."""
    clock, drafter = drafter_of(mode, sampling, *speed)
    drafter.latency_s = lambda: latency_s
    request = replace(REQUEST, sampling=sampling)
    other = drafter.open(replace(request, max_tokens=31))
    for pause in cuts:
        clock.run(pause)
        drafter.cut()
    clock.run(60)
    expected = target_only_tokens(request)
    assert drafter.received[1].tokens == expected
    assert drafter.received[other].tokens == expected[:31]
    assert drafter.engine_log[1] == [*request.tokens, *expected]
