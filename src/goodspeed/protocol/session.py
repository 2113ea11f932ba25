"""The protocol's rules without I/O: who may say what next, on either side of a stream.

VerifierStream and DrafterStream are the two ends of one stream. They hold the committed tokens, check epochs, rounds,
lengths and digests, answer repetitions, and know how a stream is resumed. Hosts move their messages.
"""

import sys
import zlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from goodspeed.decoding.draft import Draft
from goodspeed.engine.interface import Outcome, StreamSpec
from goodspeed.errors import ErrorCode, ProtocolError
from goodspeed.protocol.limits import check_draft
from goodspeed.protocol.messages import FinishReason, Mode, Open, Propose, Verdict, Welcome

MAX_ROUND_US = 2**32 - 1


def tokens_crc32(tokens: Sequence[int], start: int = 0) -> int:
    """CRC-32 over the tokens as little-endian uint32, continuing from the digest `start` of the tokens before them."""
    words = array("I", tokens)
    if sys.byteorder == "big":
        words.byteswap()
    return zlib.crc32(words, start)


@dataclass(frozen=True, slots=True)
class RepeatedProposal:
    """A proposal that was seen before: send `verdict` again, or nothing if it is still being verified."""

    verdict: Verdict | None


class VerifierStream:
    """The verifier's end of one stream, from an Open that check_open passed."""

    def __init__(self, request: Open, welcome: Welcome) -> None:
        self.request = request
        self.opened_target_only = request.mode is Mode.TARGET_ONLY
        self.committed = list(request.tokens)
        self._finish = FinishReason.NONE
        self._news: tuple[int, ...] = ()  # committed last
        self._news_logprobs: tuple[float, ...] = ()
        self._welcome = welcome
        self._end_tokens = frozenset(request.end_tokens)
        self._committed_crc32 = tokens_crc32(request.tokens)
        self._round = 0  # being judged, or judged last
        self._pending: Propose | None = None
        self._verdict: Verdict | None = None  # None until the prefix is prefilled
        self.max_grant = self._usable()
        """How long a proposal the stream can use."""

    def spec(self) -> StreamSpec:
        """The stream as the engine sees it."""
        request = self.request
        capacity = request.num_prompt + request.max_tokens  # grants keep proposals within it
        return StreamSpec(request.tokens, request.sampling, capacity, request.logprobs)

    def on_propose(self, propose: Propose) -> Propose | RepeatedProposal:
        """The proposal itself if it is new and in order. Raises ProtocolError (stream) otherwise."""
        if propose.epoch != self.request.epoch:
            raise ProtocolError(
                ErrorCode.STALE_EPOCH,
                f"epoch is {propose.epoch}, the stream is at {self.request.epoch}",
                propose.stream,
            )
        if propose.round == self._round and (self._pending or self._verdict):
            return RepeatedProposal(None if self._pending else self._verdict)
        self._check_turn(propose)
        self._check_prefix(propose)
        check_draft(propose, self._welcome.vocab_size)
        self._pending = propose
        self._round = propose.round
        return propose

    def trim(self, num_tokens: int) -> Propose:
        """Keep only the first tokens of the pending proposal (allowed at any length that ignores which were drawn)."""
        assert self._pending is not None
        pending = self._pending
        self._pending = replace(
            pending,
            tokens=pending.tokens[:num_tokens],
            confidences=pending.confidences[:num_tokens],
            draft_probs=pending.draft_probs[:num_tokens],
        )
        return self._pending

    def on_outcome(self, outcome: Outcome) -> None:
        """Commit what the engine decided, cut at an end token or at max_tokens; `make_verdict` then tells the drafter.

        Call it for the outcome that ends the prefill (round 0), for each pending proposal, and for each step of a
        stream that goes on alone.
        """
        assert outcome.next_token is not None
        if self._pending is None and self._verdict is not None:
            self._round += 1  # it goes on alone: no proposal announced this round
        drafted = self._pending.tokens[: outcome.num_accepted] if self._pending else ()
        tokens, self._finish = self._cut((*drafted, outcome.next_token))
        self._news, self._news_logprobs = tokens, outcome.logprobs[: len(tokens)]
        self.committed.extend(tokens)
        self._committed_crc32 = tokens_crc32(tokens, self._committed_crc32)
        self._pending = None
        self.max_grant = self._usable()

    @property
    def is_finished(self) -> bool:
        return bool(self._finish)

    @property
    def is_target_only(self) -> bool:
        """The next verdict waits for no proposal: the last one granted nothing (as always in fused mode)."""
        return self._verdict is not None and self._verdict.grant == 0 and not self.is_finished

    @property
    def has_verdict(self) -> bool:
        """Its first verdict is made."""
        return self._verdict is not None

    @property
    def num_new_tokens(self) -> int:
        """Tokens that the last outcome committed."""
        return len(self._news)

    def make_verdict(
        self, grant: int, queue_s: float, verify_s: float, reckoned_us: tuple[int, int] = (0, 0)
    ) -> Verdict:
        """The verdict on what on_outcome has committed. `grant` is what the scheduler allows, cut to max_grant.

        `reckoned_us`: what the target alone would have taken, and what it took, since the opening; 0: not known.
        """
        self._verdict = Verdict(
            stream=self.request.stream,
            epoch=self.request.epoch,
            round=self._round,
            num_accepted=len(self._news) - 1,
            next_token=self._news[-1],
            committed_length=len(self.committed),
            grant=min(grant, self.max_grant),
            finish=self._finish,
            queue_us=min(round(queue_s * 1e6), MAX_ROUND_US),
            verify_us=min(round(verify_s * 1e6), MAX_ROUND_US),
            logprobs=self._news_logprobs,
            baseline_us=reckoned_us[0],
            elapsed_us=reckoned_us[1],
        )
        return self._verdict

    def _check_turn(self, propose: Propose) -> None:
        is_due = self._verdict is not None and self._pending is None and not self.is_finished
        if not is_due or propose.round != self._round + 1 or self.is_target_only:
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
                f"prefix of {propose.committed_length} tokens with digest {propose.committed_crc32:#x}, "
                f"committed are {len(self.committed)} with {self._committed_crc32:#x}",
                propose.stream,
            )
        if len(propose.tokens) > self._verdict.grant:
            raise ProtocolError(
                ErrorCode.OVER_GRANT, f"{len(propose.tokens)} tokens, granted are {self._verdict.grant}", propose.stream
            )

    def _state(self) -> str:
        if self.is_finished:
            return "finished"
        if self.opened_target_only:
            return "in fused mode"
        if self._verdict is None:
            return "being prefilled"
        if self.is_target_only:
            return f"going on alone after round {self._round}"
        return f"{'verifying' if self._pending else 'past'} round {self._round}"

    def _usable(self) -> int:
        """A proposal longer than what is still wanted, less the target's own token, would be verified for nothing."""
        if self.is_finished or self.opened_target_only:
            return 0
        num_wanted = self.request.num_prompt + self.request.max_tokens - len(self.committed)
        return min(self._welcome.max_proposal, num_wanted - 1)

    def _cut(self, tokens: tuple[int, ...]) -> tuple[tuple[int, ...], FinishReason]:
        room = self.request.num_prompt + self.request.max_tokens - len(self.committed)
        for i, token in enumerate(tokens[:room]):
            if token in self._end_tokens:
                return tokens[: i + 1], FinishReason.STOP
        return tokens[:room], FinishReason.LENGTH if len(tokens) >= room else FinishReason.NONE


