"""A batch: what the verifier's core wants of the next step of the engine, and what the step has done."""

from collections.abc import Sequence
from enum import Enum

from msgspec import Struct

from goodspeed.decoding.draft import DraftRequest, SparseProbs, StreamKey
from goodspeed.engine.interface import Outcome, Prefill, StreamSpec, Work
from goodspeed.scheduling.step_size import StepSize


class Turn(Struct, frozen=True, gc=False):
    """What a step may verify of one stream."""

    stream: StreamKey
    proposal: tuple[int, ...] = ()
    """The drafter's; empty in a local round."""
    draft_probs: tuple[SparseProbs, ...] = ()
    survival: tuple[float, ...] = ()
    """As ProposalCandidate.survival, for the tokens of the proposal."""
    token_value: float = 1.0
    """As ProposalCandidate.token_value."""
    floor: int = 0
    """As ProposalCandidate.floor."""
    max_tokens: int = 0
    """Draft tokens that the stream can use."""
    co_located: DraftRequest | None = None
    """What the verifier drafts for it after its committed tokens; None: nothing."""


class OpenStream(Struct, frozen=True, gc=False):
    """The engine opens a stream."""

    stream: StreamKey
    spec: StreamSpec


class EndStream(Struct, frozen=True, gc=False):
    """The engine ends an open stream, and keeps its first `num_retained` tokens for later streams."""

    stream: StreamKey
    num_retained: int = 0
    is_preempted: bool = False
    """It is continued under another key when there is memory."""


class DropPrefix(Struct, frozen=True, gc=False):
    """The engine frees what it has retained of a stream."""

    stream: StreamKey


StreamUpdate = OpenStream | EndStream | DropPrefix


class BatchClose(Enum):
    """Why a batch closed when it did."""

    AT_ONCE = "at_once"
    """Nothing was worth waiting for."""
    ARRIVED = "arrived"
    """What it waited for has come."""
    TIMED_OUT = "timed_out"
    """What it waited for has not come in time."""
    FULL = "full"
    """It has as many streams as it may."""


class Batch(Struct, frozen=True, gc=False):
    """Orders to the engine: update streams in this order, then run one step, if there is work for one.

    The order keeps the memory within its bounds: what a stream is opened from is dropped later, and what must be free
    for it is freed before. Which draft tokens of the turns the step verifies is decided just before it
    (verifier/step.py).
    """

    updates: tuple[StreamUpdate, ...] = ()
    turns: tuple[Turn, ...] = ()
    prefills: tuple[Prefill, ...] = ()
    budget: int = 0
    """Draft tokens that the step may verify."""
    sizes: tuple[StepSize, ...] = ()
    """The step verifies the number of draft tokens that pays best by these; empty: as many as it may."""
    price: float = 0.0
    """As ProposalCandidate.price, of every token."""
    draft_selection: str = "value"
    closed_by: BatchClose = BatchClose.AT_ONCE

    @property
    def has_step(self) -> bool:
        return bool(self.turns or self.prefills)

    @property
    def streams(self) -> tuple[StreamKey, ...]:
        """Every stream that the batch opens or works on."""
        keys = [update.stream for update in self.updates if isinstance(update, OpenStream)]
        keys += [turn.stream for turn in self.turns]
        keys += [prefill.stream for prefill in self.prefills]
        return tuple(dict.fromkeys(keys))


def num_draft_steps(turns: Sequence[Turn], drafts: Sequence[Sequence[int]]) -> int:
    """Tokens that the verifier has drafted, with those that it did not propose: an empty draft costs a step too.

    `drafts` are StepResult.co_located.
    """
    return sum(
        [
            min(len(draft) + 1, turn.co_located.max_tokens)
            for turn, draft in zip(turns, drafts, strict=True)
            if turn.co_located
        ]
    )


class StepResult(Struct, frozen=True, gc=False):
    """What the step of a batch has done."""

    work: tuple[Work, ...] = ()
    """A Verify for each turn, with the draft tokens that were selected, then the prefills."""
    outcomes: Sequence[Outcome] = ()
    """In the order of the work."""
    co_located: tuple[tuple[int, ...], ...] = ()
    """By turn, the verifier's draft after the committed tokens: evidence of what it is worth, verified or not."""
    drafting_s: float = 0.0
    """How long the verifier drafted."""

    @property
    def num_prompt(self) -> int:
        """Tokens that were prefilled."""
        return sum(item.num_tokens for item in self.work if isinstance(item, Prefill))

    @property
    def num_tokens(self) -> int:
        """New tokens in the step, those of prompts included."""
        return sum(item.num_tokens if isinstance(item, Prefill) else 1 + len(item.draft_tokens) for item in self.work)
