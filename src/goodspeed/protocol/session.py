"""The protocol's state machines without I/O: which message of a stream may come next, at either end.

VerifierStream and DrafterStream are the two ends of one stream. They hold the committed tokens, check epochs, rounds,
lengths and checksums, answer repeated messages, and resume a stream in a new epoch. Hosts carry their messages.
"""

import sys
import zlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from goodspeed.decoding.draft import Draft
from goodspeed.decoding.mode import Mode
from goodspeed.engine.interface import Outcome, StreamSpec
from goodspeed.errors import ErrorCode, ProtocolError
from goodspeed.protocol.limits import check_draft
from goodspeed.protocol.messages import ChangeMode, FinishReason, Open, Propose, ShadowDraft, Verdict, Welcome

MAX_ROUND_US = 2**32 - 1
"""Longest time that a uint32 field of a round can hold; longer ones are cut to it."""


def tokens_crc32(tokens: Sequence[int], start: int = 0) -> int:
    """CRC-32 of the tokens as little-endian uint32; `start` is the CRC-32 of the tokens before them."""
    words = array("I", tokens)
    if sys.byteorder == "big":
        words.byteswap()
    return zlib.crc32(words, start)


@dataclass(frozen=True, slots=True)
class RepeatedProposal:
    """The drafter has sent a proposal again. The host repeats `verdict`.

    None: the proposal is still being verified, or local rounds have followed its verdict, which the drafter then has.
    """

    verdict: Verdict | None


