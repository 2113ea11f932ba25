"""The idle engine's view of the streams, for the batching policy."""

from goodspeed.verifier.core.batching.batching_policy import BatchingView, ExpectedProposal
from goodspeed.verifier.core.core_config import VerifierCoreConfig
from goodspeed.verifier.core.served_stream import ServedStream
from goodspeed.verifier.core.served_streams import ServedStreams
from goodspeed.verifier.core.timing.step_time import StepTimeModel

MAX_ARRIVALS = 16
"""How far ahead a policy looks; more does not change what is best now."""


def make_batching_view(
    table: ServedStreams, config: VerifierCoreConfig, step_time: StepTimeModel, now: float
) -> BatchingView:
    """Needs work in the table."""
    ready = table.ready.values()
    absent = [stream for stream in table.drafting.values() if stream.conn is not None]
    num_verified_tokens = sum(stream.num_tokens for stream in ready)
    num_unprefilled = sum(stream.num_unprefilled for stream in table.prefilling.values())
    num_ready_tokens = num_verified_tokens + min(config.prefill_room(num_verified_tokens), num_unprefilled)
    num_ready = len(ready) + len(table.prefilling)
    return BatchingView(
        num_ready=num_ready,
        num_target_only=sum(stream.proposal is None for stream in ready),
        num_ready_tokens=num_ready_tokens,
        ready_since=next(iter((table.ready or table.prefilling).values())).since,
        num_awaited=sum(not table.is_late(stream) for stream in absent),
        arrivals=_arrivals(absent, now, now + step_time.predict(num_ready_tokens, num_ready)),
        turnaround_s=max((stream.client.turnaround.mean_s for stream in ready if stream.proposal), default=0.0),
        step_time=step_time,
    )


def _arrivals(absent: list[ServedStream], now: float, until: float) -> list[ExpectedProposal]:
    """Who is later than expected is expected a deviation from now."""
    arrivals = []
    for stream in absent:
        gap = stream.client.turnaround
        if not gap.is_known or stream.since + gap.mean_s > until:
            continue
        latest = stream.since + gap.latest_s
        expected = max(stream.since + gap.mean_s, min(latest, now + gap.deviation_s))
        if now < latest and expected <= until:
            arrivals.append(ExpectedProposal(expected, latest, 1 + stream.grant))
    return sorted(arrivals)[:MAX_ARRIVALS]
