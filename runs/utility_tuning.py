"""Utility-weighted distillation against uniform distillation with the same training budget, for four clients.

A small student (context of 6 tokens, one hidden layer, reduced vocabulary) is trained on recorded answers of four
domains, one for each client, with equal numbers of answers. All arms share their first steps, their batches and their
number of steps. Then the weighted arm weights every token by goodspeed.tuning.train.utility_weights, the uniform arm
does not, and a third arm uses the client weights only. The metric is the scheduler's optimum on held-out answers: the
sum of weighted log goodputs (tokens per round) for their survival curves. Seeds change the student's initial weights,
the batches and the split. Three minutes on one core for five seeds; needs data sets of `goodspeed tune collect`.

    python -m runs.utility_tuning --data WORK/test WORK/validation WORK/train --json utility.json
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from goodspeed.stats.intervals import ConfidenceInterval, interval, paired_difference
from goodspeed.tuning.data.dataset import Dataset
from goodspeed.tuning.data.example import Example
from goodspeed.tuning.train.utility_weights import AllocationProblem, ClientAcceptance, token_weights

DOMAINS = ("maths", "rewriting", "chat", "code")
REWRITING = ("summarization", "translation", "rag", "qa")
SETTINGS = {"unlike": (1.0, 2.0, 4.0, 8.0), "equal": (1.0, 1.0, 1.0, 1.0)}
"""Weights of the clients, in the order of DOMAINS."""
BUDGET = 8  # draft tokens per round, shared by the clients
CONTEXT = 6
UNKNOWN, START = 0, 1
FIRST_TOKEN = 2
Tokens = npt.NDArray[np.int64]
Weights = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Size:
    """Size of the student and of its training."""

    vocab: int = 2048
    width: int = 48
    hidden: int = 192
    steps: int = 600
    first_steps: int = 200  # shared by all arms
    batch: int = 512
    learning_rate: float = 2e-3
    num_train: int = 28  # answers per domain
    num_test: int = 16


@dataclass(frozen=True, slots=True)
class Positions:
    """Answer positions in the form of the student."""

    contexts: Tokens  # [n, CONTEXT]
    targets: Tokens  # [n]
    lengths: tuple[int, ...]  # of the concatenated answers

    def split(self, values: npt.NDArray[np.float64]) -> list[list[float]]:
        """[n] values, split by answer."""
        return [part.tolist() for part in np.split(values, np.cumsum(self.lengths)[:-1])]


@dataclass(frozen=True, slots=True)
class ArmOutcome:
    """The results of one arm and seed on held-out answers."""

    setting: str
    arm: str
    seed: int
    utility: float  # sum_i w_i log x_i at the optimum
    goodputs: dict[str, float]  # x*, tokens per round
    agreement: dict[str, float]


class SmallStudent(torch.nn.Module):
    """Predicts the next token from the last CONTEXT tokens."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(size.vocab, size.width)
        self.hidden = torch.nn.Linear(CONTEXT * size.width, size.hidden)
        self.head = torch.nn.Linear(size.hidden, size.vocab)

    def forward(self, contexts: torch.Tensor) -> torch.Tensor:
        """[n, vocab] logits from [n, CONTEXT] tokens."""
        rows = self.embedding(contexts).flatten(1)
        logits: torch.Tensor = self.head(torch.nn.functional.gelu(self.hidden(rows)))
        return logits


