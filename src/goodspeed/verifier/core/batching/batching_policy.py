"""The batching seam: when to close a batch."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from msgspec import Struct

from goodspeed.verifier.core.timing.step_time import StepTimeModel


class ExpectedProposal(NamedTuple):
    """A proposal that has not come yet."""

    expected: float  # when it is likeliest to come, after now
    latest: float  # when it is no longer counted on
    num_tokens: int  # what it will add to a step


class BatchingView(Struct, frozen=True, gc=False):
    """The idle engine's view: what could run now, and what may come."""

    num_ready: int  # streams with work, at least one
    num_target_only: int  # of them: those that are ready again when a step ends, for they wait for no drafter
    num_ready_tokens: int
    ready_since: float  # arrival of the oldest work
    num_awaited: int  # streams whose proposal is awaited and that did not miss the last batch
    arrivals: Sequence[ExpectedProposal]
    """By expected time; only those expected within the step that could be run now."""
    turnaround_s: float  # expected time from a verdict to the next proposal, of the slowest ready stream
    step_time: StepTimeModel


class BatchingPolicy(Protocol):
    """Decides when the engine stops waiting for more. Asked whenever the engine is idle and has work."""

    def close_at(self, view: BatchingView, now: float) -> float:
        """When to close the batch if nothing else happens; `now` or earlier: close it now."""