class VerifierStream:
    """The verifier's end of one stream. `request` has passed limits.check_open.

    Order of calls: on_outcome and make_verdict for the prefill (round 0); then for each round on_propose, on_outcome
    and make_verdict; in local rounds without on_propose.
    """

    def __init__(self, request: Open, welcome: Welcome) -> None:
        self.request = request
        self.mode = request.mode
        """As the drafter last asked for it."""
        self.never_proposes = self.mode is not Mode.DISTRIBUTED
        """The drafter does not propose in this mode: every round is local, once a grant of before is answered."""
        self.committed = list(request.tokens)
        self._finish = FinishReason.NONE
        self.new_tokens: tuple[int, ...] = ()
        """Committed by the latest outcome."""
        self.num_proposal_accepted = 0
        """Length of the common prefix of the latest outcome's whole proposal and of new_tokens without the last one."""
        self.num_proposal_verified = 0
        """Draft tokens of the latest outcome that are the proposal's."""
        self.num_co_located = 0
        """Draft tokens of the latest outcome that are not the proposal's."""
        self._outcome: Outcome | None = None
        self._welcome = welcome
        self._end_tokens = frozenset(request.end_tokens)
        self._committed_crc32 = tokens_crc32(request.tokens)
        self._round = 0  # being verified, or verified last
        self._pending: Propose | None = None
        self._verdict: Verdict | None = None  # None until the prefix is prefilled
        self.max_draft = self._longest_useful_draft()
        """Number of draft tokens that a round can use."""

    def spec(self, client: str = "") -> StreamSpec:
        """The stream with what is committed, as the engine opens it; `client` is the drafter's name."""
        request = self.request
        capacity = request.num_prompt + request.max_tokens  # grants keep proposals within it
        return StreamSpec(
            tuple(self.committed),
            request.sampling,
            capacity,
            request.logprobs,
            client,
            request.stream,
            top_logprobs=request.top_logprobs,
            prompt_logprobs=request.prompt_logprobs,
            num_resumed=len(self.committed) - request.num_prompt,
            end_tokens=request.end_tokens,
        )

    def change_mode(self, mode: Mode) -> None:
        """From the next verdict on, the stream is as if it had been opened in this mode."""
        self.mode = mode
        self.never_proposes = mode is not Mode.DISTRIBUTED
        self.max_draft = self._longest_useful_draft()

    def on_propose(self, propose: Propose) -> Propose | RepeatedProposal:
        """The proposal itself, if it is new. Raises ProtocolError (stream) if it is not valid."""
        if propose.epoch != self.request.epoch:
            raise ProtocolError(
                ErrorCode.STALE_EPOCH,
                f"epoch is {propose.epoch}, the stream is at {self.request.epoch}",
                propose.stream,
            )
        if propose.round == self._round and (self._pending or self._verdict):
            return RepeatedProposal(None if self._pending else self._verdict)
        if propose.round < self._round:
            return RepeatedProposal(None)
        self._check_turn(propose)
        self._check_prefix(propose)
        check_draft(propose, self._welcome.vocab_size)
        self._pending = propose
        self._round = propose.round
        return propose

    def on_outcome(self, outcome: Outcome, draft_tokens: Sequence[int] = ()) -> None:
        """Commit the tokens that the engine has decided on, cut after an end token and at max_tokens.

        Call it for the outcome that ends the prefill (round 0), and for the step of each later round; then call
        make_verdict. `draft_tokens` are those that the step has verified: the pending proposal or its first tokens, the
        verifier's own draft, or both. The text stays exact if which tokens those are does not depend on drawn tokens.
        """
        assert outcome.next_token is not None
        assert outcome.num_accepted <= len(draft_tokens)
        if self._pending is None and self._verdict is not None:
            self._round += 1  # no proposal starts a local round
        proposed = self._pending.tokens if self._pending else ()
        tokens, self._finish = self._cut((*draft_tokens[: outcome.num_accepted], outcome.next_token))
        self.new_tokens, self._outcome = tokens, outcome
        self.num_proposal_accepted = num_common(proposed, tokens[:-1])
        self.num_proposal_verified = num_common(proposed, draft_tokens)
        self.num_co_located = len(draft_tokens) - self.num_proposal_verified
        self.committed.extend(tokens)
        self._committed_crc32 = tokens_crc32(tokens, self._committed_crc32)
        self._pending = None
        self.max_draft = self._longest_useful_draft()

    @property
    def max_grant(self) -> int:
        """Length of the longest proposal that the stream can use."""
        return 0 if self.never_proposes else self.max_draft

    @property
    def is_finished(self) -> bool:
        return bool(self._finish)

    @property
    def is_local(self) -> bool:
        """The next round is local, without a proposal: the last grant was 0, as it is if never_proposes."""
        return self._verdict is not None and self._verdict.grant == 0 and not self.is_finished

    @property
    def has_verdict(self) -> bool:
        """The verdict of round 0 or of a later round was made."""
        return self._verdict is not None

    @property
    def num_new_tokens(self) -> int:
        """Number of tokens that the latest outcome has committed."""
        return len(self.new_tokens)

    def make_verdict(
        self,
        grant: int,
        queue_s: float,
        verify_s: float,
        baseline_and_elapsed_us: tuple[int, int] | None = None,
        shadow: int = 0,
    ) -> Verdict:
        """The verdict on the latest outcome. `grant` and `shadow` are the scheduler's, and are cut to max_grant.

        `baseline_and_elapsed_us` are the verdict's fields of these names, which only the last verdict has, if they are
        known.
        """
        grant = min(grant, self.max_grant)
        baseline_us, elapsed_us = baseline_and_elapsed_us or (None, None)
        outcome, num_new = self._outcome, len(self.new_tokens)
        assert outcome is not None
        self._verdict = Verdict(
            stream=self.request.stream,
            epoch=self.request.epoch,
            round=self._round,
            num_accepted=self.num_proposal_accepted,
            next_token=self.new_tokens[-1],
            committed_length=len(self.committed),
            grant=grant,
            finish=self._finish,
            queue_us=_to_us(queue_s),
            verify_us=_to_us(verify_s),
            logprobs=outcome.logprobs[:num_new],
            baseline_us=baseline_us,
            elapsed_us=elapsed_us,
            co_located_tokens=self.new_tokens[self.num_proposal_accepted : -1],
            num_co_located=self.num_co_located,
            shadow=0 if grant else min(shadow, self.max_grant),
            top_logprobs=outcome.top_logprobs[:num_new],
            prompt_logprobs=outcome.prompt_logprobs,
            prompt_top_logprobs=outcome.prompt_top_logprobs,
        )
        return self._verdict

    def _check_turn(self, propose: Propose) -> None:
        is_due = self._verdict is not None and self._pending is None and not self.is_finished
        if not is_due or propose.round != self._round + 1 or self.is_local:
            raise ProtocolError(
                ErrorCode.WRONG_ROUND,
                f"proposal of round {propose.round} when the stream is {self._state()}",
                propose.stream,
            )

    def _check_prefix(self, propose: Propose) -> None:
        assert self._verdict is not None
        if propose.committed_length != len(self.committed) or propose.committed_crc32 != self._committed_crc32:
            raise ProtocolError(
                ErrorCode.DIVERGED,
                f"prefix of {propose.committed_length} tokens with CRC-32 {propose.committed_crc32:#x}, "
                f"committed are {len(self.committed)} with {self._committed_crc32:#x}",
                propose.stream,
            )
        if len(propose.tokens) > self._verdict.grant:
            raise ProtocolError(
                ErrorCode.OVER_GRANT,
                f"proposal of {len(propose.tokens)} tokens, the grant is {self._verdict.grant}",
                propose.stream,
            )

    def _state(self) -> str:
        if self.is_finished:
            return "finished"
        if self.never_proposes:
            return f"in mode {self.mode.name}"
        if self._verdict is None:
            return "being prefilled"
        if self.is_local:
            return f"in local rounds after round {self._round}"
        return f"{'verifying' if self._pending else 'past'} round {self._round}"

    def _longest_useful_draft(self) -> int:
        """A round commits a token of the target's own as well, so one token fewer than are still to be generated."""
        if self.is_finished or self.mode is Mode.TARGET_ONLY:
            return 0
        num_remaining = self.request.num_prompt + self.request.max_tokens - len(self.committed)
        return min(self._welcome.max_proposal, num_remaining - 1)

    def _cut(self, tokens: tuple[int, ...]) -> tuple[tuple[int, ...], FinishReason]:
        num_remaining = self.request.num_prompt + self.request.max_tokens - len(self.committed)
        for i, token in enumerate(tokens[:num_remaining]):
            if token in self._end_tokens:
                return tokens[: i + 1], FinishReason.STOP
        return tokens[:num_remaining], FinishReason.LENGTH if len(tokens) >= num_remaining else FinishReason.NONE