class Trainer:
    """A student and its batches."""

    def __init__(self, size: Size, seed: int) -> None:
        torch.manual_seed(seed)
        self.size = size
        self.student = SmallStudent(size)
        self._optimizer = torch.optim.AdamW(self.student.parameters(), lr=size.learning_rate, weight_decay=0.01)
        self._rng = np.random.default_rng(seed)
        self._step = 0

    def copy(self) -> "Trainer":
        """A copy with the same weights and the same future batches."""
        other = Trainer(self.size, 0)
        other.student.load_state_dict(self.student.state_dict())
        other._optimizer.load_state_dict(self._optimizer.state_dict())
        other._rng.bit_generator.state = self._rng.bit_generator.state
        other._step = self._step
        return other

    def run(self, positions: Positions, weights: Weights, num_steps: int) -> "Trainer":
        """Train with weighted cross-entropy of the answer tokens; the learning rate falls along a cosine."""
        contexts, targets = torch.from_numpy(positions.contexts), torch.from_numpy(positions.targets)
        known_weights = torch.from_numpy(weights * (positions.targets != UNKNOWN))
        for _ in range(num_steps):
            for group in self._optimizer.param_groups:
                group["lr"] = self.size.learning_rate * 0.5 * (1 + np.cos(np.pi * self._step / self.size.steps))
            batch = torch.from_numpy(self._rng.integers(0, len(targets), self.size.batch))
            losses = torch.nn.functional.cross_entropy(self.student(contexts[batch]), targets[batch], reduction="none")
            self._optimizer.zero_grad()
            (known_weights[batch] * losses).mean().backward()
            self._optimizer.step()
            self._step += 1
        return self

    @torch.inference_mode()
    def hits(self, positions: Positions) -> npt.NDArray[np.float64]:
        """[n]: 1 where the greedy draft token equals the answer token, else 0."""
        found = [
            self.student(torch.from_numpy(part)).argmax(1).numpy() for part in np.array_split(positions.contexts, 16)
        ]
        is_hit = (np.concatenate(found) == positions.targets) & (positions.targets != UNKNOWN)
        hits: npt.NDArray[np.float64] = is_hit.astype(np.float64)
        return hits


