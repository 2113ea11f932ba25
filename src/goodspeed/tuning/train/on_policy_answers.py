"""On-policy data: answers that the student generates and the target scores.

The mixing of on-policy and given answers is that of GKD (Agarwal et al. 2024) and DistillSpec (Zhou et al. 2024). Every
set of answers is stored as a data set in the run's folder, so that a resumed run trains on the same answers.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from goodspeed.engine.torch.decoder import Decoder
from goodspeed.models.checkpoint import read_config, read_weights
from goodspeed.tuning.data.dataset import MANIFEST, Dataset
from goodspeed.tuning.data.example import Example, Origin
from goodspeed.tuning.data.generation import AnswerRequest, Generator, RecordedAnswer
from goodspeed.tuning.train.student import Student
from goodspeed.tuning.tuning_config import DistilConfig

TEMPERATURE = 1.0


class OnPolicyAnswers:
    """Generates sets of on-policy answers to the prompts of a data set."""

    def __init__(
        self, config: DistilConfig, target: Path, data: Dataset, placement: tuple[torch.dtype, torch.device]
    ) -> None:
        self._config, self._placement = config, placement
        self._prompts = [tuple(answer.prompt[-config.max_prompt :].tolist()) for answer in data.examples()]
        self._info = replace(data.info, split="on-policy", max_tokens=config.on_policy_tokens)
        decoder = Decoder(read_weights(target), read_config(target), *placement)
        self._scorer = self._generator(decoder, 1, data.info.top_k)

    def examples(self, student: Student, step: int) -> list[Example]:
        """The set of the last multiple of on_policy_every updates; generated now if it does not exist."""
        generated_at = step - step % self._config.on_policy_every
        folder = Path(self._config.out) / "on_policy" / str(generated_at)
        if not (folder / MANIFEST).exists():
            Dataset(folder, self._info).append(self._generate(student, generated_at))
        return list(Dataset.open(folder).examples())

    def _generate(self, student: Student, step: int) -> list[Example]:
        decoder = Decoder(student.export(), student.config, *self._placement)
        generator = self._generator(decoder, self._config.on_policy_answers, 1)
        answers = [
            RecordedAnswer(answer.origin, tuple(answer.prompt.tolist()), tuple(answer.answer.tolist()))
            for answer in generator.answers(self._requests(step))
        ]
        return [self._scorer.score(answer) for answer in sorted(answers, key=lambda answer: answer.origin.seed)]

    def _requests(self, step: int) -> list[AnswerRequest]:
        config = self._config
        chosen = np.random.default_rng((config.seed, step)).integers(0, len(self._prompts), config.on_policy_answers)
        return [
            AnswerRequest(
                Origin(f"student#{step}/{i}", "student", "on-policy", TEMPERATURE, step * len(chosen) + i),
                self._prompts[prompt],
                config.on_policy_tokens,
            )
            for i, prompt in enumerate(chosen)
        ]

    def _generator(self, decoder: Decoder, num_streams: int, top_k: int) -> Generator:
        length = self._config.max_prompt + self._config.on_policy_tokens
        return Generator(decoder, num_streams, top_k, num_streams * length)
