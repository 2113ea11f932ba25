"""The step of a batch: the verifier's own drafts in place of a proposal, after it, or in a local round."""

from collections.abc import Sequence

import pytest

from goodspeed.decoding.draft import Draft, DraftRequest, StreamKey
from goodspeed.engine.interface import Prefill, StreamSpec, Verify
from goodspeed.engine.toy_draft import ToyDraft
from goodspeed.engine.toy_target import ToyTarget
from goodspeed.scheduling.step_size import StepSize
from goodspeed.testing.virtual_verifier import open_request, target_only_text
from goodspeed.verifier.core.batch import Batch, OpenStream, StepResult, Turn
from goodspeed.verifier.step import run_batch

PROMPT = (5, 6, 7)
TEXT = tuple(target_only_text(open_request(1, PROMPT, max_tokens=12)))[3:]  # after the prompt
WRONG = 0 if TEXT[1] else 1


class ToyCoLocatedDrafts:
    """The toy target's own text, with one confidence for all tokens."""

    def __init__(self, confidence: float = 0.9) -> None:
        self._drafts = ToyDraft(1.0)
        self._confidence = confidence

    def open(self, stream: StreamKey, spec: StreamSpec) -> None:
        self._drafts.open(stream, spec.tokens, spec.sampling)

    def draft(self, requests: Sequence[DraftRequest]) -> list[Draft]:
        drafts = self._drafts.draft(requests)
        return [Draft(draft.tokens, (self._confidence,) * len(draft.tokens)) for draft in drafts]

    def commit(self, stream: StreamKey, tokens: Sequence[int]) -> None:
        self._drafts.commit(stream, tokens)

    def close(self, stream: StreamKey) -> None:
        self._drafts.close(stream)


def step(
    turn: Turn,
    drafts: ToyCoLocatedDrafts | None = None,
    budget: int = 8,
    price: float = 0.0,
    sizes: tuple[StepSize, ...] = (),
) -> StepResult:
    """The step over one stream, after that of its prompt, which has committed TEXT[0]."""
    engine, drafts = ToyTarget(), drafts or ToyCoLocatedDrafts()
    spec = StreamSpec(PROMPT, open_request(1).sampling, 20)
    run_batch(engine, Batch((OpenStream(1, spec),), prefills=(Prefill(1, len(PROMPT)),)), drafts)
    return run_batch(engine, Batch((), (turn,), budget=budget, sizes=sizes, price=price), drafts)


def request(max_tokens: int = 3, min_survival: float = 0.05) -> DraftRequest:
    return DraftRequest(1, max_tokens, min_survival)


def test_a_local_round_verifies_the_verifiers_own_draft() -> None:
    result = step(Turn(1, max_tokens=8, co_located=request()))
    assert result.work == (Verify(1, TEXT[1:4]),)
    assert (result.outcomes[0].num_accepted, result.outcomes[0].next_token) == (3, TEXT[4])
    assert result.co_located == (TEXT[1:4],)


def test_a_step_has_the_size_that_pays_best_with_the_drafts_there_are() -> None:
    sizes = (StepSize(0, 0.020), StepSize(2, 0.022), StepSize(4, 0.040), StepSize(6, 0.024))
    long = step(Turn(1, max_tokens=8, co_located=request(6)), sizes=sizes)
    short = step(Turn(1, max_tokens=8, co_located=request(3)), sizes=sizes)
    assert long.work == (Verify(1, TEXT[1:7]),)
    assert short.work == (Verify(1, TEXT[1:3]),)


def test_a_size_that_does_not_pay_still_has_what_the_client_is_entitled_to() -> None:
    turn = Turn(1, TEXT[1:4], (), (0.1, 0.1, 0.1), floor=2, max_tokens=8)
    assert step(turn, sizes=(StepSize(0, 0.02), StepSize(8, 0.05))).work == (Verify(1, TEXT[1:3]),)


def test_without_a_request_the_round_is_target_only() -> None:
    result = step(Turn(1, max_tokens=8))
    assert result.work == (Verify(1, ()),)
    assert result.co_located == ((),)


def test_a_short_proposal_is_extended() -> None:
    """The co-located draft agrees with it, so its survival is the drafter's, then falls with the draft's."""
    turn = Turn(1, TEXT[1:3], survival=(0.95, 0.9), max_tokens=8, co_located=request())
    assert step(turn).work == (Verify(1, TEXT[1:4]),)


def test_a_proposal_that_the_co_located_draft_would_not_have_made_is_extended_after_its_own_tokens() -> None:
    proposal = (TEXT[1], WRONG)
    turn = Turn(1, proposal, survival=(0.95, 0.9), max_tokens=8, co_located=request(2))
    (work,) = step(turn, ToyCoLocatedDrafts(0.5)).work
    assert isinstance(work, Verify)
    assert work.draft_tokens[:2] == proposal
    assert len(work.draft_tokens) == 4


def test_a_poor_proposal_is_replaced() -> None:
    turn = Turn(1, (WRONG, WRONG), survival=(0.2, 0.1), max_tokens=8, co_located=request())
    assert step(turn).work == (Verify(1, TEXT[1:4]),)


@pytest.mark.parametrize("max_tokens", [0, 1, 2, 3])
def test_no_more_tokens_are_verified_than_the_stream_can_use(max_tokens: int) -> None:
    """As when one more token than `max_tokens` may be committed."""
    proposal = TEXT[1 : 1 + max_tokens]
    turn = Turn(1, proposal, survival=(0.9,) * max_tokens, max_tokens=max_tokens, co_located=request(max_tokens))
    assert step(turn).work == (Verify(1, proposal),)


def test_tokens_that_cost_more_than_they_bring_are_not_verified() -> None:
    turn = Turn(1, token_value=1.0, max_tokens=8, co_located=request())
    assert step(turn, ToyCoLocatedDrafts(0.5), price=0.3).work == (Verify(1, TEXT[1:2]),)
    assert step(turn, budget=2).work == (Verify(1, TEXT[1:3]),)
