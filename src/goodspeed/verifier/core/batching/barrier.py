"""Barrier batching: the synchronous slots of the GoodSpeed paper."""

from goodspeed.verifier.core.batching.batching_policy import BatchingView


class BarrierBatching:
    """Closes a batch when every active stream has proposed, or `timeout_s` after the first proposal.

    A stream that missed a batch is not waited for until it has proposed, so a dead drafter costs one timeout.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s

    def close_at(self, view: BatchingView, now: float) -> float:
        return now if view.num_awaited == 0 else view.ready_since + self._timeout_s