def num_common(tokens: Sequence[int], others: Sequence[int]) -> int:
    """Length of the common prefix."""
    num_equal = 0
    for token, other in zip(tokens, others):  # noqa: B905 (mypyc compiles zip only without keywords)
        if token != other:
            break
        num_equal += 1
    return num_equal


def num_right(proposal: Propose, verdict: Verdict) -> int:
    """Proposed tokens that the verdict commits.

    The verdict's own count leaves the last committed token out: one that ends the answer, or where only the first
    tokens of the proposal were verified, the target's own in place of the next.
    """
    num_accepted = verdict.num_accepted
    is_last_right = proposal.tokens[num_accepted : num_accepted + 1] == (verdict.next_token,)
    return num_accepted + (is_last_right and not verdict.co_located_tokens)


def repeat_last_verdict(last: Verdict, propose: Propose) -> RepeatedProposal:
    """The last verdict of a finished stream again, if the proposal is the one that it answered.

    Raises ProtocolError (stream) for a proposal of another epoch or of a later round.
    """
    if propose.epoch != last.epoch:
        raise ProtocolError(
            ErrorCode.STALE_EPOCH, f"epoch is {propose.epoch}, the stream is at {last.epoch}", last.stream
        )
    if propose.round > last.round:
        raise ProtocolError(
            ErrorCode.WRONG_ROUND, f"proposal of round {propose.round} when the stream is finished", last.stream
        )
    return RepeatedProposal(last if propose.round == last.round else None)


