"""Closes a batch when waiting longer costs more than it brings."""

from collections.abc import Sequence

from goodspeed.verifier.core.batching.base import Arrival, Waiting


class DeadlineBatching:
    """Waits for the next k arrivals, where k makes the streams' total delay least; k = 0 closes now.

    Who is waited for delays those who are ready. Who is not misses this step and must wait it out; and the step that
    then serves the late ones is in the way of the others' next round. An arrival later than a whole step is never
    waited for: running the step meanwhile delays it by nothing. So one step is about the longest wait.
    """

    def close_at(self, waiting: Waiting, now: float) -> float:
        arrivals = waiting.arrivals
        delays = [_total_delay(waiting, num_joining, now) for num_joining in range(len(arrivals) + 1)]
        num_joining = delays.index(min(delays))
        return max((arrival.latest for arrival in arrivals[:num_joining]), default=now)


def _total_delay(waiting: Waiting, num_joining: int, now: float) -> float:
    """Seconds from now, summed over streams, to the next verdict, if the batch waits for `num_joining` arrivals."""
    joining, late = waiting.arrivals[:num_joining], waiting.arrivals[num_joining:]
    step_time = waiting.step_time
    start = joining[-1].expected if joining else now
    end = start + step_time.predict(waiting.num_ready_tokens + _num_tokens(joining))
    num_served = waiting.num_ready + len(joining)
    delay_s = num_served * (end - now)
    if late:
        late_end = max(late[-1].expected, end) + step_time.predict(_num_tokens(late))
        delay_s += len(late) * (late_end - now)
        delay_s += num_served * max(0.0, late_end - (end + waiting.gap_s))
    return delay_s


def _num_tokens(arrivals: Sequence[Arrival]) -> int:
    return sum(arrival.num_tokens for arrival in arrivals)
