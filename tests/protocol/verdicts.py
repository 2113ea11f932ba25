"""A shortcut from an engine's outcome to the verifier's verdict."""

from collections.abc import Sequence

from goodspeed.engine.interface import Outcome
from goodspeed.protocol.messages import Verdict
from goodspeed.protocol.session import VerifierStream


def verdict_on(
    end: VerifierStream,
    outcome: Outcome,
    grant: int,
    draft_tokens: Sequence[int] = (),
) -> Verdict:
    """Commit the outcome of verifying `draft_tokens`, and return the verdict on it: 1 ms in the queue, 30 ms a step."""
    end.on_outcome(outcome, draft_tokens)
    return end.make_verdict(grant, 0.001, 0.03)
