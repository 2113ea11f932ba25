"""The paper's synchronous slots."""

from goodspeed.verifier.core.batching.batching_policy import Waiting


class BarrierBatching:
    """Closes when every active stream has proposed, or `timeout_s` after the first did.

    A stream that missed a batch is waited for again once it proposes, so a dead drafter costs one timeout.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s

    def close_at(self, waiting: Waiting, now: float) -> float:
        return now if waiting.num_absent == 0 else waiting.ready_since + self._timeout_s
