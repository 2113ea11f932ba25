"""One step of the engine: who is in it, and with how much."""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from goodspeed.decoding.draft import StreamKey
from goodspeed.engine.interface import Prefill, StreamSpec, Verify, Work
from goodspeed.scheduling.draft_selection import DraftSelection
from goodspeed.verifier.core.batching.ordering import OrderingCandidate, OrderingPolicy
from goodspeed.verifier.core.candidates import CandidateOf
from goodspeed.verifier.core.core_config import SMALLEST_CHUNK
from goodspeed.verifier.core.served_stream import ServedStream


class Batch(Struct, frozen=True, gc=False):
    """What the engine is to do: close, then open, then step over the work if there is any."""

    closed: tuple[StreamKey, ...]
    opened: tuple[tuple[StreamKey, StreamSpec], ...]
    work: tuple[Work, ...]

    @property
    def num_tokens(self) -> int:
        return sum(item.num_tokens if isinstance(item, Prefill) else 1 + len(item.draft_tokens) for item in self.work)

    @property
    def has_prefills(self) -> bool:
        return any(isinstance(item, Prefill) for item in self.work)

    @property
    def streams(self) -> tuple[StreamKey, ...]:
        """Every stream that the batch opens or works on."""
        return tuple(dict.fromkeys([*(key for key, _ in self.opened), *(item.stream for item in self.work)]))


def select_streams(
    ready: Mapping[StreamKey, ServedStream],  # in order of arrival
    most: int,
    ordering: OrderingPolicy,
) -> Sequence[ServedStream]:
    """Those who are verified in this step, by arrival: all (`most` 0, or they fit), else the first of the ordering."""
    streams = list(ready.values())
    if not most or len(streams) <= most:
        return streams
    candidates = [OrderingCandidate(len(stream.end.committed), stream.since) for stream in streams]
    return [streams[i] for i in sorted(ordering.order(candidates)[:most])]


def make_verifications(
    ready: Sequence[ServedStream],  # in order of arrival
    budget: int,
    binding: DraftSelection,
    candidate_of: CandidateOf,
) -> list[Verify]:
    """Every one of these streams, with as much of its proposal as the binding leaves of it.

    Under the rejection rule candidates look at no token that was drawn (design: exactness). A stream whose proposal is
    cut away still gets the target's next token.
    """
    proposing = [stream for stream in ready if stream.proposal]
    lengths = binding([candidate_of(stream) for stream in proposing], budget)
    for stream, length in zip(proposing, lengths, strict=True):
        if stream.proposal and length < len(stream.proposal.tokens):
            stream.proposal, stream.is_cut = stream.end.trim(length), True
    return [_verification(stream) for stream in ready]


def _verification(stream: ServedStream) -> Verify:
    proposal = stream.proposal
    return Verify(stream.key, proposal.tokens, proposal.draft_probs) if proposal else Verify(stream.key, ())


def make_prefills(
    prefilling: Mapping[StreamKey, ServedStream],  # in order of admission
    num_tokens: int,
) -> list[Prefill]:
    """Up to `num_tokens` prompt tokens: an equal share for each, but none so small that it is not worth a row.

    So a short prompt behind a long one starts soon, and the long one still moves on with every batch.
    """
    share = max(SMALLEST_CHUNK, -(-num_tokens // max(1, len(prefilling))))
    chunks: dict[StreamKey, int] = {}
    for most in (share, num_tokens):  # a second time for what the short ones left
        for stream in prefilling.values():
            given = chunks.get(stream.key, 0)
            chunk = min(stream.num_unprefilled - given, most, num_tokens)
            if chunk > 0:
                chunks[stream.key] = given + chunk
                num_tokens -= chunk
    return [Prefill(key, chunk) for key, chunk in chunks.items()]
