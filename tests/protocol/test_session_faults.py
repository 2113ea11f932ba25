"""Whatever a link loses, repeats or cuts, both ends commit the target's own text: a state-machine property test."""

from collections import deque
from collections.abc import Sequence

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.protocol.verdicts import verdict_on

from goodspeed.decoding.draft import Draft
from goodspeed.decoding.mode import Mode
from goodspeed.decoding.sampling import Sampling
from goodspeed.engine.interface import Outcome
from goodspeed.errors import ErrorCode, ProtocolError
from goodspeed.protocol.limits import check_open
from goodspeed.protocol.messages import PROTOCOL_VERSION, ChangeMode, FinishReason, Open, Propose, Verdict, Welcome
from goodspeed.protocol.session import DrafterStream, RepeatedProposal, VerifierStream, tokens_crc32

WELCOME = Welcome(PROTOCOL_VERSION, "verifier", "toy", "f00d", 50, 200, 4, 6, ())
PROMPT = (5, 6, 7)
MAX_TOKENS = 24


def target(prefix: Sequence[int]) -> int:
    """The target's own next token."""
    return tokens_crc32(prefix) % 50


def target_text(length: int) -> list[int]:
    """Prompt and answer of the target without drafts."""
    tokens = list(PROMPT)
    while len(tokens) < length:
        tokens.append(target(tokens))
    return tokens


TEXT = target_text(len(PROMPT) + MAX_TOKENS)
END_TOKENS = (TEXT[-4],)
END = 1 + next(i for i, token in enumerate(TEXT) if i >= len(PROMPT) and token in END_TOKENS)
"""Where the end token finishes the stream."""


class FaultyLink(RuleBasedStateMachine):
    """Two ends and the messages between them. Messages keep their order; they may be lost, repeated or late."""

    def __init__(self) -> None:
        super().__init__()
        self.drafter = DrafterStream(Open(1, 0, PROMPT, len(PROMPT), MAX_TOKENS, Sampling(), END_TOKENS), 50)
        self.up: deque[Propose | ChangeMode] = deque()
        self.down: deque[Verdict] = deque()
        self.opened()

    def opened(self) -> None:
        """A verifier, the same or another one, has just received the drafter's Open."""
        check_open(self.drafter.opening, WELCOME)
        self.verifier = VerifierStream(self.drafter.opening, WELCOME)
        self.work: Propose | None = None
        self.has_lost_verdict = False
        self.is_prefilled = False

    def outcome(self, draft: Sequence[int]) -> Outcome:
        tokens = list(self.verifier.committed)
        for token in draft:
            if token != target(tokens):
                break
            tokens.append(token)
        return Outcome(1, len(tokens) - len(self.verifier.committed), target(tokens))

    @precondition(lambda self: self.drafter.is_ready)
    @rule(num_right=st.integers(0, 6), num_wrong=st.integers(0, 2))
    def propose(self, num_right: int, num_wrong: int) -> None:
        at = len(self.drafter.committed)
        wrong = ((TEXT[at] + 1) % 50,) * num_wrong
        tokens = (*TEXT[at : at + num_right], *wrong)[: self.drafter.max_draft]
        self.up.append(self.drafter.propose(Draft(tokens, (0.5,) * len(tokens)), 0.0))

    @rule(mode=st.sampled_from(Mode))
    def change_mode(self, mode: Mode) -> None:
        if self.drafter.finish is FinishReason.NONE:
            self.up.append(self.drafter.change_mode(mode))

    @rule()
    def propose_again(self) -> None:
        if (awaited := self.drafter.pending_proposal) is not None:
            self.up.append(awaited)

    @precondition(lambda self: self.up)
    @rule(is_repeated=st.booleans())
    def arrive_at_the_verifier(self, is_repeated: bool) -> None:
        propose = self.up[0] if is_repeated else self.up.popleft()
        if isinstance(propose, ChangeMode):
            if propose.epoch == self.verifier.request.epoch:
                self.verifier.change_mode(propose.mode)
            return
        try:
            accepted = self.verifier.on_propose(propose)
        except ProtocolError as error:
            if error.code is not ErrorCode.STALE_EPOCH or propose.epoch == self.drafter.opening.epoch:
                raise
            return
        if isinstance(accepted, RepeatedProposal):
            self.down.extend([accepted.verdict] if accepted.verdict else [])
        else:
            self.work = accepted

    @rule(
        num_trimmed_to=st.integers(0, 6),
        grant=st.integers(-8, 8).map(lambda grant: max(0, grant)),
        num_right=st.integers(0, 4),
        num_wrong=st.integers(0, 2),
    )
    def step(self, num_trimmed_to: int, grant: int, num_right: int, num_wrong: int) -> None:
        """The engine's next step: prefill, or the first tokens of the pending proposal, then co-located tokens."""
        draft: tuple[int, ...] = ()
        if self.is_prefilled:
            if self.work is None and not self.verifier.is_local:
                return
            proposed = self.work.tokens[:num_trimmed_to] if self.work else ()
            at = len(self.verifier.committed) + len(proposed)
            draft = (*proposed, *TEXT[at : at + num_right], *[(TEXT[-1] + 1) % 50] * num_wrong)
        self.is_prefilled = True
        self.work = None
        verdict = verdict_on(self.verifier, self.outcome(draft), grant, draft)
        assert verdict.committed_length == len(self.verifier.committed)
        self.down.append(verdict)

    @precondition(lambda self: self.down)
    @rule(is_repeated=st.booleans())
    def arrive_at_the_drafter(self, is_repeated: bool) -> None:
        """After a lost verdict, that of the next local round shows the gap: the stream is opened again."""
        try:
            self.drafter.on_verdict(self.down[0] if is_repeated else self.down.popleft())
        except ProtocolError:
            assert self.has_lost_verdict
            self.cut_and_resume(True)

    @precondition(lambda self: self.up)
    @rule()
    def lose_a_message(self) -> None:
        """A lost change of mode delays it until the next one, or the next epoch."""
        self.up.pop()

    @precondition(lambda self: self.down)
    @rule()
    def lose_a_verdict(self) -> None:
        self.down.pop()
        self.has_lost_verdict = True

    @precondition(lambda self: self.drafter.finish is FinishReason.NONE)
    @rule(is_clean=st.booleans())
    def cut_and_resume(self, is_clean: bool) -> None:
        """The link is cut. Unless the cut is clean, messages under way arrive late, in the new epoch."""
        if is_clean:
            self.up.clear()
            self.down.clear()
        self.drafter.reopen()
        self.opened()

    @invariant()
    def both_ends_hold_the_targets_own_text(self) -> None:
        for committed in (self.drafter.committed, self.verifier.committed):
            assert committed == TEXT[: len(committed)]
            assert len(committed) <= END

    def teardown(self) -> None:
        """Without further faults, the text is completed."""
        if self.drafter.finish is FinishReason.NONE:
            self.cut_and_resume(True)
            assert self.verifier.mode is self.drafter.mode
        for _ in range(MAX_TOKENS + 1):
            self.step(6, 3, 1, 1)
            while self.down:
                self.arrive_at_the_drafter(False)
            if self.drafter.is_ready:
                self.propose(2, 1)
                self.arrive_at_the_verifier(False)
        assert self.drafter.committed == TEXT[:END]
        assert self.drafter.finish is FinishReason.STOP


TestFaultyLink = FaultyLink.TestCase
TestFaultyLink.settings = settings(max_examples=60, stateful_step_count=60)
