"""Deadline batching: closes a batch when waiting longer would cost more than it gains."""

import itertools
from collections.abc import Sequence

from goodspeed.verifier.core.batching.batching_policy import BatchingView


class DeadlineBatching:
    """Waits for the next k arrivals, where k minimises the total delay of all streams; k = 0 closes the batch now.

    A stream that the batch waits for delays the streams that are ready. A stream that it does not wait for misses this
    step and waits until it ends. The step that then serves the late streams delays the next round of the others, except
    for streams in target-only mode, which are in that step too. The batch never waits for an arrival later than a whole
    step, since running the step meanwhile does not delay it. So the longest wait is about one step.
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
    """Sum over streams of the seconds from now to the next verdict, if the batch waits for `num_joining` arrivals.

    `num_tokens[k]` is the number of tokens of the first k arrivals together.
    """
    arrivals, step_time = view.arrivals, view.step_time
    num_late = len(arrivals) - num_joining
    start = arrivals[num_joining - 1].expected if num_joining else now
    num_served = view.num_ready + num_joining
    num_now = view.num_ready_tokens + num_tokens[num_joining]
    end = start + step_time.predict(num_now, num_served, view.num_ready_prompt)
    delay_s = num_served * (end - now)
    if num_late:
        late_step_s = step_time.predict(num_tokens[-1] - num_tokens[num_joining], num_late)
        late_end = max(arrivals[-1].expected, end) + late_step_s
        delay_s += num_late * (late_end - now)
        delay_s += (num_served - view.num_target_only) * max(0.0, late_end - (end + view.turnaround_s))
    return delay_s
