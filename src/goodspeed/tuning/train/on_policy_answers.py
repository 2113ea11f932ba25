"""Answers that the student writes and the target scores: what it is taught where its own words have led it.

The mixing of on-policy and given answers is that of GKD (Agarwal et al. 2024) and DistillSpec (Zhou et al. 2024). Every
batch of answers is a data set in the run's folder, so that a run which goes on learns from the same ones.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from goodspeed.engine.torch.decoder import Decoder
from goodspeed.models.checkpoint import read_config, read_weights
from goodspeed.tuning.data.dataset import MANIFEST, Dataset
from goodspeed.tuning.data.example import Example, Origin
from goodspeed.tuning.data.generation import GenerationRequest, Generator, RecordedAnswer
from goodspeed.tuning.train.student import Student
from goodspeed.tuning.tuning_config import DistilConfig

TEMPERATURE = 1.0


class OnPolicyAnswers:
    """The target, and the prompts of a data set."""

    def __init__(
        self, config: DistilConfig, target: Path, data: Dataset, placement: tuple[torch.dtype, torch.device]
    ) -> None:
        self._config, self._placement = config, placement
        self._prompts = [tuple(one.prompt[-config.max_prompt :].tolist()) for one in data.examples()]
        self._facts = replace(data.facts, split="on-policy", max_tokens=config.on_policy_tokens)
        decoder = Decoder(read_weights(target), read_config(target), *placement)
        self._scorer = self._generator(decoder, 1, data.facts.top_k)

    def examples(self, student: Student, step: int) -> list[Example]:
        """What was written at or after the last multiple of on_policy_every updates; written now, if nothing was."""
        made_at = step - step % self._config.on_policy_every
        folder = Path(self._config.out) / "on_policy" / str(made_at)
        if not (folder / MANIFEST).exists():
            Dataset(folder, self._facts).append(self._write(student, made_at))
        return list(Dataset.open(folder).examples())

    def _write(self, student: Student, step: int) -> list[Example]:
        decoder = Decoder(student.export(), student.config, *self._placement)
        writer = self._generator(decoder, self._config.on_policy_answers, 1)
        said = [
            RecordedAnswer(one.origin, tuple(one.prompt.tolist()), tuple(one.answer.tolist()))
            for one in writer.answers(self._asks(step))
        ]
        return [self._scorer.score(one) for one in sorted(said, key=lambda one: one.origin.seed)]

    def _asks(self, step: int) -> list[GenerationRequest]:
        config = self._config
        chosen = np.random.default_rng((config.seed, step)).integers(0, len(self._prompts), config.on_policy_answers)
        return [
            GenerationRequest(
                Origin(f"student#{step}/{i}", "student", "on-policy", TEMPERATURE, step * len(chosen) + i),
                self._prompts[prompt],
                config.on_policy_tokens,
            )
            for i, prompt in enumerate(chosen)
        ]

    def _generator(self, decoder: Decoder, num_streams: int, top_k: int) -> Generator:
        length = self._config.max_prompt + self._config.on_policy_tokens
        return Generator(decoder, num_streams, top_k, num_streams * length)