def repeat_last_verdict(last: Verdict, propose: Propose) -> Verdict:
    """For a stream that has ended with this verdict: the verdict again, for the proposal that it answered.

    Raises ProtocolError (stream) for any other proposal.
    """
    if propose.epoch != last.epoch:
        raise ProtocolError(
            ErrorCode.STALE_EPOCH, f"epoch is {propose.epoch}, the stream is at {last.epoch}", last.stream
        )
    if propose.round != last.round:
        raise ProtocolError(
            ErrorCode.WRONG_ROUND, f"proposal of round {propose.round} when the stream is finished", last.stream
        )
    return last


class DrafterStream:
    """The drafter's end of one stream. `opening` is the Open to send first (epoch 0).

    With the verifier's vocab_size given, a verdict with a token outside it is a contradiction like any other.
    """

    def __init__(self, opening: Open, vocab_size: int = 2**32) -> None:
        self.opening = opening
        self.opened_target_only = opening.mode is Mode.TARGET_ONLY
        self.committed = list(opening.tokens)
        self.grant = 0
        self.finish = FinishReason.NONE
        self._vocab_size = vocab_size
        self._committed_crc32 = tokens_crc32(opening.tokens)
        self._next_round = 0  # whose verdict is awaited, or whose proposal is next
        self._pending: Propose | None = None

    @property
    def is_ready(self) -> bool:
        """May propose: the last verdict has come with a grant, and the stream goes on."""
        is_due = self._next_round > 0 and self._pending is None and not self.finish
        return is_due and self.grant > 0 and not self.opened_target_only

    @property
    def max_draft(self) -> int:
        """Longest useful proposal: within the grant, and one short of what is still wanted."""
        remaining = self.opening.num_prompt + self.opening.max_tokens - len(self.committed)
        return max(0, min(self.grant, remaining - 1))

    def propose(self, draft: Draft, drafting_s: float) -> Propose:
        """The next round's proposal; `draft` is at most max_draft long."""
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
            drafting_us=min(round(drafting_s * 1e6), MAX_ROUND_US),
        )
        return self._pending

    def on_verdict(self, verdict: Verdict) -> tuple[int, ...]:
        """The newly committed tokens; empty for a repetition or a verdict of an older epoch.

        Raises ProtocolError (stream) if the verifier contradicts what this end knows.
        """
        if verdict.epoch != self.opening.epoch or verdict.round < self._next_round:
            return ()
        drafted = self._pending.tokens if self._pending else ()
        tokens = (*drafted[: verdict.num_accepted], verdict.next_token)
        self._check_verdict(verdict, drafted, len(self.committed) + len(tokens))
        self.committed.extend(tokens)
        self._committed_crc32 = tokens_crc32(tokens, self._committed_crc32)
        self.grant = verdict.grant
        self.finish = verdict.finish
        self._next_round = verdict.round + 1
        self._pending = None
        return tokens

    @property
    def pending_proposal(self) -> Propose | None:
        """The proposal whose verdict is awaited; the host sends it again when it may have been lost."""
        return self._pending

    def reopen(self) -> Open:
        """The Open that resumes this unfinished stream, here or at another verifier, in a new epoch."""
        assert not self.finish
        self.opening = replace(self.opening, epoch=self.opening.epoch + 1, tokens=tuple(self.committed))
        self._next_round = 0
        self._pending = None
        self.grant = 0
        return self.opening

    def _check_verdict(self, verdict: Verdict, drafted: tuple[int, ...], length: int) -> None:
        """`length` is what the verdict should commit in all. Raises ProtocolError for a contradiction."""
        last_length = self.opening.num_prompt + self.opening.max_tokens
        is_due = self._pending is not None or self.grant == 0  # nothing is granted before round 0, nor in fused mode
        wrong: list[str] = []
        if not is_due or self.finish:
            wrong.append("unasked")
        if verdict.round != self._next_round:
            wrong.append(f"expected was round {self._next_round}")
        if verdict.num_accepted > len(drafted):
            wrong.append(f"proposed were {len(drafted)}")
        if verdict.committed_length != length:
            wrong.append(f"committed are {length}")
        if length > last_length:
            wrong.append(f"the last length is {last_length}")
        if length == last_length and not verdict.finish:
            wrong.append("not finished")
        if verdict.next_token >= self._vocab_size:
            wrong.append(f"the vocabulary has {self._vocab_size}")
        if verdict.logprobs and len(verdict.logprobs) != verdict.num_accepted + 1:
            wrong.append("log-probabilities do not match")
        if wrong:
            raise ProtocolError(ErrorCode.DIVERGED, f"{verdict}: {', '.join(wrong)}", verdict.stream)
