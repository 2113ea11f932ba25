"""Evaluation of one draft on one data set: everything that `goodspeed tune evaluate` reports."""

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
    """How drafts are evaluated."""

    num_prompts: int = 100
    """Prompts whose answers are used; 0: all."""
    seed: int = 0
    """Selects and orders the prompts."""
    streams: int = 4
    window: int = 8
    """Longest draft of the replay round by round."""
    min_survival: float = 0.12
    """Survival below which a draft of this replay ends."""
    goodput_answers: int = 8


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Recorded answers that drafts are evaluated on."""

    info: DatasetInfo
    examples: Sequence[Example]
    unseen: frozenset[str] = frozenset()
    """Categories that the drafts were not trained on; empty if that is unknown."""

    @classmethod
    def read(cls, folder: Path, plan: EvaluationPlan, trained_on: Path | None = None) -> "HeldOut":
        """`trained_on`: the training data set of the drafts, if it is known. Raises DataError."""
        dataset = Dataset.open(folder)
        unseen = dataset.categories - Dataset.open(trained_on).categories if trained_on else frozenset()
        return cls(dataset.info, sample_prompts(list(dataset.examples()), plan.num_prompts, plan.seed), unseen)

    @property
    def greedy(self) -> list[ScoredAnswer]:
        return scored_answers(self.examples, 0.0, Rule.GREEDY)

    def passes(self) -> list[list[ScoredAnswer]]:
        """The greedy answers, and those of each other temperature under both rules."""
        temperatures = sorted({example.origin.temperature for example in self.examples})
        rules = [(value, rule) for value in temperatures for rule in Rule if (value == 0.0) == (rule is Rule.GREEDY)]
        passes = [scored_answers(self.examples, temperature, rule) for temperature, rule in rules]
        return [answers for answers in passes if answers]

    def bench(self, target: TargetEngine, plan: EvaluationPlan) -> GoodputBench:
        """A bench for the goodput of drafts on the first greedy answers."""
        return GoodputBench(target, GoodputLoad(self.greedy[: plan.goodput_answers], plan.streams, WINDOW))


def sample_prompts(examples: Sequence[Example], num_prompts: int, seed: int) -> list[Example]:
    """All answers to `num_prompts` of the prompts (0: all), in an order that the seed determines."""
    prompts = list({tuple(example.prompt.tolist()): None for example in examples})
    order = np.random.default_rng(seed).permutation(len(prompts))[: num_prompts or None]
    ranks = {prompts[number]: rank for rank, number in enumerate(order)}
    sampled = [example for example in examples if tuple(example.prompt.tolist()) in ranks]
    return sorted(sampled, key=lambda example: ranks[tuple(example.prompt.tolist())])


class DraftEvaluation:
    """Evaluates one draft. It makes a new engine for every pass, because engines learn while they draft."""

    def __init__(self, config: DraftConfig, held_out: HeldOut, plan: EvaluationPlan) -> None:
        self._config = config
        self._held_out = held_out
        self._plan = plan

    def report(self, bench: GoodputBench | None, on_answer: Callable[[str], object]) -> DraftReport:
        """Evaluate; goodput only if there is a bench. Raises CheckpointError, ConfigError."""
        info, examples = self._held_out.info, self._held_out.examples
        qualities = [self._quality(answers, on_answer) for answers in self._held_out.passes()]
        greedy = self._held_out.greedy
        num_tokens = sum(len(example.answer) for example in examples)
        return DraftReport(
            draft=self._config.name,
            config=self._config,
            target=info.model,
            target_fingerprint=info.model_fingerprint,
            data=f"{len(examples)} answers of {num_tokens} tokens ({info.split})",
            qualities=qualities,
            replay=self._replay(greedy) if greedy else None,
            goodput=bench.goodput(self._make, _greedy_acceptance(qualities)) if bench and greedy else None,
        )

    def _make(self) -> DraftEngine:
        info = self._held_out.info
        return draft_engine(self._config, info.vocab_size, info.tokenizer_fingerprint)

    def _quality(self, answers: Sequence[ScoredAnswer], on_answer: Callable[[str], object]) -> Quality:
        sampling = answers[0].sampling
        title = f"{self._config.name}, {sampling.rule.name.lower()} at {sampling.temperature:g}"
        unseen = self._held_out.unseen
        return quality(self._make(), answers, self._plan.streams, lambda: on_answer(title), unseen)

    def _replay(self, answers: Sequence[ScoredAnswer]) -> ReplayMetrics:
        plan = self._plan
        replay = RoundReplayer(self._make(), plan.streams).replay(answers, plan.window, plan.min_survival)
        return ReplayMetrics(
            plan.window,
            plan.min_survival,
            replay.accepted_per_round,
            replay.proposed_per_round,
            1e3 * replay.drafting_s_per_token,
            reliability_diagram(replay.outcomes),
        )


def _greedy_acceptance(qualities: Sequence[Quality]) -> float:
    (greedy,) = (quality for quality in qualities if quality.temperature == 0.0)
    return greedy.accepted_per_round[WINDOW].value
