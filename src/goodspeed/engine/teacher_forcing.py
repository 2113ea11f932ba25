"""Teacher forcing: what a draft engine proposes at every position of a given answer, all earlier tokens being known.

Before each token of an answer the engine drafts one token on top of the answer so far. A draft token is a function of
the prefix (under the rejection rule its distribution is). So this is what the engine drafts at that position in a round
of any length, once all tokens before it are accepted. One pass therefore covers every window.

An engine that learns does so after every token instead of after every round, which flatters it a little
(docs/explain/draft_evaluation.md).
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from goodspeed.decoding.draft import Draft, DraftRequest, SparseProbs
from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.engine.interface import DraftEngine
from goodspeed.errors import ConfigError
from goodspeed.records.acceptance_trace import RIGHT, WRONG, TracedAnswer


class TargetAnswer(Protocol):
    """An answer that a target wrote to a prompt; both have at least one token."""

    @property
    def prompt(self) -> tuple[int, ...]: ...

    @property
    def tokens(self) -> tuple[int, ...]: ...

    @property
    def sampling(self) -> Sampling: ...

    @property
    def target_probs(self) -> tuple[float, ...]:
        """The target's probability of each token; only used under the rejection rule."""


A = TypeVar("A", bound=TargetAnswer)


@dataclass(slots=True)
class TeacherForced(Generic[A]):
    """An answer and what the engine drafted at each position from `first_position` on."""

    number: int
    """Index of the answer among those given; also its stream key in the engine."""
    answer: A
    first_position: int
    acceptance_probs: list[float] = field(default_factory=list)
    """Pr(the draft token is accepted): 0 or 1 except under the rejection rule; 0 if nothing is drafted."""
    confidences: list[float | None] = field(default_factory=list)
    """The engine's confidence in the draft token; None if nothing is drafted."""
    drafting_s: list[float] = field(default_factory=list)
    """Time of the engine call that drafted the token, for all streams of the call together."""

    @property
    def position(self) -> int:
        """The next position of the answer."""
        return self.first_position + len(self.acceptance_probs)

    @property
    def is_complete(self) -> bool:
        return self.position >= len(self.answer.tokens)

    def add(self, draft: Draft, drafting_s: float) -> None:
        """Compare a draft of at most one token with the next position of the answer."""
        self.acceptance_probs.append(_acceptance_prob(self.answer, self.position, draft) if draft.tokens else 0.0)
        self.confidences.append(draft.confidences[0] if draft.tokens else None)
        self.drafting_s.append(drafting_s)


def teacher_force(
    engine: DraftEngine,
    answers: Sequence[A],
    num_streams: int,
    first_position: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[TeacherForced[A]]:
    """Run the engine over the answers, `num_streams` at a time; yield each one when it is complete.

    `first_position` is 1 where the first token is the target's own, from the prefill, and 0 where it is drafted too.
    """
    waiting = [TeacherForced(number, answer, first_position) for number, answer in enumerate(answers)][::-1]
    active: list[TeacherForced[A]] = []
    while waiting or active:
        while waiting and len(active) < num_streams:
            active.append(waiting.pop())
            _open(engine, active[-1])
        _step(engine, active, clock)
        for forced in [forced for forced in active if forced.is_complete]:
            active.remove(forced)
            engine.close(forced.number)
            yield forced


def teacher_force_all(
    engine: DraftEngine, answers: Sequence[A], num_streams: int, on_answer: Callable[[], object] = lambda: None
) -> list[TeacherForced[A]]:
    """The results of teacher_force in the order of the answers; `on_answer` is called as each completes."""
    completed = []
    for forced in teacher_force(engine, answers, num_streams):
        completed.append(forced)
        on_answer()
    return sorted(completed, key=lambda forced: forced.number)


def teacher_forced_trace(
    engine: DraftEngine,
    answers: Sequence[TargetAnswer],
    client: str,
    num_streams: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[TracedAnswer]:
    """The acceptance trace of the answers, every token of them drafted, in the order in which they complete.

    Raises ConfigError for an answer under the rejection rule: its draft tokens are accepted at random.
    """
    if any(answer.sampling.rule is Rule.REJECTION for answer in answers):
        raise ConfigError("an answer was generated under the rejection rule, expected greedy or coupled")
    for forced in teacher_force(engine, answers, num_streams, first_position=0, clock=clock):
        yield _traced_answer(forced, client)


def _open(engine: DraftEngine, forced: TeacherForced[A]) -> None:
    answer = forced.answer
    engine.open(forced.number, answer.prompt, answer.sampling)
    if forced.first_position:
        engine.commit(forced.number, answer.tokens[: forced.first_position])


def _step(engine: DraftEngine, active: Sequence[TeacherForced[A]], clock: Callable[[], float]) -> None:
    """Draft and commit one token of every active answer."""
    start = clock()
    drafts = engine.draft([DraftRequest(forced.number, 1) for forced in active])
    drafting_s = clock() - start
    for forced, draft in zip(active, drafts, strict=True):
        token = forced.answer.tokens[forced.position]
        forced.add(draft, drafting_s)
        engine.commit(forced.number, (token,))


def _acceptance_prob(answer: TargetAnswer, position: int, draft: Draft) -> float:
    token = answer.tokens[position]
    if answer.sampling.rule is not Rule.REJECTION or not draft.draft_probs:  # one-hot: accepted iff it is this token
        return float(draft.tokens[0] == token)
    return min(1.0, _prob(draft.draft_probs[0], token) / answer.target_probs[position])


def _prob(probs: SparseProbs, token: int) -> float:
    is_token = probs.token_ids == token
    return float(probs.weights[is_token].sum() / probs.weights.sum(dtype=float))


def _traced_answer(forced: TeacherForced[A], client: str) -> TracedAnswer:
    draft_outcomes = "".join(RIGHT if prob == 1.0 else WRONG for prob in forced.acceptance_probs)
    return TracedAnswer(
        client=client,
        request=forced.number,
        temperature=forced.answer.sampling.temperature,
        num_prompt=len(forced.answer.prompt),
        finish="LENGTH",
        draft_outcomes=draft_outcomes,
        confidences=tuple(round(confidence or 0.0, 4) for confidence in forced.confidences),
        depths=tuple(_depths(draft_outcomes)),
        drafting_s=tuple(round(seconds, 7) for seconds in forced.drafting_s),
    )


def _depths(draft_outcomes: str) -> Iterator[int]:
    """For each token the number of right draft tokens directly before it."""
    depth = 0
    for outcome in draft_outcomes:
        yield depth
        depth = depth + 1 if outcome == RIGHT else 0
