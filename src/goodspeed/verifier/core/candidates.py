"""What the closing batch knows of each proposal: candidates for the binding."""

import math
from collections.abc import Callable, Sequence

from goodspeed.decoding.sampling import Rule
from goodspeed.scheduling.draft_selection import ProposalCandidate
from goodspeed.scheduling.marginals import log_survival
from goodspeed.scheduling.scheduler import ClientView
from goodspeed.verifier.core.client import Client
from goodspeed.verifier.core.served_stream import ServedStream

CandidateOf = Callable[[ServedStream], ProposalCandidate]


def arrival_candidate(stream: ServedStream) -> ProposalCandidate:
    """For a binding that asks for lengths alone."""
    return ProposalCandidate(token_value=1.0, survival=(1.0,) * len(_proposal_tokens(stream)))


def value_candidate(stream: ServedStream, num_streams: int, token_s: float) -> ProposalCandidate:
    """Of a stream with a proposal; its client has `num_streams` that draft. `token_s`: of the step, per token."""
    client = stream.client
    weight = client.config.weight
    round_s = (
        client.timing.network_s + client.timing.verify_s + client.timing.drafting_s * len(_proposal_tokens(stream))
    )
    return ProposalCandidate(
        token_value=weight / (client.estimator.goodput * num_streams),
        survival=_survival(stream),
        price=token_s * client.timing.co_batched_weight / round_s if round_s > 0.0 else 0.0,
        floor=-(-client.config.floor // num_streams),
    )


def _survival(stream: ServedStream) -> list[float]:
    """By the drafter's confidences in these tokens where that is sound, else by what is known of the client.

    Under the rejection rule with draft probabilities, whether a drawn token is judged must not depend on which it is
    (a confidence could tell). Greedy, coupled and one-hot tokens may be chosen among in any way.
    """
    proposal = stream.proposal
    assert proposal is not None
    is_drawn = stream.request.sampling.rule is Rule.REJECTION and bool(proposal.draft_probs)
    if proposal.confidences and not is_drawn:
        return stream.client.reliability.survival(proposal.confidences)
    return client_survival(stream.client, len(proposal.tokens))


def client_survival(client: Client, num_tokens: int) -> list[float]:
    """The first tokens of the client's survival curve."""
    estimator = client.estimator
    view = ClientView(estimator.acceptance_rate, estimator.goodput, survival=estimator.survival)
    return [math.exp(log_survival(view, j)) for j in range(1, num_tokens + 1)]


def _proposal_tokens(stream: ServedStream) -> Sequence[int]:
    return stream.proposal.tokens if stream.proposal else ()
