"""One draft before one data set: everything that `goodspeed tune evaluate` says of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from goodspeed.decoding.sampling import Rule
from goodspeed.engine.drafts import DraftConfig, draft_engine
from goodspeed.engine.interface import DraftEngine, TargetEngine
from goodspeed.tuning.data.dataset import Dataset, DatasetInfo
from goodspeed.tuning.data.example import Example
from goodspeed.tuning.data.scored_answer import ScoredAnswer, scored_answers
from goodspeed.tuning.evaluate.goodput import GoodputBench, GoodputLoad
from goodspeed.tuning.evaluate.quality import WINDOW, Quality, quality
from goodspeed.tuning.evaluate.reliability import reliability_diagram
from goodspeed.tuning.evaluate.report import DraftReport, ReplayMetrics
from goodspeed.tuning.evaluate.round_replay import RoundReplayer


@dataclass(frozen=True, slots=True)
class EvaluationPlan:
    """How drafts are judged."""

    num_prompts: int = 100
    """Whose answers are used; 0: all."""
    seed: int = 0
    """Which prompts, and in which order."""
    streams: int = 4
    window: int = 8
    """Longest draft where drafting goes round by round, and the survival at which it stops."""
    min_survival: float = 0.12
    goodput_answers: int = 8


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Recorded answers that drafts are judged by."""

    facts: DatasetInfo
    examples: Sequence[Example]
    unseen: frozenset[str] = frozenset()
    """Categories of these answers that the drafts never learned from, where that is known."""

    @classmethod
    def read(cls, folder: Path, plan: EvaluationPlan, trained_on: Path | None = None) -> "HeldOut":
        """`trained_on`: the data set that the drafts learned from, if it is known. Raises DataError."""
        dataset = Dataset.open(folder)
        unseen = dataset.categories - Dataset.open(trained_on).categories if trained_on else frozenset()
        return cls(dataset.facts, chosen(list(dataset.examples()), plan.num_prompts, plan.seed), unseen)

    @property
    def greedy(self) -> list[ScoredAnswer]:
        return scored_answers(self.examples, 0.0, Rule.GREEDY)

    def passes(self) -> list[list[ScoredAnswer]]:
        """The greedy answers; those of each other temperature, under both rules."""
        temperatures = sorted({one.origin.temperature for one in self.examples})
        rules = [(heat, rule) for heat in temperatures for rule in Rule if (heat == 0.0) == (rule is Rule.GREEDY)]
        found = [scored_answers(self.examples, heat, rule) for heat, rule in rules]
        return [answers for answers in found if answers]

    def bench(self, target: TargetEngine, plan: EvaluationPlan) -> GoodputBench:
        """For the goodput of drafts on these answers."""
        return GoodputBench(target, GoodputLoad(self.greedy[: plan.goodput_answers], plan.streams, WINDOW))


def chosen(examples: Sequence[Example], num_prompts: int, seed: int) -> list[Example]:
    """All answers to so many of the prompts, in an order that the seed fixes."""
    prompts = list({tuple(one.prompt.tolist()): None for one in examples})
    order = np.random.default_rng(seed).permutation(len(prompts))[: num_prompts or None]
    places = {prompts[number]: place for place, number in enumerate(order)}
    kept = [one for one in examples if tuple(one.prompt.tolist()) in places]
    return sorted(kept, key=lambda one: places[tuple(one.prompt.tolist())])


class DraftEvaluation:
    """Its engine is made anew for every pass: it learns while it drafts."""

    def __init__(self, config: DraftConfig, held_out: HeldOut, plan: EvaluationPlan) -> None:
        self._config = config
        self._held_out = held_out
        self._plan = plan

    def report(self, bench: GoodputBench | None, on_answer: Callable[[str], object]) -> DraftReport:
        """Everything; goodput where there is a bench for it. Raises CheckpointError, ConfigError."""
        facts, examples = self._held_out.facts, self._held_out.examples
        qualities = [self._quality(answers, on_answer) for answers in self._held_out.passes()]
        greedy = self._held_out.greedy
        num_tokens = sum(len(one.answer) for one in examples)
        return DraftReport(
            draft=self._config.name,
            config=self._config,
            target=facts.model,
            target_fingerprint=facts.model_fingerprint,
            data=f"{len(examples)} answers of {num_tokens} tokens ({facts.split})",
            qualities=qualities,
            live=self._live(greedy) if greedy else None,
            goodput=bench.goodput(self._make, _greedy_acceptance(qualities)) if bench and greedy else None,
        )

    def _make(self) -> DraftEngine:
        facts = self._held_out.facts
        return draft_engine(self._config, facts.vocab_size, facts.tokenizer_fingerprint)

    def _quality(self, answers: Sequence[ScoredAnswer], on_answer: Callable[[str], object]) -> Quality:
        sampling = answers[0].sampling
        title = f"{self._config.name}, {sampling.rule.name.lower()} at {sampling.temperature:g}"
        unseen = self._held_out.unseen
        return quality(self._make(), answers, self._plan.streams, lambda: on_answer(title), unseen)

    def _live(self, answers: Sequence[ScoredAnswer]) -> ReplayMetrics:
        plan = self._plan
        replay = RoundReplayer(self._make(), plan.streams).replay(answers, plan.window, plan.min_survival)
        return ReplayMetrics(
            plan.window,
            plan.min_survival,
            replay.accepted_per_round,
            replay.proposed_per_round,
            1e3 * replay.drafting_s_per_token,
            reliability_diagram(replay.judged),
        )


def _greedy_acceptance(qualities: Sequence[Quality]) -> float:
    (greedy,) = (one for one in qualities if one.temperature == 0.0)
    return greedy.accepted_per_round[WINDOW].value
