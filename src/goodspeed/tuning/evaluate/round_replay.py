"""Recorded answers shown to a draft engine round by round, as a verifier would commit them: its rounds, its times.

Greedy and coupled answers only: what is accepted follows from what was said.
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
    verified: int  # tokens in the target's step
    committed: int


@dataclass(slots=True)
class RoundReplay:
    """What became of the drafts of one engine over some answers."""

    rounds: list[ReplayedRound] = field(default_factory=list)
    judged: list[tuple[float, bool]] = field(default_factory=list)
    """(confidence, accepted) of every draft token all before which were accepted"""
    batches: list[ReplayedBatch] = field(default_factory=list)
    drafting_s: float = 0.0

    @property
    def accepted_per_round(self) -> RatioEstimate:
        return ratio_of_sums((one.prompt, one.accepted, 1) for one in self.rounds)

    @property
    def proposed_per_round(self) -> RatioEstimate:
        return ratio_of_sums((one.prompt, one.proposed, 1) for one in self.rounds)

    @property
    def drafting_s_per_token(self) -> float:
        return self.drafting_s / max(1, sum(one.proposed for one in self.rounds))

    def speedup(self, step_s: float, token_s: float) -> float:
        """Committed tokens per second beside the target alone in the same batch, over the batches that were full."""
        num_streams = max(batch.streams for batch in self.batches)
        full = [batch for batch in self.batches if batch.streams == num_streams]
        alone = num_streams / (step_s + token_s * num_streams)
        took_s = step_s * len(full) + token_s * sum(batch.verified for batch in full)
        return sum(batch.committed for batch in full) / took_s / alone


@dataclass(slots=True)
class _Stream:
    key: int
    answer: ScoredAnswer
    num_committed: int = 1  # round 0 is the target's own token

    def wanted(self, window: int) -> int:
        """The answer's last token is the target's own."""
        return max(0, min(window, len(self.answer.tokens) - self.num_committed - 1))


class RoundReplayer:
    """Shows answers to a draft engine, some streams at a time; the engine learns from them."""

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
        requests = [DraftRequest(stream.key, stream.wanted(window), min_survival) for stream in active]
        begin = time.perf_counter()
        drafts = self._engine.draft(requests)
        replay.drafting_s += time.perf_counter() - begin
        committed = 0
        for stream, draft in zip(active, drafts, strict=True):
            said = stream.answer.tokens[stream.num_committed :]
            accepted = next((i for i, token in enumerate(draft.tokens) if said[i] != token), len(draft.tokens))
            judged = draft.confidences[: accepted + 1]
            replay.judged.extend((confidence, i < accepted) for i, confidence in enumerate(judged))
            replay.rounds.append(ReplayedRound(stream.answer.prompt, len(draft.tokens), accepted))
            self._engine.commit(stream.key, said[: accepted + 1])
            stream.num_committed += accepted + 1
            committed += accepted + 1
        replay.batches.append(ReplayedBatch(len(active), sum(len(draft.tokens) + 1 for draft in drafts), committed))
