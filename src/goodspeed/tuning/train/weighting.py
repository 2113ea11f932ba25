"""A data set with the scheduler's weights: what each position of each client's answers counts in distillation."""

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

    def owns(self, example: Example) -> bool:
        kind = f"{example.origin.source}/{example.origin.category}"
        return not self.kinds or any(fnmatch(kind, pattern) for pattern in self.kinds)


def weighted_examples(
    examples: Sequence[Example],
    clients: Sequence[ClientAnswers],
    share: AllocationProblem,
    make_draft: Callable[[], DraftEngine],
) -> list[Example]:
    """The clients' examples with weights, by what this draft is accepted for there; those of no client are left out.

    The first token of an answer counts nothing: it is the prefill's. Raises ConfigError for a client without answers.
    """
    owned = [[one for one in examples if _owner(one, clients) is client] for client in clients]
    owned = [[one for one in each if len(one.answer) > 1] for each in owned]
    for client, each in zip(clients, owned, strict=True):
        if not each:
            raise ConfigError(f"client {client.name!r} has no answers of {list(client.kinds)}")
    traffic = [
        ClientAcceptance(client.name, client.weight, _chances(each, make_draft))
        for client, each in zip(clients, owned, strict=True)
    ]
    weights = token_weights(traffic, share)
    return [
        replace(example, weights=np.concatenate(([0.0], its)).astype(np.float32))
        for each, its_client in zip(owned, weights, strict=True)
        for example, its in zip(each, its_client, strict=True)
    ]


def write_weighted(dataset: Dataset, examples: Sequence[Example], folder: Path) -> Dataset:
    """The examples as a data set of its own, in an order that mixes the clients. Raises DataError."""
    order = np.random.default_rng(0).permutation(len(examples)).tolist()
    written = Dataset.begin(folder, dataset.facts)
    done = written.keys()
    rest = [examples[place] for place in order if examples[place].origin.key not in done]
    for start in range(0, len(rest), SHARD_ANSWERS):
        written.append(rest[start : start + SHARD_ANSWERS])
    return written


def _owner(example: Example, clients: Sequence[ClientAnswers]) -> ClientAnswers | None:
    """Who names its kind, before who takes the rest."""
    by_name = sorted(clients, key=lambda client: not client.kinds)
    return next((client for client in by_name if client.owns(example)), None)


def _chances(examples: Sequence[Example], make_draft: Callable[[], DraftEngine]) -> list[list[float]]:
    answers = [scored_answer(one, Rule.COUPLED if one.origin.temperature else Rule.GREEDY) for one in examples]
    return [forced.acceptance_probs for forced in teacher_force_all(make_draft(), answers, NUM_STREAMS)]
