"""What the batching policy sees of the streams while the engine is idle."""

from goodspeed.verifier.core.batching.batching_policy import BatchingView, ExpectedProposal
from goodspeed.verifier.core.core_config import VerifierCoreConfig
from goodspeed.verifier.core.served_streams import ServedStream, ServedStreams
from goodspeed.verifier.core.timing.step_time import StepTimeModel

MAX_ARRIVALS = 16
"""How many expected proposals a policy sees; more would not change its decision."""


def make_batching_view(
    streams: ServedStreams, config: VerifierCoreConfig, step_time: StepTimeModel, now: float
) -> BatchingView:
    """`streams` must have work."""
    ready = streams.ready.values()
    absent = [stream for stream in streams.drafting.values() if stream.conn is not None]
    num_verified_tokens = sum(stream.num_tokens for stream in ready)
    num_unprefilled = sum(stream.num_unprefilled for stream in streams.prefilling.values())
    num_prompt = min(config.prefill_room(num_verified_tokens), num_unprefilled)
    num_ready_tokens = num_verified_tokens + num_prompt
    num_ready = len(ready) + len(streams.prefilling)
    step_s = step_time.predict(num_ready_tokens, num_ready, num_prompt)
    return BatchingView(
        num_ready=num_ready,
        num_target_only=sum(stream.proposal is None for stream in ready),
        num_ready_tokens=num_ready_tokens,
        num_ready_prompt=num_prompt,
        ready_since=next(iter((streams.ready or streams.prefilling).values())).waiting_since,
        num_awaited=sum(not streams.has_missed_batch(stream) for stream in absent),
        arrivals=_arrivals(absent, now, now + step_s),
        turnaround_s=max((stream.client.timing.turnaround.mean_s for stream in ready if stream.proposal), default=0.0),
        step_time=step_time,
    )


def _arrivals(absent: list[ServedStream], now: float, until: float) -> list[ExpectedProposal]:
    """The proposals expected by `until`. An overdue proposal is expected one deviation from now."""
    arrivals = []
    for stream in absent:
        timing = stream.client.timing
        turnaround = timing.turnaround
        if not turnaround.is_known or stream.waiting_since + turnaround.mean_s > until:
            continue
        latest = stream.waiting_since + turnaround.latest_s
        expected = max(stream.waiting_since + turnaround.mean_s, min(latest, now + turnaround.deviation_s))
        if now < latest and expected <= until:
            num_tokens = 1 + round(timing.grant_utilisation * stream.grant)
            arrivals.append(ExpectedProposal(expected, latest, num_tokens))
    return sorted(arrivals)[:MAX_ARRIVALS]
