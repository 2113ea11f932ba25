"""Collection: from prompts to a data set of the target's answers, in an order that a seed fixes.

What is there already is not asked again, so a run that was killed goes on where its last shard ended.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from goodspeed.engine.torch.decoder import Decoder
from goodspeed.engine.torch.loading import make_decoder
from goodspeed.errors import ConfigError
from goodspeed.models.catalog import locate
from goodspeed.models.checkpoint import read_config, read_weights
from goodspeed.models.fingerprint import model_fingerprint
from goodspeed.models.tokenizer import Tokenizer
from goodspeed.prompts.prompts import load_prompts
from goodspeed.tuning.data.dataset import Dataset, DatasetInfo
from goodspeed.tuning.data.example import Example
from goodspeed.tuning.data.generation import GenerationRequest, Generator, RecordedAnswer
from goodspeed.tuning.data.prompt_sources import answer_request, read_recorded, requests_of, sampled, user_turn_requests
from goodspeed.tuning.tuning_config import CollectConfig

PRECISIONS = {"torch.bfloat16": "bf16", "torch.float32": "fp32"}
TURNS = "turns"
"""The data set inside the data set: user turns that the target wrote."""
LONGEST_TURN = 160  # tokens


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a collection is."""

    stage: str
    num_done: int
    num_asked: int
    num_tokens: int
    """ScoredAnswer tokens of this run."""


Report = Callable[[Progress], None]


class Collector:
    """One target, loaded once, and the data sets that it fills."""

    def __init__(self, config: CollectConfig) -> None:
        """Raises CheckpointError, ConfigError."""
        self.config = config
        self.folder = locate(config.target.model)
        self.tokenizer = Tokenizer.load(self.folder)
        self._decoder = make_decoder(read_weights(self.folder), read_config(self.folder), config.target)
        if config.top_k > self._decoder.config.vocab_size:
            raise ConfigError(f"top_k is {config.top_k}, the vocabulary has {self._decoder.config.vocab_size} tokens")
        self._generator = _generator(self._decoder, config)

    def run(self, report: Report) -> Dataset:
        """Everything that the config asks for. Raises DataError, ConfigError, RequestError."""
        return self.collect(self.asks(report), self.recorded(), report)

    def collect(self, asks: Sequence[GenerationRequest], said: Sequence[RecordedAnswer], report: Report) -> Dataset:
        """Answers to `asks` and scores of `said` that config.out does not hold yet. Raises DataError."""
        dataset = Dataset.begin(Path(self.config.out), self._facts())
        self._fill(dataset, "answers", asks, report)
        done = dataset.keys()
        store(dataset, (self._generator.score(one) for one in said if one.origin.key not in done), self.config)
        return dataset

    def asks(self, report: Report) -> list[GenerationRequest]:
        """The asks of all prompts, greedy and sampled, shuffled; the target's own prompts are written first."""
        config = self.config
        greedy = [
            ask
            for source in config.prompts
            for ask in requests_of(load_prompts(source), self.tokenizer, Path(source).name, config.max_tokens)
        ]
        if config.write:
            greedy += self.written(report)
        heated = [
            sampled(ask, temperature, config.seed << 32 | i)
            for temperature in config.temperatures
            for i, ask in enumerate(greedy)
        ]
        return self.shuffled([*greedy, *heated])

    def shuffled(self, asks: Sequence[GenerationRequest]) -> list[GenerationRequest]:
        """In the order of asking, without those whose prompt is longer than the config allows."""
        kept = [ask for ask in asks if len(ask.prompt) <= self.config.max_prompt]
        return [kept[i] for i in np.random.default_rng(self.config.seed).permutation(len(kept))]

    def written(self, report: Report) -> list[GenerationRequest]:
        """The asks of prompts that the target writes: its user turns are a data set of their own, in the folder."""
        config = self.config
        turns = Dataset.begin(Path(config.out) / TURNS, replace(self._facts(), max_tokens=LONGEST_TURN, split=TURNS))
        self._fill(
            turns, "prompts", user_turn_requests(self.tokenizer, config.write, config.seed, LONGEST_TURN), report
        )
        examples = sorted(turns.examples(), key=lambda one: one.origin.seed)[: config.write]
        asks = {ask.prompt: ask for one in examples if (ask := answer_request(one, self.tokenizer, config.max_tokens))}
        return list(asks.values())

    def recorded(self) -> list[RecordedAnswer]:
        """Recorded answers of all files. Raises DataError."""
        vocab_size = self._decoder.config.vocab_size
        return [one for path in self.config.recorded for one in read_recorded(Path(path), vocab_size)]

    def _fill(self, dataset: Dataset, stage: str, asks: Sequence[GenerationRequest], report: Report) -> None:
        done = dataset.keys()
        missing = [ask for ask in asks if ask.origin.key not in done]
        num_tokens = 0

        def told() -> Iterator[Example]:
            nonlocal num_tokens
            for i, example in enumerate(self._generator.answers(missing), len(asks) - len(missing) + 1):
                num_tokens += len(example.answer)
                report(Progress(stage, i, len(asks), num_tokens))
                yield example

        store(dataset, told(), self.config)

    def _facts(self) -> DatasetInfo:
        config = self.config
        return DatasetInfo(
            model=config.target.model,
            model_fingerprint=model_fingerprint(self.folder, PRECISIONS[str(self._decoder.dtype)]),
            tokenizer_fingerprint=self.tokenizer.fingerprint,
            vocab_size=self._decoder.config.vocab_size,
            top_k=config.top_k,
            max_tokens=config.max_tokens,
            seed=config.seed,
            split=config.split,
        )


def _generator(decoder: Decoder, config: CollectConfig) -> Generator:
    """With room for what the streams need on average: half of the longest prompt each, and a whole answer."""
    length = min(config.max_prompt + config.max_tokens, decoder.config.max_context)
    capacity = max(config.streams * (config.max_prompt // 2 + config.max_tokens), 2 * length)
    return Generator(decoder, config.streams, config.top_k, capacity)


def store(dataset: Dataset, examples: Iterable[Example], config: CollectConfig) -> None:
    """Append them, a shard after another. Raises DataError."""
    waiting = iter(examples)
    while shard := list(islice(waiting, config.shard_answers)):
        dataset.append(shard)
