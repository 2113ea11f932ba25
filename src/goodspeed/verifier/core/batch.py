"""One step of the engine: which streams the closing batch works on, and which of their tokens."""

import math
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from goodspeed.decoding.draft import StreamKey
from goodspeed.decoding.sampling import Rule
from goodspeed.engine.interface import Prefill, StreamSpec, Verify, Work
from goodspeed.protocol.messages import Propose
from goodspeed.scheduling.draft_selection import DraftSelection, ProposalCandidate
from goodspeed.scheduling.marginals import log_survival
from goodspeed.scheduling.scheduler import ClientView
from goodspeed.verifier.core.batching.ordering import OrderingCandidate, OrderingPolicy
from goodspeed.verifier.core.client import Client
from goodspeed.verifier.core.core_config import MIN_CHUNK
from goodspeed.verifier.core.served_streams import ServedStream

CandidateOf = Callable[[ServedStream], ProposalCandidate]
"""What the draft selection may know of a stream's proposal."""


class Batch(Struct, frozen=True, gc=False):
    """Orders to the engine: close streams, then open streams, then run one step over the work, if there is any."""

    closed: tuple[StreamKey, ...]
    opened: tuple[tuple[StreamKey, StreamSpec], ...]
    work: tuple[Work, ...]

    @property
    def num_tokens(self) -> int:
        return sum(item.num_tokens if isinstance(item, Prefill) else 1 + len(item.draft_tokens) for item in self.work)

    @property
    def num_prompt(self) -> int:
        """The tokens that are prefilled."""
        return sum(item.num_tokens for item in self.work if isinstance(item, Prefill))

    @property
    def has_prefills(self) -> bool:
        return any(isinstance(item, Prefill) for item in self.work)

    @property
    def streams(self) -> tuple[StreamKey, ...]:
        """Every stream that the batch opens or works on."""
        return tuple(dict.fromkeys([*(key for key, _ in self.opened), *(item.stream for item in self.work)]))


def select_streams(
    ready: Mapping[StreamKey, ServedStream],  # in order of arrival
    max_streams: int,  # 0: no limit
    ordering: OrderingPolicy,
) -> Sequence[ServedStream]:
    """The streams that the batch verifies, in order of arrival; if not all fit, the first ones of the ordering."""
    streams = list(ready.values())
    if not max_streams or len(streams) <= max_streams:
        return streams
    candidates = [OrderingCandidate(len(stream.protocol.committed), stream.waiting_since) for stream in streams]
    return [streams[i] for i in sorted(ordering.order(candidates)[:max_streams])]


def make_verifications(
    ready: Sequence[ServedStream],  # in order of arrival
    budget: int,
    draft_selection: DraftSelection,
    candidate_of: CandidateOf,
) -> list[Verify]:
    """One verification per stream; trims each proposal to the length that the draft selection leaves of it.

    Under the rejection rule a candidate must not depend on drawn tokens (docs/explain/exactness.md). A stream whose
    proposal is trimmed to nothing still gets the target's next token.
    """
    proposing = [stream for stream in ready if stream.proposal]
    lengths = draft_selection([candidate_of(stream) for stream in proposing], budget)
    for stream, length in zip(proposing, lengths, strict=True):
        if stream.proposal and length < len(stream.proposal.tokens):
            stream.proposal, stream.is_trimmed = _trimmed(stream.proposal, length), True
    return [_verification(stream) for stream in ready]


def make_prefills(
    prefilling: Mapping[StreamKey, ServedStream],  # in order of admission
    num_tokens: int,
) -> list[Prefill]:
    """Up to `num_tokens` prompt tokens, in equal shares that are not too small to be worth a row of the batch.

    So a short prompt behind a long one starts soon, and the long one still advances with every batch.
    """
    share = max(MIN_CHUNK, -(-num_tokens // max(1, len(prefilling))))
    chunks: dict[StreamKey, int] = {}
    for max_chunk in (share, num_tokens):  # the second pass distributes what short prompts left over
        for stream in prefilling.values():
            assigned = chunks.get(stream.key, 0)
            chunk = min(stream.num_unprefilled - assigned, max_chunk, num_tokens)
            if chunk > 0:
                chunks[stream.key] = assigned + chunk
                num_tokens -= chunk
    return [Prefill(key, chunk) for key, chunk in chunks.items()]


def arrival_candidate(stream: ServedStream) -> ProposalCandidate:
    """For a draft selection that uses nothing but the lengths of proposals."""
    return ProposalCandidate(token_value=1.0, survival=(1.0,) * _num_proposed(stream))


def value_candidate(stream: ServedStream, num_streams: int, token_s: float) -> ProposalCandidate:
    """For a draft selection by value. The stream's client has `num_streams` that draft.

    `token_s` is the time that one more token adds to a step, times the time price.
    """
    client = stream.client
    timing, config = client.timing, client.config
    round_s = timing.network_s + timing.verify_s + timing.drafting_s * _num_proposed(stream)
    return ProposalCandidate(
        token_value=config.weight / (client.estimator.goodput * num_streams),
        survival=_survival(stream),
        price=token_s * timing.co_batched_weight / round_s if round_s > 0.0 else 0.0,
        floor=-(-config.floor // num_streams),
    )


def _survival(stream: ServedStream) -> list[float]:
    """By the drafter's confidences in these tokens where that is sound, otherwise by the client's survival curve.

    Under the rejection rule with draft probabilities, whether a drawn token is verified must not depend on which token
    it is, and its confidence could reveal that. Greedy, coupled and one-hot tokens may be selected in any way.
    """
    proposal = stream.proposal
    assert proposal is not None
    is_drawn = stream.request.sampling.rule is Rule.REJECTION and bool(proposal.draft_probs)
    if proposal.confidences and not is_drawn:
        return stream.client.reliability.survival(proposal.confidences)
    return _client_survival(stream.client, len(proposal.tokens))


def _client_survival(client: Client, num_tokens: int) -> list[float]:
    estimator = client.estimator
    view = ClientView(estimator.acceptance_rate, estimator.goodput, survival=estimator.survival)
    return [math.exp(log_survival(view, j)) for j in range(1, num_tokens + 1)]


def _trimmed(proposal: Propose, num_tokens: int) -> Propose:
    """The proposal without all but its first tokens."""
    return replace(
        proposal,
        tokens=proposal.tokens[:num_tokens],
        confidences=proposal.confidences[:num_tokens],
        draft_probs=proposal.draft_probs[:num_tokens],
    )


def _verification(stream: ServedStream) -> Verify:
    proposal = stream.proposal
    return Verify(stream.key, proposal.tokens, proposal.draft_probs) if proposal else Verify(stream.key, ())


def _num_proposed(stream: ServedStream) -> int:
    return len(stream.proposal.tokens) if stream.proposal else 0
