"""A batch: what the verifier's core wants of the next step of the engine, and what the step has done."""

from collections.abc import Sequence

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


class Batch(Struct, frozen=True, gc=False):
    """Orders to the engine: end streams, then open streams, then run one step, if there is work for one.

    Which draft tokens of the turns the step verifies is decided just before it (verifier/step.py).
    """

    closed: tuple[StreamKey, ...]
    opened: tuple[tuple[StreamKey, StreamSpec], ...]
    turns: tuple[Turn, ...] = ()
    prefills: tuple[Prefill, ...] = ()
    budget: int = 0
    """Draft tokens that the step may verify."""
    sizes: tuple[StepSize, ...] = ()
    """The step verifies the number of draft tokens that pays best by these; empty: as many as it may."""
    price: float = 0.0
    """As ProposalCandidate.price, of every token."""
    draft_selection: str = "value"
    retained: tuple[tuple[StreamKey, int], ...] = ()
    """Streams that end, each with the number of tokens that the engine keeps for later streams."""
    evicted: tuple[StreamKey, ...] = ()
    """Retained streams that the engine frees."""

    @property
    def has_step(self) -> bool:
        return bool(self.turns or self.prefills)

    @property
    def ended(self) -> tuple[StreamKey, ...]:
        """The streams that end, retained or not."""
        return (*self.closed, *[key for key, _ in self.retained])

    @property
    def streams(self) -> tuple[StreamKey, ...]:
        """Every stream that the batch opens or works on."""
        keys = [key for key, _ in self.opened]
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