class DrafterStream:
    """The drafter's end of one stream. `opening` is the first Open to send (epoch 0).

    Order of calls: on_verdict for round 0; then, while is_ready, propose and on_verdict. A verdict with a token id of
    vocab_size or more is an error.
    """

    def __init__(self, opening: Open, vocab_size: int = 2**32) -> None:
        self.opening = opening
        self.mode = opening.mode
        """As this end last asked for it."""
        self.never_proposes = self.mode is not Mode.DISTRIBUTED
        """Every round is local, once a grant of before is answered by an empty proposal."""
        self.committed = list(opening.tokens)
        self.grant = 0
        self.shadow = 0
        """Tokens that a shadow draft may have, as the last verdict requests it; 0: it requests none."""
        self.finish = FinishReason.NONE
        self._vocab_size = vocab_size
        self._committed_crc32 = tokens_crc32(opening.tokens)
        self._next_round = 0  # the round that awaits its verdict or, if none does, its proposal
        self._pending: Propose | None = None

    @property
    def is_ready(self) -> bool:
        """The stream must propose: the last verdict is received, has a grant, and is not the last of the stream."""
        is_due = self._next_round > 0 and self._pending is None and not self.finish
        return is_due and self.grant > 0

    @property
    def max_draft(self) -> int:
        """Length of the longest useful draft: grant or shadow, or one token fewer than are still to be generated."""
        if self.never_proposes:
            return 0
        remaining = self.opening.num_prompt + self.opening.max_tokens - len(self.committed)
        return max(0, min(self.grant or self.shadow, remaining - 1))

    def change_mode(self, mode: Mode) -> ChangeMode:
        """The message that asks the verifier for this mode. An Open of a later epoch asks for it as well."""
        self.mode = mode
        self.never_proposes = mode is not Mode.DISTRIBUTED
        if self.never_proposes:
            self.shadow = 0
        return ChangeMode(self.opening.stream, self.opening.epoch, mode)

    def open_in(self, mode: Mode) -> None:
        """The next Open, which is still to be sent, asks for this mode."""
        self.change_mode(mode)
        self.opening = replace(self.opening, mode=mode)

    def propose(self, draft: Draft, drafting_s: float) -> Propose:
        """The proposal of the next round. `draft` has at most max_draft tokens, and is_ready must be true."""
        assert self.is_ready
        assert len(draft.tokens) <= self.max_draft
        self._pending = Propose(
            stream=self.opening.stream,
            epoch=self.opening.epoch,
            round=self._next_round,
            committed_length=len(self.committed),
            committed_crc32=self._committed_crc32,
            tokens=draft.tokens,
            confidences=tuple([round(255 * confidence) for confidence in draft.confidences]),
            draft_probs=draft.draft_probs,
            drafting_us=_to_us(drafting_s),
        )
        return self._pending

    def shadow_draft(
        self, round_: int, draft: Draft, committed_length: int, drafting_s: float, saved_s: float = 0.0
    ) -> ShadowDraft:
        """The answer to the verdict of this round; `draft` follows the first `committed_length` committed tokens."""
        return ShadowDraft(
            stream=self.opening.stream,
            epoch=self.opening.epoch,
            round=round_,
            committed_length=committed_length,
            tokens=draft.tokens,
            drafting_us=_to_us(drafting_s),
            saved_us=_to_us(saved_s),
        )

    def on_verdict(self, verdict: Verdict) -> tuple[int, ...]:
        """The newly committed tokens; empty for a repeated verdict and for one of another epoch.

        Raises ProtocolError (stream) if the verdict contradicts the state of this end.
        """
        if verdict.epoch != self.opening.epoch or verdict.round < self._next_round:
            return ()
        proposed = self._pending.tokens if self._pending else ()
        tokens = (*proposed[: verdict.num_accepted], *verdict.co_located_tokens, verdict.next_token)
        self._check_verdict(verdict, proposed, tokens)
        self.committed.extend(tokens)
        self._committed_crc32 = tokens_crc32(tokens, self._committed_crc32)
        self.grant = verdict.grant
        self.shadow = 0 if verdict.grant or self.never_proposes else verdict.shadow
        self.finish = verdict.finish
        self._next_round = verdict.round + 1
        self._pending = None
        return tokens

    @property
    def pending_proposal(self) -> Propose | None:
        """The proposal whose verdict is awaited; the host sends it again when it may have been lost."""
        return self._pending

    def reopen(self) -> Open:
        """The Open that resumes this unfinished stream in a new epoch, at the same or at another verifier."""
        assert not self.finish
        needs_prompt = self.opening.prompt_logprobs and len(self.committed) == self.opening.num_prompt
        self.opening = replace(
            self.opening,
            epoch=self.opening.epoch + 1,
            tokens=tuple(self.committed),
            mode=self.mode,
            prompt_logprobs=needs_prompt,
        )
        self._next_round = 0
        self._pending = None
        self.grant = self.shadow = 0
        return self.opening

    def _check_verdict(self, verdict: Verdict, proposed: tuple[int, ...], tokens: tuple[int, ...]) -> None:
        """Raises ProtocolError for a contradiction. `tokens` are those that follow from the verdict."""
        length = len(self.committed) + len(tokens)
        max_length = self.opening.num_prompt + self.opening.max_tokens
        is_due = self._pending is not None or self.grant == 0  # before round 0 and in local rounds the grant is 0
        wrong: list[str] = []
        if not is_due or self.finish:
            wrong.append("no verdict is due")
        if verdict.round != self._next_round:
            wrong.append(f"round {self._next_round} is due")
        if verdict.num_accepted > len(proposed):
            wrong.append(f"{len(proposed)} tokens were proposed")
        if len(verdict.co_located_tokens) > verdict.num_co_located:
            wrong.append("more co-located tokens than were verified")
        if verdict.committed_length != length:
            wrong.append(f"{length} tokens are committed")
        if length > max_length:
            wrong.append(f"the maximum length is {max_length}")
        if length == max_length and not verdict.finish:
            wrong.append("not finished")
        if max(tokens) >= self._vocab_size:
            wrong.append(f"the vocabulary has {self._vocab_size}")
        if not _has_all_logprobs(verdict, self.opening, len(tokens)):
            wrong.append("the number of log-probabilities is wrong")
        if wrong:
            raise ProtocolError(ErrorCode.DIVERGED, f"{verdict}: {', '.join(wrong)}", verdict.stream)


def _has_all_logprobs(verdict: Verdict, opening: Open, num_tokens: int) -> bool:
    """Whether a verdict that commits `num_tokens` has all log-probabilities that its stream has requested."""
    num_prompt = opening.num_prompt - 1 if verdict.round == 0 and opening.prompt_logprobs else 0
    expected = [num_tokens if opening.logprobs else 0, num_prompt]
    expected_top = expected if opening.top_logprobs else [0, 0]
    return [len(verdict.logprobs), len(verdict.prompt_logprobs)] == expected and [
        len(verdict.top_logprobs),
        len(verdict.prompt_top_logprobs),
    ] == expected_top


def _to_us(seconds: float) -> int:
    return min(round(seconds * 1e6), MAX_ROUND_US)
