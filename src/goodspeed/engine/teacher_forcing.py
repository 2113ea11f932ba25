"""A draft engine judged at every place of given answers: the full knowledge that no live round has.

Before each token of an answer the engine drafts one, as if it had drafted all before it rightly. That is what it would
draft there in a round of any length, since its tokens are functions of the text so far (greedy and coupled).
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from goodspeed.decoding.draft import Draft, DraftRequest
from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.engine.interface import DraftEngine
from goodspeed.errors import ConfigError
from goodspeed.records.acceptance_trace import RIGHT, WRONG, TracedAnswer


@dataclass(frozen=True, slots=True)
class Written:
    """What a target wrote, in tokens; neither is empty."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    sampling: Sampling


@dataclass(slots=True)
class _Forced:
    """An answer in the making; the depth is counted since the last wrong draft token."""

    request: int
    written: Written
    judged: list[str] = field(default_factory=list)
    confidences: list[float] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)
    drafting_s: list[float] = field(default_factory=list)

    @property
    def is_over(self) -> bool:
        return len(self.judged) == len(self.written.answer)

    def judge(self, draft: Draft, drafting_s: float) -> int:
        """Compare with the answer's next token, and tell it. Nothing drafted is wrong, with confidence 0."""
        token = self.written.answer[len(self.judged)]
        self.depths.append(self.depths[-1] + 1 if self.judged and self.judged[-1] == RIGHT else 0)
        self.judged.append(RIGHT if draft.tokens == (token,) else WRONG)
        self.confidences.append(round(draft.confidences[0], 4) if draft.confidences else 0.0)
        self.drafting_s.append(round(drafting_s, 7))
        return token

    def answer(self, client: str) -> TracedAnswer:
        return TracedAnswer(
            client=client,
            request=self.request,
            temperature=self.written.sampling.temperature,
            num_prompt=len(self.written.prompt),
            finish="LENGTH",
            draft_outcomes="".join(self.judged),
            confidences=tuple(self.confidences),
            depths=tuple(self.depths),
            drafting_s=tuple(self.drafting_s),
        )


def judged_by_force(
    engine: DraftEngine,
    texts: Sequence[Written],
    client: str,
    num_streams: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[TracedAnswer]:
    """As the answers end, `num_streams` at a time; the engine learns from them if it learns.

    Raises ConfigError for a text that was written under the rejection rule: there chance decides what is accepted.
    """
    if any(text.sampling.rule is Rule.REJECTION for text in texts):
        raise ConfigError("a text was written under the rejection rule, expected greedy or coupled ones")
    waiting = [_Forced(request, text) for request, text in enumerate(texts)][::-1]
    active: list[_Forced] = []
    while waiting or active:
        while waiting and len(active) < num_streams:
            active.append(waiting.pop())
            engine.open(active[-1].request, active[-1].written.prompt, active[-1].written.sampling)
        _step(engine, active, clock)
        for forced in [forced for forced in active if forced.is_over]:
            active.remove(forced)
            engine.close(forced.request)
            yield forced.answer(client)


def _step(engine: DraftEngine, active: Sequence[_Forced], clock: Callable[[], float]) -> None:
    """One token of every active answer."""
    begin = clock()
    drafts = engine.draft([DraftRequest(forced.request, 1) for forced in active])
    drafting_s = clock() - begin
    for forced, draft in zip(active, drafts, strict=True):
        engine.commit(forced.request, [forced.judge(draft, drafting_s)])
