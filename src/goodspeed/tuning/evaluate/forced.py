"""What a draft engine would have drafted at every position of recorded answers, all before it being known.

One pass tells everything that a window could bring: a draft token is a function of the prefix (under rejection, its
distribution is), so what stands at any place of a draft, once all before it are accepted, is what stands there here.
The hybrid learns after every token instead of after every round, which flatters it a little (docs/evaluate.md).
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from goodspeed.decoding.draft import Draft, DraftRequest, SparseProbs, StreamKey
from goodspeed.decoding.sampling import Rule
from goodspeed.engine.interface import DraftEngine
from goodspeed.tuning.data.scored_answer import ScoredAnswer


@dataclass(slots=True)
class Forced:
    """One answer; a draft is asked for every token but the first, which is the target's own (the prefill's)."""

    answer: ScoredAnswer
    chances: list[float] = field(default_factory=list)
    """[tokens - 1]: Pr(the draft token is accepted); 0 or 1 but under the rejection rule; 0 where nothing is drafted"""
    confidences: list[float | None] = field(default_factory=list)
    """[tokens - 1]: what the engine said of that; None where nothing is drafted"""


@dataclass(slots=True)
class _Stream:
    key: StreamKey
    forced: Forced

    @property
    def place(self) -> int:
        return 1 + len(self.forced.chances)

    @property
    def is_over(self) -> bool:
        return self.place >= len(self.forced.answer.tokens)


def force(
    engine: DraftEngine,
    answers: Sequence[ScoredAnswer],
    num_streams: int,
    on_answer: Callable[[], object] = lambda: None,
) -> list[Forced]:
    """The engine at every position of the answers, in their order, so many streams at a time. It learns from them."""
    keys = itertools.count(1)
    waiting = [_Stream(next(keys), Forced(answer)) for answer in answers]
    judged, active = [stream.forced for stream in waiting], list[_Stream]()
    waiting.reverse()
    while waiting or active:
        while waiting and len(active) < num_streams:
            active.append(_opened(engine, waiting.pop()))
        drafts = engine.draft([DraftRequest(stream.key, 1) for stream in active])
        for stream, draft in zip(active, drafts, strict=True):
            _judge(stream, draft)
            engine.commit(stream.key, stream.forced.answer.tokens[stream.place - 1 : stream.place])
        for stream in [stream for stream in active if stream.is_over]:
            active.remove(stream)
            engine.close(stream.key)
            on_answer()
    return judged


def _opened(engine: DraftEngine, stream: _Stream) -> _Stream:
    answer = stream.forced.answer
    engine.open(stream.key, answer.prompt, answer.sampling)
    engine.commit(stream.key, answer.tokens[:1])
    return stream


def _judge(stream: _Stream, draft: Draft) -> None:
    forced, place = stream.forced, stream.place
    forced.chances.append(_chance(forced.answer, place, draft) if draft.tokens else 0.0)
    forced.confidences.append(draft.confidences[0] if draft.tokens else None)


def _chance(answer: ScoredAnswer, place: int, draft: Draft) -> float:
    said = answer.tokens[place]
    if answer.sampling.rule is not Rule.REJECTION or not draft.draft_probs:  # one-hot: accepted iff it is what was said
        return float(draft.tokens[0] == said)
    return min(1.0, _prob(draft.draft_probs[0], said) / answer.target_probs[place])


def _prob(probs: SparseProbs, token: int) -> float:
    is_token = probs.token_ids == token
    return float(probs.weights[is_token].sum() / probs.weights.sum(dtype=float))
