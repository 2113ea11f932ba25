"""Replay of recorded answers to a draft engine round by round, as a verifier would commit them, with drafting times.

Greedy and coupled answers only: the accepted draft tokens are those that match the answer.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from goodspeed.decoding.draft import DraftRequest
from goodspeed.engine.interface import DraftEngine
from goodspeed.stats.ratio_estimate import RatioEstimate, ratio_of_sums
from goodspeed.tuning.data.scored_answer import ScoredAnswer


@dataclass(frozen=True, slots=True)
class ReplayedRound:
    """One round of one stream."""

    prompt: tuple[int, ...]
    proposed: int
    accepted: int


@dataclass(frozen=True, slots=True)
class ReplayedBatch:
    """The rounds of all streams at a time."""

    streams: int
    verified: int  # tokens of the target's step
    committed: int


@dataclass(slots=True)
class RoundReplay:
    """The rounds of one engine over some answers."""

    rounds: list[ReplayedRound] = field(default_factory=list)
    outcomes: list[tuple[float, bool]] = field(default_factory=list)
    """(confidence, is accepted) of every draft token whose predecessors were accepted."""
    batches: list[ReplayedBatch] = field(default_factory=list)
    drafting_s: float = 0.0

    @property
    def accepted_per_round(self) -> RatioEstimate:
        return ratio_of_sums((replayed.prompt, replayed.accepted, 1) for replayed in self.rounds)

    @property
    def proposed_per_round(self) -> RatioEstimate:
        return ratio_of_sums((replayed.prompt, replayed.proposed, 1) for replayed in self.rounds)

    @property
    def drafting_s_per_token(self) -> float:
        return self.drafting_s / max(1, sum(replayed.proposed for replayed in self.rounds))

    def speedup(self, step_s: float, token_s: float) -> float:
        """Goodput relative to the target-only baseline at the same batch size, over the full batches.

        A target step takes step_s + token_s * (number of tokens).
        """
        num_streams = max(batch.streams for batch in self.batches)
        full = [batch for batch in self.batches if batch.streams == num_streams]
        baseline = num_streams / (step_s + token_s * num_streams)
        took_s = step_s * len(full) + token_s * sum(batch.verified for batch in full)
        return sum(batch.committed for batch in full) / took_s / baseline


@dataclass(slots=True)
class _Stream:
    key: int
    answer: ScoredAnswer
    num_committed: int = 1  # the first token is the target's own, from the prefill

    def num_requested(self, window: int) -> int:
        """Draft tokens to request; the answer's last token is left to the target."""
        return max(0, min(window, len(self.answer.tokens) - self.num_committed - 1))


class RoundReplayer:
    """Replays answers to a draft engine, `num_streams` at a time. The engine learns from them if it learns."""

    def __init__(self, engine: DraftEngine, num_streams: int) -> None:
        self._engine = engine
        self._num_streams = num_streams
        self._num_opened = 0

    def replay(self, answers: Sequence[ScoredAnswer], window: int, min_survival: float = 0.0) -> RoundReplay:
        replay, waiting, active = RoundReplay(), list(reversed(answers)), list[_Stream]()
        while waiting or active:
            while waiting and len(active) < self._num_streams:
                active.append(self._open(waiting.pop()))
            self._round(active, window, min_survival, replay)
            for stream in [stream for stream in active if stream.num_committed >= len(stream.answer.tokens)]:
                active.remove(stream)
                self._engine.close(stream.key)
        return replay

    def _open(self, answer: ScoredAnswer) -> _Stream:
        self._num_opened += 1
        self._engine.open(self._num_opened, answer.prompt, answer.sampling)
        self._engine.commit(self._num_opened, answer.tokens[:1])
        return _Stream(self._num_opened, answer)

    def _round(self, active: Sequence[_Stream], window: int, min_survival: float, replay: RoundReplay) -> None:
        requests = [DraftRequest(stream.key, stream.num_requested(window), min_survival) for stream in active]
        start_s = time.perf_counter()
        drafts = self._engine.draft(requests)
        replay.drafting_s += time.perf_counter() - start_s
        committed = 0
        for stream, draft in zip(active, drafts, strict=True):
            remaining = stream.answer.tokens[stream.num_committed :]
            accepted = next((i for i, token in enumerate(draft.tokens) if remaining[i] != token), len(draft.tokens))
            reached = draft.confidences[: accepted + 1]
            replay.outcomes.extend((confidence, i < accepted) for i, confidence in enumerate(reached))
            replay.rounds.append(ReplayedRound(stream.answer.prompt, len(draft.tokens), accepted))
            self._engine.commit(stream.key, remaining[: accepted + 1])
            stream.num_committed += accepted + 1
            committed += accepted + 1
        replay.batches.append(ReplayedBatch(len(active), sum(len(draft.tokens) + 1 for draft in drafts), committed))
