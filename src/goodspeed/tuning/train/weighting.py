"""A data set with utility weights: the weight of each position of each client's answers in distillation."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path

import numpy as np

from goodspeed.config import config_dataclass, option, required
from goodspeed.decoding.sampling import Rule
from goodspeed.engine.interface import DraftEngine
from goodspeed.engine.teacher_forcing import teacher_force_all
from goodspeed.errors import ConfigError
from goodspeed.tuning.data.dataset import Dataset
from goodspeed.tuning.data.example import Example
from goodspeed.tuning.data.scored_answer import scored_answer
from goodspeed.tuning.train.utility_weights import AllocationProblem, ClientAcceptance, token_weights

NUM_STREAMS = 8
SHARD_ANSWERS = 32


@config_dataclass
class ClientAnswers:
    """A client of the verifier and the answers that represent its traffic."""

    name: str = required(help_text="name of the client")
    weight: float = option(1.0, "weight of the client at the verifier", gt=0.0)
    kinds: tuple[str, ...] = option(
        (), "source/category of its answers, * allowed; none: all answers that no other client has"
    )

    def matches(self, example: Example) -> bool:
        kind = f"{example.origin.source}/{example.origin.category}"
        return not self.kinds or any(fnmatch(kind, pattern) for pattern in self.kinds)


def weighted_examples(
    examples: Sequence[Example],
    clients: Sequence[ClientAnswers],
    problem: AllocationProblem,
    make_draft: Callable[[], DraftEngine],
) -> list[Example]:
    """The clients' examples with utility weights for this draft; examples of no client are left out.

    The first token of an answer has weight 0, as the prefill generates it. Raises ConfigError for a client without
    answers.
    """
    by_client = [_examples_of(client, clients, examples) for client in clients]
    for client, examples_of_client in zip(clients, by_client, strict=True):
        if not examples_of_client:
            raise ConfigError(f"client {client.name!r} has no answers of {list(client.kinds)}")
    traffic = [
        ClientAcceptance(client.name, client.weight, _acceptance_probs(examples_of_client, make_draft))
        for client, examples_of_client in zip(clients, by_client, strict=True)
    ]
    weights = token_weights(traffic, problem)
    return [
        replace(example, weights=np.concatenate(([0.0], weights_of_example)).astype(np.float32))
        for examples_of_client, weights_of_client in zip(by_client, weights, strict=True)
        for example, weights_of_example in zip(examples_of_client, weights_of_client, strict=True)
    ]


def write_weighted(dataset: Dataset, examples: Sequence[Example], folder: Path) -> Dataset:
    """Write the examples as a new data set, in an order that mixes the clients. Raises DataError."""
    order = np.random.default_rng(0).permutation(len(examples)).tolist()
    weighted = Dataset.open_or_create(folder, dataset.info)
    done = weighted.keys()
    missing = [examples[index] for index in order if examples[index].origin.key not in done]
    for start in range(0, len(missing), SHARD_ANSWERS):
        weighted.append(missing[start : start + SHARD_ANSWERS])
    return weighted


def _examples_of(client: ClientAnswers, clients: Sequence[ClientAnswers], examples: Sequence[Example]) -> list[Example]:
    return [example for example in examples if len(example.answer) > 1 and _client_of(example, clients) is client]


def _client_of(example: Example, clients: Sequence[ClientAnswers]) -> ClientAnswers | None:
    """A client that names the example's kind, else one that names none."""
    named_first = sorted(clients, key=lambda client: not client.kinds)
    return next((client for client in named_first if client.matches(example)), None)


def _acceptance_probs(examples: Sequence[Example], make_draft: Callable[[], DraftEngine]) -> list[list[float]]:
    answers = [
        scored_answer(example, Rule.COUPLED if example.origin.temperature else Rule.GREEDY) for example in examples
    ]
    return [forced.acceptance_probs for forced in teacher_force_all(make_draft(), answers, NUM_STREAMS)]
