"""The interface of batching policies: when to close a batch."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from msgspec import Struct

from goodspeed.verifier.core.timing.step_time import StepTimeModel


class ExpectedProposal(NamedTuple):
    """A proposal that has not arrived yet."""

    expected: float  # most likely time of arrival
    latest: float  # after this time it is no longer expected
    num_tokens: int  # that it will add to a step


class BatchingView(Struct, frozen=True, gc=False):
    """What a policy sees while the engine is idle: the work that could run now, and the proposals that may arrive."""

    num_ready: int  # streams with work, at least one
    num_target_only: int  # of these: streams in target-only mode, which are ready again when the step ends
    num_ready_tokens: int
    num_ready_prompt: int  # of these: prompt tokens
    ready_since: float  # time of arrival of the oldest work
    num_awaited: int  # drafting streams that did not miss the last batch
    arrivals: Sequence[ExpectedProposal]
    """In order of expected time; only those expected before a step that starts now would end."""
    turnaround_s: float  # expected time from a verdict to the next proposal, of the slowest ready stream
    step_time: StepTimeModel


class BatchingPolicy(Protocol):
    """Decides when a batch stops waiting for more. The core calls it whenever the engine is idle and has work."""

    def close_at(self, view: BatchingView, now: float) -> float:
        """When to close the batch if nothing else happens; `now` or earlier closes it at once."""
