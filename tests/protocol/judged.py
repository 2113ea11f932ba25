"""A verifier's end of a stream, told of an outcome."""

from goodspeed.engine.interface import Outcome
from goodspeed.protocol.messages import Verdict
from goodspeed.protocol.session import VerifierStream


def judge(end: VerifierStream, outcome: Outcome, grant: int, queue_s: float = 0.0, verify_s: float = 0.0) -> Verdict:
    """The outcome is committed, and the verdict made."""
    end.on_outcome(outcome)
    return end.conclude(grant, queue_s, verify_s)
