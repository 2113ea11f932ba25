"""Builds a batch: which streams the step works on, and what it may verify of each."""

import math
from collections.abc import Mapping, Sequence
from typing import Final

from goodspeed.decoding.draft import DraftRequest, StreamKey
from goodspeed.decoding.sampling import Rule
from goodspeed.engine.interface import Prefill
from goodspeed.scheduling.co_located_length import CoLocatedPrices, best_length
from goodspeed.scheduling.marginals import log_survival
from goodspeed.scheduling.scheduler import ClientView
from goodspeed.verifier.core.batch import Turn
from goodspeed.verifier.core.batching.ordering import OrderingCandidate, OrderingPolicy
from goodspeed.verifier.core.client import Client
from goodspeed.verifier.core.core_config import MIN_CHUNK, VerifierCoreConfig
from goodspeed.verifier.core.served_streams import ServedStream

MIN_SURVIVAL: Final = 0.05
"""A co-located token that survives with less chance is not drafted, even if it costs nothing."""


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


def make_turn(stream: ServedStream, config: VerifierCoreConfig, prices: CoLocatedPrices) -> Turn:
    """What the closing batch may verify of a ready stream.

    Under the rejection rule its survival must not depend on drawn tokens (docs/explain/exactness.md).
    """
    proposal = stream.proposal
    tokens, draft_probs = (proposal.tokens, proposal.draft_probs) if proposal else ((), ())
    max_tokens = stream.protocol.max_draft
    if config.draft_selection == "arrival":  # uses nothing but the lengths of drafts
        survival, token_value, floor = (1.0,) * len(tokens), 1.0, 0
    elif config.draft_selection == "survival":  # whoever proposed it
        survival, token_value, floor = tuple(_survival(stream)), 1.0, 0
    else:
        survival, token_value = tuple(_survival(stream)), stream.weight / stream.goodput
        floor = -(-stream.client.config.floor // len(stream.siblings))
    request = _co_located_request(stream, config, survival, prices)
    return Turn(stream.key, tokens, draft_probs, survival, token_value, floor, max_tokens, request)


def _co_located_request(
    stream: ServedStream, config: VerifierCoreConfig, proposed: Sequence[float], prices: CoLocatedPrices
) -> DraftRequest | None:
    """The draft that is expected to be worth its time, or one that explores; None if neither is due.

    A proposal with drawn tokens stands alone: no other draft may depend on the draw.
    """
    max_tokens = min(config.co_located_tokens, stream.protocol.max_draft)
    if max_tokens <= 0 or (stream.proposal and stream.proposal.draft_probs):
        return None
    acceptance, token_value = stream.client.co_located, stream.weight / stream.goodput
    length = best_length(acceptance.survival, acceptance.drafted, token_value, prices, proposed)
    if acceptance.explores(prices.drafting / stream.weight):
        length, min_survival = max_tokens, MIN_SURVIVAL
    else:
        min_survival = max(MIN_SURVIVAL, (prices.drafting + prices.verifying) / token_value)
    if not length or min_survival >= 1.0:
        acceptance.on_undrafted()
        return None
    return DraftRequest(stream.key, min(length, max_tokens), min_survival)


def _survival(stream: ServedStream) -> list[float]:
    """By the drafter's confidences in these tokens where that is sound, otherwise by the client's survival curve.

    Under the rejection rule with draft probabilities, whether a drawn token is verified must not depend on which token
    it is, and its confidence could reveal that. Greedy, coupled and one-hot tokens may be selected in any way.
    """
    proposal = stream.proposal
    if proposal is None:
        return []
    is_drawn = stream.request.sampling.rule is Rule.REJECTION and bool(proposal.draft_probs)
    if proposal.confidences and not is_drawn:
        return stream.client.reliability.survival(proposal.confidences)
    return _client_survival(stream.client, len(proposal.tokens))


def _client_survival(client: Client, num_tokens: int) -> list[float]:
    estimator = client.estimator
    view = ClientView(estimator.acceptance_rate, estimator.goodput, survival=estimator.survival)
    return [math.exp(log_survival(view, j)) for j in range(1, num_tokens + 1)]
