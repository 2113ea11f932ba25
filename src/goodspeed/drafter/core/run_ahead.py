"""Run-ahead: while a proposal is under way, the drafter drafts on as if all of it were accepted.

The first token past the proposal is a guess at the target's own token; the next proposal follows it. If the verdict
commits tokens that were drafted so, those after them are a head start for the next proposal, otherwise all are dropped.

A draft token is a function of the tokens before it and of the noise of its position. So a head start has the tokens
that would be drafted after the verdict: run-ahead changes when a proposal is sent, not which tokens it has.
"""

from collections.abc import Sequence
from typing import Final

from goodspeed.decoding.draft import Draft, DraftRequest, StreamKey
from goodspeed.decoding.rules import one_hot
from goodspeed.windows.run_ahead import RunAheadView, pays, saving_s
from goodspeed.windows.window_policy import Window

AUTO: Final = "auto"
NEVER: Final = "never"
MODES: Final = (AUTO, NEVER, "always")
SAME: Final = 0.8
"""A token that was too unlikely is not asked for again while the bound is at least this part of what it was."""
MAX_CALL_S: Final = 0.002
"""An engine call drafts as many tokens as take this long, at least one: a verdict may have to wait for its end."""
MIN_TOKEN_S: Final = 1e-5
"""Drafting a token is reckoned to take as long at least."""


class RunAheadCounts:
    """How often the drafter drafted past a proposal, and what it was good for."""

    def __init__(self) -> None:
        self.num_hits = 0
        """Proposals past which was drafted and whose verdict committed only drafted tokens."""
        self.num_misses = 0
        """The others past which was drafted."""
        self.num_drafted = 0
        """Tokens drafted past proposals."""
        self.num_used = 0
        """Of these, the tokens that were committed or proposed."""


class RunAhead:
    """What is drafted past the proposal of one stream. After a hit it holds the head start of the next proposal."""

    def __init__(self, stream: StreamKey, proposal: Draft, window: Window, counts: RunAheadCounts) -> None:
        """`window` is the expected one of the next proposal."""
        self.stream = stream
        self.is_complete = False
        """There is nothing more to draft before the verdict."""
        self._window = window
        self._counts = counts
        self._draft = proposal  # and what follows it; after the verdict without the committed tokens
        self._is_drawn = bool(proposal.draft_probs)
        self._num_own = 0  # tokens at the end of _draft that are no part of the proposal
        self._num_before = len(proposal.tokens) + 1  # tokens before the next proposal
        self._num_requested = 0  # tokens of the call in the engine; 0: there is none
        self._unmatched: tuple[int, ...] = ()  # committed tokens that only the call in the engine may have drafted
        self._is_stopped = False  # a low confidence has ended the draft
        self._is_aligned = True  # the next proposal begins where it was expected to

    def next_request(self, max_tokens: int) -> DraftRequest:
        """The next tokens past the proposal: first the guess by itself, then up to `max_tokens` at a time."""
        num_next = len(self._draft.tokens) - self._num_before
        if num_next < 0:
            self._num_requested = 1
            return DraftRequest(self.stream, 1, 0.0, self._draft.tokens)
        self._num_requested = min(max_tokens, self._window.max_tokens - num_next)
        min_survival = _rest_of(self._window.min_survival, self._draft.confidences[self._num_before :])
        return DraftRequest(self.stream, self._num_requested, min_survival, self._draft.tokens)

    def on_drafted(self, draft: Draft) -> None:
        """The engine has drafted what was requested. Meanwhile a verdict may have come."""
        num_unmatched = len(self._unmatched)
        is_match = draft.tokens[:num_unmatched] == self._unmatched
        if num_unmatched:
            self._count_verdict(is_match)
        self._counts.num_drafted += len(draft.tokens)
        self._is_stopped = len(draft.tokens) < self._num_requested
        self._num_requested, self._unmatched = 0, ()
        if is_match:
            following = draft.part(num_unmatched)
            self._counts.num_used += num_unmatched
            self._num_own += len(following.tokens)
            self._draft = joined(self._draft, following)
        num_wanted = self._num_before + self._window.max_tokens
        self.is_complete = self._is_stopped or len(self._draft.tokens) == num_wanted

    def on_verdict(self, tokens: tuple[int, ...]) -> bool:
        """Whether the verdict commits what was drafted, or may do so once the call in the engine is done: a hit.

        Drawn tokens of the proposal are not proposed again, because the verdict depends on all of them.
        """
        drafted, num_committed = self._draft.tokens, len(tokens)
        unmatched = tokens[len(drafted) :]
        is_other = drafted[:num_committed] != tokens[: len(drafted)] or (unmatched and not self._num_requested)
        if is_other or (self._is_drawn and num_committed < self._num_before):
            self._count_verdict(is_hit=False)
            return False
        if not unmatched:
            self._count_verdict(is_hit=True)
        self._unmatched = unmatched
        self._is_aligned = num_committed == self._num_before
        self._draft = self._draft.part(num_committed)
        num_own = min(self._num_own, len(self._draft.tokens))
        self._counts.num_used += self._num_own - num_own
        self._num_own = num_own
        return True

    def head_start(self, window: Window) -> tuple[Draft, bool]:
        """After a hit: the first tokens of the next proposal, and whether they are all of it."""
        draft, survival = self._draft.part(0, window.max_tokens), 1.0
        for i, confidence in enumerate(draft.confidences):
            survival *= confidence
            if survival < window.min_survival:
                return draft.part(0, i), True
        is_stopped = self._is_stopped and self._is_aligned and window.min_survival >= SAME * self._window.min_survival
        return draft, is_stopped or len(draft.tokens) == window.max_tokens

    def on_used(self, num_tokens: int) -> None:
        """The next proposal begins with the first `num_tokens` of the head start."""
        self._counts.num_used += max(0, num_tokens - (len(self._draft.tokens) - self._num_own))

    def _count_verdict(self, is_hit: bool) -> None:
        """Unless nothing was drafted past the proposal in time."""
        if self._num_own or self._num_requested:
            self._counts.num_hits += is_hit
            self._counts.num_misses += not is_hit


