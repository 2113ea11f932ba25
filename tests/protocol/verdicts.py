"""A shortcut from an engine's outcome to the verifier's verdict."""

from goodspeed.engine.interface import Outcome
from goodspeed.protocol.messages import Verdict
from goodspeed.protocol.session import VerifierStream


def verdict_on(
    end: VerifierStream, outcome: Outcome, grant: int, queue_s: float = 0.0, verify_s: float = 0.0
) -> Verdict:
    """Commit the outcome and return the verdict on it."""
    end.on_outcome(outcome)
    return end.make_verdict(grant, queue_s, verify_s)