def main() -> int:
    args = _parser().parse_args()
    torch.set_num_threads(1)
    answers = by_domain(args.data)
    print({name: len(group) for name, group in answers.items()}, file=sys.stderr)
    size, outcomes = Size(steps=args.steps, first_steps=args.steps // 3), list[ArmOutcome]()
    for seed in range(args.seeds):
        for outcome in run_seed(answers, size, seed):
            outcomes.append(outcome)
            print(f"seed {seed} {outcome.setting} {outcome.arm}: {outcome.utility:.4f}", file=sys.stderr, flush=True)
    report = {setting: compare(outcomes, setting) for setting in SETTINGS}
    for setting, rows in report.items():
        print(f"{setting}: " + ", ".join(f"{name} {_shown(row)}" for name, row in rows.items()))
    if args.json:
        body = {
            "size": asdict(size),
            "settings": SETTINGS,
            "outcomes": [asdict(outcome) for outcome in outcomes],
            "intervals": {
                setting: {name: asdict(row) for name, row in rows.items()} for setting, rows in report.items()
            },
        }
        args.json.write_text(json.dumps(body, indent=1))
    return 0


def run_seed(answers: dict[str, list[Example]], size: Size, seed: int) -> Iterator[ArmOutcome]:
    """All arms in all settings."""
    rng = np.random.default_rng(1000 + seed)
    orders = {name: [group[i] for i in rng.permutation(len(group))] for name, group in answers.items()}
    train = {name: group[size.num_test : size.num_test + size.num_train] for name, group in orders.items()}
    test = {name: group[: size.num_test] for name, group in orders.items()}
    vocabulary_index = vocabulary([example for group in train.values() for example in group], size.vocab)
    train_positions = {name: positions_of(group, vocabulary_index) for name, group in train.items()}
    test_positions = {name: positions_of(group, vocabulary_index) for name, group in test.items()}
    all_positions = joined(list(train_positions.values()))
    uniform = np.ones(len(all_positions.targets), dtype=np.float32)
    initial = Trainer(size, seed).run(all_positions, uniform, size.first_steps)
    uniform_trainer = initial.copy().run(all_positions, uniform, size.steps - size.first_steps)
    for setting, client_weights in SETTINGS.items():
        yield evaluate(uniform_trainer, test_positions, (setting, "uniform", seed), client_weights)
        arms = {"utility weights": utility_weights(initial, train_positions, client_weights)}
        if len(set(client_weights)) > 1:
            arms["client weights only"] = by_client(train_positions, client_weights)
        for arm, weights in arms.items():
            trainer = initial.copy().run(all_positions, weights, size.steps - size.first_steps)
            yield evaluate(trainer, test_positions, (setting, arm, seed), client_weights)


def by_client(train_positions: dict[str, Positions], client_weights: Sequence[float]) -> Weights:
    """Every token gets its client's weight: utility weights without the scheduler's part."""
    flat = np.repeat(client_weights, [len(group.targets) for group in train_positions.values()]).astype(np.float32)
    weights: Weights = flat / flat.mean()
    return weights


def utility_weights(
    initial: Trainer, train_positions: dict[str, Positions], client_weights: Sequence[float]
) -> Weights:
    """Utility weights for the acceptance of the student after the first steps."""
    clients = client_acceptance(initial, train_positions, client_weights)
    weights = token_weights(clients, AllocationProblem(BUDGET))
    flat = np.concatenate([_with_first_token(answer) for group in weights for answer in group]).astype(np.float32)
    normalised: Weights = flat / flat.mean()
    return normalised


def _with_first_token(weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The weights with a 0 for the first token, which is never drafted."""
    return np.concatenate(([0.0], weights))


def client_acceptance(
    trainer: Trainer, positions: dict[str, Positions], client_weights: Sequence[float]
) -> list[ClientAcceptance]:
    return [
        ClientAcceptance(name, weight, [hits[1:] for hits in group.split(trainer.hits(group))])
        for (name, group), weight in zip(positions.items(), client_weights, strict=True)
    ]


def evaluate(
    trainer: Trainer, positions: dict[str, Positions], name: tuple[str, str, int], client_weights: Sequence[float]
) -> ArmOutcome:
    clients = client_acceptance(trainer, positions, client_weights)
    optimum = AllocationProblem(BUDGET).optimum(clients)
    goodputs = {client.name: float(x) for client, x in zip(clients, optimum.goodputs, strict=True)}
    agreement = {client.name: float(np.mean(np.concatenate(client.answers))) for client in clients}
    return ArmOutcome(*name, optimum.utility, goodputs, agreement)


def compare(outcomes: Sequence[ArmOutcome], setting: str) -> dict[str, ConfidenceInterval]:
    """95% intervals over seeds of each arm's utility and of its gain over the uniform arm, paired by seed."""
    arms = list({outcome.arm: None for outcome in outcomes if outcome.setting == setting})
    utilities = {
        arm: [outcome.utility for outcome in outcomes if (outcome.setting, outcome.arm) == (setting, arm)]
        for arm in arms
    }
    gains = {
        f"gain of {arm}": paired_difference(utilities[arm], utilities["uniform"]) for arm in arms if arm != "uniform"
    }
    return {arm: interval(values) for arm, values in utilities.items()} | gains


def by_domain(folders: Sequence[Path]) -> dict[str, list[Example]]:
    """Greedy answers of all data sets, by domain of the prompt."""
    found: dict[str, list[Example]] = {name: [] for name in DOMAINS}
    for folder in folders:
        for example in Dataset.open(folder).examples():
            if example.origin.temperature == 0.0 and len(example.answer) > 16:
                found[domain_of(example)].append(example)
    return found


def domain_of(example: Example) -> str:
    source, category = example.origin.source, example.origin.category
    if source.startswith("humaneval") or category == "coding":
        return "code"
    if source.startswith("gsm8k") or category in ("math", "math_reasoning"):
        return "maths"
    return "rewriting" if category in REWRITING else "chat"


def vocabulary(examples: Sequence[Example], size: int) -> dict[int, int]:
    """Token id -> index in the reduced vocabulary: the most frequent answer tokens, from FIRST_TOKEN on."""
    counts = Counter(token for example in examples for token in example.answer.tolist())
    return {token: index for index, (token, _) in enumerate(counts.most_common(size - FIRST_TOKEN), FIRST_TOKEN)}


def positions_of(examples: Sequence[Example], vocabulary_index: dict[int, int]) -> Positions:
    contexts, targets, lengths = list[list[int]](), list[int](), list[int]()
    for example in examples:
        prompt = example.prompt[-CONTEXT:].tolist()
        tokens = [START] * (CONTEXT - len(prompt)) + [vocabulary_index.get(token, UNKNOWN) for token in prompt]
        for token in example.answer.tolist():
            contexts.append(tokens[-CONTEXT:])
            tokens.append(vocabulary_index.get(token, UNKNOWN))
            targets.append(tokens[-1])
        lengths.append(len(example.answer))
    return Positions(np.array(contexts, dtype=np.int64), np.array(targets, dtype=np.int64), tuple(lengths))


def joined(parts: Sequence[Positions]) -> Positions:
    return Positions(
        np.concatenate([part.contexts for part in parts]),
        np.concatenate([part.targets for part in parts]),
        tuple(length for part in parts for length in part.lengths),
    )


def _shown(row: ConfidenceInterval) -> str:
    return f"{row.mean:.4f} [{row.low:.4f}, {row.high:.4f}]"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders of data sets")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=Size().steps)
    parser.add_argument("--json", type=Path)
    return parser


if __name__ == "__main__":
    sys.exit(main())
