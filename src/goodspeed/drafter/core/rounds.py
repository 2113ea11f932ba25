"""What a verdict says about its round, and what is known before the next round."""

from goodspeed.decoding.draft import Draft
from goodspeed.drafter.core.link import VerifierLink
from goodspeed.drafter.core.outbox import Round
from goodspeed.drafter.core.user_streams import UserStream
from goodspeed.protocol.messages import Propose, Verdict
from goodspeed.protocol.session import num_right
from goodspeed.protocol.shadow_draft import compare_shadow_draft
from goodspeed.windows.run_ahead import RunAheadView
from goodspeed.windows.window_policy import Window, WindowView


def measure(stream: UserStream, link: VerifierLink, proposal: Propose | None, verdict: Verdict, now: float) -> Round:
    """The round that `verdict` ends; the estimates of its stream and of its link are updated.

    `proposal` is what the verdict answers; None in the first round of an epoch and in local rounds.
    """
    queue_s, verify_s = verdict.queue_us / 1e6, verdict.verify_us / 1e6
    link.on_verdict(queue_s, verify_s)
    if stream.verdict_at is not None:
        link.tpot_s.observe(now - stream.verdict_at, verdict.num_committed)
    stream.verdict_at = now
    num_proposed, num_accepted, drafting_s, rtt_s = 0, 0, 0.0, None
    if proposal is not None:
        num_proposed = len(proposal.tokens)
        num_accepted = num_right(proposal, verdict)
        drafting_s = stream.drafting_s
        num_judged = _num_judged(num_proposed, num_accepted, verdict)
        stream.acceptance.on_round(num_judged, num_accepted)
        link.prefixes.on_round(num_judged, num_accepted)
        if num_proposed:
            link.acceptance.observe(num_accepted / num_proposed)
        rtt_s = max(0.0, now - stream.sent_at - queue_s - verify_s)
        link.on_rtt(rtt_s)
    return Round(
        num_proposed,
        num_accepted,
        verdict.grant,
        queue_s,
        verify_s,
        drafting_s,
        rtt_s,
        None if verdict.baseline_us is None else verdict.baseline_us / 1e6,
        None if verdict.elapsed_us is None else verdict.elapsed_us / 1e6,
        verdict.mode(num_proposed) if verdict.round else None,
        verdict.num_co_located,
        len(verdict.co_located_tokens),
        0 if verdict.round else stream.num_cached,
        stream.num_mode_changes if verdict.finish else 0,
    )


def learn_from_shadow(stream: UserStream) -> None:
    """Count the stream's shadow draft like a proposal, once its result is known."""
    if stream.shadow is None:
        return
    result = compare_shadow_draft(stream.shadow, stream.protocol.committed, is_finished=False)
    if result is not None:
        stream.acceptance.on_round(len(stream.shadow.tokens), result.num_accepted)
        stream.verifier.prefixes.on_round(len(stream.shadow.tokens), result.num_accepted)
        stream.shadow = None


def view_stream(
    stream: UserStream, link: VerifierLink, drafting_s_per_token: float, runs_ahead: bool, now: float
) -> WindowView:
    """The window policy's input."""
    return WindowView(
        grant=stream.protocol.max_draft,
        recent_acceptance=stream.acceptance.recent,
        rtt_s=link.rtt_s.get(),
        drafting_s_per_token=drafting_s_per_token,
        verify_s=link.verify_s.get(),
        queue_s=link.queue_s.get(),
        acceptance_rate=stream.acceptance.rate,
        last_acceptance=stream.acceptance.last,
        runs_ahead=runs_ahead,
        prefixes=link.prefixes,
        verifier=link.index,
        tpot_s=link.tpot_s.get(),
        queue_utilisation=link.queue_utilisation,
        load_age_s=link.load_age_s(now),
        link_acceptance=link.acceptance.get(default=1.0),
    )


def view_run_ahead(
    stream: UserStream, link: VerifierLink, proposal: Draft, drafting_s_per_token: float
) -> RunAheadView:
    """What decides whether the drafter drafts past this proposal."""
    survival = stream.acceptance.rate  # of the guess at the target's own token
    for confidence in proposal.confidences:
        survival *= confidence
    is_known = link.rtt_s.value is not None
    under_way_s = link.rtt_s.get() + link.queue_s.get() + link.verify_s.get() if is_known else 0.0
    return RunAheadView(survival, drafting_s_per_token, under_way_s, len(proposal.tokens))


def expected_window(stream: UserStream, num_proposed: int) -> Window:
    """The expected window of the proposal after one of `num_proposed` tokens: like its own, within the answer."""
    opening = stream.protocol.opening
    num_remaining = opening.num_prompt + opening.max_tokens - len(stream.protocol.committed)
    longest = num_remaining - (num_proposed + 1) - 1  # each round commits a token of the target's own as well
    return Window(max(0, min(stream.window.max_tokens, longest)), stream.window.min_survival)


def _num_judged(num_proposed: int, num_accepted: int, verdict: Verdict) -> int:
    """Proposed tokens of which the verdict says something: those after the committed ones are unknown if all match."""
    return num_accepted if num_accepted == verdict.num_committed else num_proposed
