"""One step of the engine: the verifier's own drafts, the selection of draft tokens, and the forward pass over them."""

import math
from collections.abc import Callable, Sequence
from itertools import accumulate
from operator import mul
from typing import NamedTuple

from msgspec.structs import replace

from goodspeed.decoding.draft import Draft, DraftRequest, SparseProbs, StreamKey
from goodspeed.engine.interface import CoLocatedDrafts, Outcome, Prefill, TargetEngine, Verify, Work
from goodspeed.protocol.session import num_common
from goodspeed.scheduling.draft_selection import DRAFT_SELECTIONS, ProposalCandidate
from goodspeed.scheduling.step_size import best_num_tokens
from goodspeed.verifier.core.batch import Batch, EndStream, OpenStream, StepResult, StreamUpdate, Turn


def run_batch(
    engine: TargetEngine,
    batch: Batch,
    co_located: CoLocatedDrafts | None = None,
    clock: Callable[[], float] = lambda: 0.0,  # seconds
    on_end_failed: Callable[[StreamKey, Exception], None] | None = None,
) -> StepResult:
    """Carry out all orders of the batch. With `on_end_failed`, a stream that cannot be ended does not fail it."""
    failure: Exception | None = None
    for update in batch.updates:  # all of them, so that no memory is lost
        try:
            _update_engine(engine, update)
        except Exception as error:  # noqa: BLE001 (it is raised after the loop, or reported)
            if isinstance(update, OpenStream) or on_end_failed is None:
                failure = failure or error
            else:
                on_end_failed(update.stream, error)
        if co_located:
            _update_drafts(co_located, update)
    if failure:
        raise failure
    return _run_step(engine, batch, co_located, clock) if batch.has_step else StepResult()


def _update_engine(engine: TargetEngine, update: StreamUpdate) -> None:
    if isinstance(update, OpenStream):
        engine.open(update.stream, update.spec)
    elif isinstance(update, EndStream) and update.num_retained:
        engine.retain(update.stream, update.num_retained)
    else:
        engine.close(update.stream)


def _update_drafts(co_located: CoLocatedDrafts, update: StreamUpdate) -> None:
    if isinstance(update, OpenStream):
        co_located.open(update.stream, update.spec)
    elif isinstance(update, EndStream):
        co_located.close(update.stream)


def _run_step(
    engine: TargetEngine, batch: Batch, co_located: CoLocatedDrafts | None, clock: Callable[[], float]
) -> StepResult:
    started_s = clock()
    drafts = _draft([turn.co_located for turn in batch.turns if turn.co_located], co_located)
    paths = _paths(batch.turns, drafts, co_located)
    drafting_s = clock() - started_s
    work: tuple[Work, ...] = (*select_draft_tokens(batch, paths), *batch.prefills)
    outcomes = engine.step(work)
    if co_located:
        _commit(co_located, work, outcomes)
    co_located_drafts = tuple([drafts[turn.stream].tokens if turn.stream in drafts else () for turn in batch.turns])
    return StepResult(work, outcomes, co_located_drafts, drafting_s)


class DraftPath(NamedTuple):
    """Draft tokens that the step may verify of one stream, in order; it verifies the first ones."""

    tokens: tuple[int, ...]
    survival: Sequence[float]
    """As ProposalCandidate.survival."""
    draft_probs: tuple[SparseProbs, ...] = ()


def select_draft_tokens(batch: Batch, paths: Sequence[DraftPath]) -> list[Verify]:
    """The draft selection: one verification per turn, of the path's first tokens.

    A stream whose path is trimmed to nothing still gets the target's next token.
    """
    indices = [i for i, path in enumerate(paths) if path.tokens]
    candidates = [_candidate(batch, batch.turns[i], paths[i]) for i in indices]
    select = DRAFT_SELECTIONS[batch.draft_selection]
    lengths = dict(zip(indices, select(candidates, _budget(batch, candidates)), strict=True))
    return [_verification(turn, paths[i], lengths.get(i, 0)) for i, turn in enumerate(batch.turns)]


