"""What a verdict says of the round that it ends, and what is known before the next."""

from goodspeed.drafter.core.decisions import Round
from goodspeed.drafter.core.link import VerifierLink
from goodspeed.drafter.core.user_streams import UserStream
from goodspeed.errors import ErrorCode, ProtocolError
from goodspeed.protocol.messages import Propose, Verdict
from goodspeed.windows.window_policy import WindowView


def measure(stream: UserStream, link: VerifierLink, pending: Propose | None, verdict: Verdict, now: float) -> Round:
    """What the round brought and cost; the estimates of the stream and of its link take it in."""
    queue_s, verify_s = verdict.queue_us / 1e6, verdict.verify_us / 1e6
    link.on_verdict(queue_s, verify_s)
    target_alone_s, took_s = verdict.baseline_us / 1e6, verdict.elapsed_us / 1e6
    if pending is None:
        return Round(0, 0, verdict.grant, queue_s, verify_s, 0.0, None, target_alone_s, took_s)
    num_proposed = len(pending.tokens)
    num_accepted = _num_accepted(pending, verdict)
    stream.acceptance.on_round(num_proposed, num_accepted)
    rtt_s = max(0.0, now - stream.sent_at - queue_s - verify_s)
    link.rtt_s.observe(rtt_s)
    drafting_s = stream.drafting_s
    return Round(
        num_proposed, num_accepted, verdict.grant, queue_s, verify_s, drafting_s, rtt_s, target_alone_s, took_s
    )


def view_stream(stream: UserStream, link: VerifierLink, drafting_s_per_token: float) -> WindowView:
    """For the window policy."""
    return WindowView(
        grant=stream.end.max_draft,
        recent_acceptance=stream.acceptance.recent,
        rtt_s=link.rtt_s.get(),
        drafting_s_per_token=drafting_s_per_token,
        verify_s=link.verify_s.get(),
        queue_s=link.queue_s.get(),
        acceptance_rate=stream.acceptance.rate,
        last_acceptance=stream.acceptance.last,
    )


def check_logprobs(stream: UserStream, verdict: Verdict) -> None:
    """Raises ProtocolError if they were asked for and are not there."""
    if stream.end.opening.logprobs and not verdict.logprobs and verdict.epoch == stream.epoch:
        raise ProtocolError(ErrorCode.DIVERGED, f"{verdict}: log-probabilities were asked for", verdict.stream)


def _num_accepted(pending: Propose, verdict: Verdict) -> int:
    """The verdict's count, and the accepted token that travels as next_token because the answer ends with it."""
    num_accepted = verdict.num_accepted
    ends_with_draft = pending.tokens[num_accepted : num_accepted + 1] == (verdict.next_token,)
    return num_accepted + ends_with_draft
