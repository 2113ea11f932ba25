"""What a step has done for one stream: the committed tokens, and what they show of drafts."""

from collections.abc import Iterator
from typing import NamedTuple

from goodspeed.engine.interface import Outcome, Verify
from goodspeed.protocol.messages import Propose
from goodspeed.protocol.session import num_common
from goodspeed.verifier.core.batch import Batch, StepResult
from goodspeed.verifier.core.served_streams import ServedStream, ServedStreams


class CoLocatedDraft(NamedTuple):
    """What the verifier drafted after the committed tokens of a stream, whether or not the step has verified it."""

    tokens: tuple[int, ...]
    num_requested: int


class VerifiedStream(NamedTuple):
    """A stream whose round the step has ended."""

    stream: ServedStream
    outcome: Outcome
    draft_tokens: tuple[int, ...]
    """That the step has verified."""
    co_located: CoLocatedDraft | None
    """None: nothing was requested."""

    @property
    def num_drafting_steps(self) -> int:
        """Of the co-located draft: one for each token, and one that ended it before its full length."""
        draft = self.co_located
        return min(len(draft.tokens) + 1, draft.num_requested) if draft else 0

    def commit(self) -> None:
        """Commit the accepted tokens, and learn the client's acceptance."""
        stream = self.stream
        stream.protocol.on_outcome(self.outcome, self.draft_tokens)
        if stream.proposal is not None:
            _learn_acceptance(stream, stream.proposal, self.outcome, len(self.draft_tokens))
        elif stream.protocol.is_local and not stream.protocol.never_proposes:
            stream.client.on_proposal_verified(0, 0)
        if self.co_located is not None:
            _learn_co_located(stream, self.co_located)


def verified_streams(batch: Batch, result: StepResult, streams: ServedStreams) -> list[VerifiedStream]:
    """The streams of the batch that still exist and have a new token, in the order of the work."""
    drafts = zip(result.outcomes, _drafts(batch, result), strict=True)
    return [
        VerifiedStream(stream, outcome, tokens, co_located)
        for outcome, (tokens, co_located) in drafts
        if outcome.next_token is not None and not outcome.failure and (stream := streams.get(outcome.stream))
    ]


def failed_streams(result: StepResult, streams: ServedStreams) -> list[tuple[ServedStream, str]]:
    """The streams that cannot go on, and why."""
    return [
        (stream, outcome.failure)
        for outcome in result.outcomes
        if outcome.failure and (stream := streams.get(outcome.stream))
    ]


def restored_streams(result: StepResult, streams: ServedStreams) -> list[ServedStream]:
    """The streams that were preempted, and of which the step has read all but the last token."""
    return [
        stream
        for outcome in result.outcomes
        if outcome.next_token is None
        and (stream := streams.get(outcome.stream))
        and streams.is_stepping(stream)
        and stream.protocol.has_verdict
    ]


def _drafts(batch: Batch, result: StepResult) -> Iterator[tuple[tuple[int, ...], CoLocatedDraft | None]]:
    """The last two fields of VerifiedStream, for each piece of work."""
    for i, item in enumerate(result.work):
        if isinstance(item, Verify):
            request = batch.turns[i].co_located
            yield item.draft_tokens, CoLocatedDraft(result.co_located[i], request.max_tokens) if request else None
        else:
            yield (), None


def _learn_acceptance(stream: ServedStream, proposal: Propose, outcome: Outcome, num_verified: int) -> None:
    """The committed tokens show how far the proposal was right, whatever was verified of it.

    Drawn tokens were right if the rule accepted them. Where a drafter proposes fewer tokens than granted, the rest
    counts as rejected: granting it brought nothing. Tokens beyond those committed are unknown and do not count.
    """
    client, new_tokens = stream.client, stream.protocol.new_tokens
    num_right = outcome.num_accepted if proposal.draft_probs else num_common(proposal.tokens, new_tokens)
    num_judged = num_verified if proposal.draft_probs else len(new_tokens)
    is_known = num_right < num_judged or num_right == len(proposal.tokens)
    client.on_proposal_verified(stream.grant if is_known else num_right, num_right)
    confidences = proposal.confidences if is_known else proposal.confidences[:num_right]
    client.reliability.on_verdict(confidences, num_right)


def _learn_co_located(stream: ServedStream, draft: CoLocatedDraft) -> None:
    """As _learn_acceptance; tokens that were requested and not drafted count as rejected."""
    new_tokens = stream.protocol.new_tokens
    num_right = num_common(draft.tokens, new_tokens)
    if num_right == len(new_tokens) < len(draft.tokens):
        stream.client.on_co_located(num_right, num_right, num_right)
    else:
        stream.client.on_co_located(draft.num_requested, len(draft.tokens), num_right)
