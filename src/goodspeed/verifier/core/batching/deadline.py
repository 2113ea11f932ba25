"""Closes a batch when waiting longer costs more than it brings."""

import itertools
from collections.abc import Sequence

from goodspeed.verifier.core.batching.batching_policy import BatchingView


class DeadlineBatching:
    """Waits for the next k arrivals, where k makes the streams' total delay least; k = 0 closes now.

    Who is waited for delays those who are ready. Who is not misses this step and must wait it out; and the step that
    then serves the late ones is in the way of the others' next round, unless they go on alone: these are in it. An
    arrival later than a whole step is never waited for: running the step meanwhile delays it by nothing. So one step is
    about the longest wait.
    """

    def close_at(self, view: BatchingView, now: float) -> float:
        arrivals = view.arrivals
        if not arrivals:
            return now
        num_tokens = [0, *itertools.accumulate(arrival.num_tokens for arrival in arrivals)]
        delays = [_total_delay(view, num_joining, num_tokens, now) for num_joining in range(len(arrivals) + 1)]
        num_joining = delays.index(min(delays))
        return max((arrival.latest for arrival in arrivals[:num_joining]), default=now)


def _total_delay(view: BatchingView, num_joining: int, num_tokens: Sequence[int], now: float) -> float:
    """Seconds from now, summed over streams, to the next verdict, if the batch waits for `num_joining` arrivals.

    `num_tokens` of the first 0, 1, 2 ... arrivals together.
    """
    arrivals, step_time = view.arrivals, view.step_time
    num_late = len(arrivals) - num_joining
    start = arrivals[num_joining - 1].expected if num_joining else now
    num_served = view.num_ready + num_joining
    end = start + step_time.predict(view.num_ready_tokens + num_tokens[num_joining], num_served)
    delay_s = num_served * (end - now)
    if num_late:
        late_step_s = step_time.predict(num_tokens[-1] - num_tokens[num_joining], num_late)
        late_end = max(arrivals[-1].expected, end) + late_step_s
        delay_s += num_late * (late_end - now)
        delay_s += (num_served - view.num_target_only) * max(0.0, late_end - (end + view.turnaround_s))
    return delay_s