def proposal_path(turn: Turn) -> DraftPath:
    """The drafter's proposal alone."""
    return DraftPath(turn.proposal, turn.survival, turn.draft_probs)


def _budget(batch: Batch, candidates: Sequence[ProposalCandidate]) -> int:
    """The number of these candidates' tokens that pays best, but all that clients are entitled to."""
    if not batch.sizes:
        return batch.budget
    values = [candidate.token_value * chance for candidate in candidates for chance in candidate.survival]
    num_tokens = best_num_tokens(values, sum([turn.token_value for turn in batch.turns]), batch.sizes)
    return min(batch.budget, max(num_tokens, sum([candidate.floor for candidate in candidates])))


def _candidate(batch: Batch, turn: Turn, path: DraftPath) -> ProposalCandidate:
    return ProposalCandidate(turn.token_value, path.survival, batch.price, turn.floor)


def _verification(turn: Turn, path: DraftPath, length: int) -> Verify:
    return Verify(turn.stream, path.tokens[:length], path.draft_probs[:length])


def _draft(requests: Sequence[DraftRequest], co_located: CoLocatedDrafts | None) -> dict[StreamKey, Draft]:
    if not requests or co_located is None:
        return {}
    drafts = co_located.draft(requests)
    return {request.stream: draft for request, draft in zip(requests, drafts, strict=True)}


def _paths(
    turns: Sequence[Turn], drafts: dict[StreamKey, Draft], co_located: CoLocatedDrafts | None
) -> list[DraftPath]:
    """The path of each turn: its proposal, perhaps extended, or the co-located draft in its place."""
    if not drafts:
        return [proposal_path(turn) for turn in turns]
    extensions = _draft([request for turn in turns if (request := _extension(turn, drafts))], co_located)
    return [_path(turn, drafts.get(turn.stream), extensions.get(turn.stream)) for turn in turns]


def _extension(turn: Turn, drafts: dict[StreamKey, Draft]) -> DraftRequest | None:
    """The request to continue the proposal, if the co-located draft neither agrees with it nor is better."""
    request, draft = turn.co_located, drafts.get(turn.stream)
    if request is None or draft is None or not turn.proposal or _is_better(draft, turn):
        return None
    num_tokens = min(request.max_tokens, turn.max_tokens - len(turn.proposal))
    last = turn.survival[-1]
    is_known = num_common(turn.proposal, draft.tokens) in {len(turn.proposal), len(draft.tokens)}
    if is_known or num_tokens <= 0 or last <= request.min_survival:
        return None
    min_survival = request.min_survival / last
    return replace(request, max_tokens=num_tokens, min_survival=min_survival, after=turn.proposal)


def _is_better(draft: Draft, turn: Turn) -> bool:
    """Whether more tokens of the draft than of the proposal are expected to be accepted."""
    return math.fsum(accumulate(draft.confidences, mul)) > math.fsum(turn.survival)


def _path(turn: Turn, draft: Draft | None, extension: Draft | None) -> DraftPath:
    if draft is None:
        return proposal_path(turn)
    num_proposed = len(turn.proposal)
    if extension is not None:
        tokens, confidences = (*turn.proposal, *extension.tokens), extension.confidences
    elif draft.tokens[:num_proposed] == turn.proposal:
        tokens, confidences = draft.tokens[: turn.max_tokens], draft.confidences[num_proposed : turn.max_tokens]
    elif _is_better(draft, turn):
        return DraftPath(draft.tokens, list(accumulate(draft.confidences, mul)))
    else:
        return proposal_path(turn)
    last = turn.survival[-1] if turn.survival else 1.0
    return DraftPath(tokens, [*turn.survival, *[last * chance for chance in accumulate(confidences, mul)]])


def _commit(co_located: CoLocatedDrafts, work: Sequence[Work], outcomes: Sequence[Outcome]) -> None:
    for item, outcome in zip(work, outcomes, strict=True):
        if outcome.next_token is not None:
            drafted = () if isinstance(item, Prefill) else item.draft_tokens[: outcome.num_accepted]
            co_located.commit(outcome.stream, (*drafted, outcome.next_token))