class RunAheads:
    """Decides past which proposals the drafter drafts on, and what it drafts next."""

    def __init__(self, mode: str) -> None:
        """`mode`: one of MODES."""
        self.counts = RunAheadCounts()
        self._mode = mode
        self._incomplete: dict[StreamKey, RunAhead] = {}  # those whose proposal is under way

    @property
    def is_on(self) -> bool:
        """Something may be drafted past proposals."""
        return self._mode != NEVER

    def saving_s(self, view: RunAheadView) -> float:
        """What drafting ahead would save of such a round on average; 0 if nothing would be drafted."""
        if self._mode == NEVER or (self._mode == AUTO and not pays(view)):
            return 0.0
        return max(0.0, saving_s(view))

    @property
    def has_requests(self) -> bool:
        """Something may be drafted past a proposal. Meaningful while the draft engine is idle."""
        return bool(self._incomplete)

    def start(self, stream: StreamKey, proposal: Draft, next_window: Window, view: RunAheadView) -> RunAhead | None:
        """The proposal is under way. None: nothing is drafted past it."""
        is_off = not self.is_on or not (proposal.tokens and next_window.max_tokens > 0)
        if is_off or (self._mode == AUTO and not pays(view)):
            return None
        ahead = self._incomplete[stream] = RunAhead(stream, proposal, next_window, self.counts)
        return ahead

    def start_drafting(self, drafting_s_per_token: float) -> tuple[list[RunAhead], list[DraftRequest]]:
        """The draft engine, which has nothing else to do, now works on these requests, one for each."""
        num_tokens = max(1, int(MAX_CALL_S / max(drafting_s_per_token, MIN_TOKEN_S)))
        aheads = list(self._incomplete.values())
        return aheads, [ahead.next_request(num_tokens) for ahead in aheads]

    def on_drafted(self, ahead: RunAhead, draft: Draft) -> None:
        """The draft engine has done a request of start_drafting."""
        ahead.on_drafted(draft)
        if ahead.is_complete and self._incomplete.get(ahead.stream) is ahead:
            del self._incomplete[ahead.stream]

    def end(self, stream: StreamKey) -> None:
        """The stream's verdict has come, or will not come."""
        self._incomplete.pop(stream, None)


def rest_request(stream: StreamKey, window: Window, head_start: Draft) -> DraftRequest:
    """The request for what the head start lacks of a proposal within `window`."""
    min_survival = _rest_of(window.min_survival, head_start.confidences)
    return DraftRequest(stream, window.max_tokens - len(head_start.tokens), min_survival, head_start.tokens)


def joined(first: Draft, second: Draft) -> Draft:
    """Both drafts in one. If only one has draft_probs, because the engine was replaced, the other is one-hot."""
    if not (first.tokens and second.tokens):
        return first if first.tokens else second
    draft_probs = (*first.draft_probs, *second.draft_probs)
    if draft_probs and not (first.draft_probs and second.draft_probs):
        draft_probs = tuple(
            [probs for draft in (first, second) for probs in draft.draft_probs or map(one_hot, draft.tokens)]
        )
    return Draft((*first.tokens, *second.tokens), (*first.confidences, *second.confidences), draft_probs)


def _rest_of(min_survival: float, confidences: Sequence[float]) -> float:
    """The bound for the survival of the tokens after these."""
    survival = 1.0
    for confidence in confidences:
        survival *= confidence
    return min(1.0, min_survival / survival) if survival else min(1.0, min_survival)
