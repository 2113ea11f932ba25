"""Utility-guided against uniform distillation at equal training budget: 4 clients of unlike domains and weights.

A small student (the last 6 tokens, one hidden layer, a reduced vocabulary) learns from recorded answers of four
domains, one a client, as many answers of each. All arms share their first steps, their batches and their number of
steps. After the first steps the guided arm weights every token by goodspeed.tuning.train.utility_weights; the uniform
arm goes on as before; a third weights by the clients' weights alone. The measure is the scheduler's optimum on held-out
answers: the sum of weighted log goodputs (tokens per round) for their survival curves there. Seeds change the student's
start, its batches and the split.

    python -m runs.utility_tuning --data WORK/test WORK/validation WORK/train --json utility.json

Five seeds with two settings of the weights take about 3 minutes on one core; docs/utility_tuning.md has the outcome.
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
BUDGET = 8  # draft tokens that the four share a round
CONTEXT = 6
UNKNOWN, START = 0, 1
FIRST_TOKEN = 2
Tokens = npt.NDArray[np.int64]
Weights = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Size:
    """Of the student and of its training."""

    vocab: int = 2048
    width: int = 48
    hidden: int = 192
    steps: int = 600
    first_steps: int = 200  # shared
    batch: int = 512
    learning_rate: float = 2e-3
    num_train: int = 28  # answers a domain
    num_test: int = 16


@dataclass(frozen=True, slots=True)
class Places:
    """Answer tokens as the student sees them."""

    contexts: Tokens  # [n, CONTEXT]
    targets: Tokens  # [n]
    lengths: tuple[int, ...]  # of the answers, which follow each other

    def split(self, values: npt.NDArray[np.float64]) -> list[list[float]]:
        """[n] values by answer."""
        return [part.tolist() for part in np.split(values, np.cumsum(self.lengths)[:-1])]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One arm of one seed on held-out answers."""

    setting: str
    arm: str
    seed: int
    utility: float  # sum_i w_i log x_i at the optimum
    goodputs: dict[str, float]  # x*, tokens per round
    agreement: dict[str, float]


class Student(torch.nn.Module):
    """The next token from the last few."""

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
    """A student and its batches; a copy goes on from where it stands."""

    def __init__(self, size: Size, seed: int) -> None:
        torch.manual_seed(seed)
        self.size = size
        self.student = Student(size)
        self._optimizer = torch.optim.AdamW(self.student.parameters(), lr=size.learning_rate, weight_decay=0.01)
        self._rng = np.random.default_rng(seed)
        self._step = 0

    def copy(self) -> "Trainer":
        """With the same weights, and the same batches to come."""
        other = Trainer(self.size, 0)
        other.student.load_state_dict(self.student.state_dict())
        other._optimizer.load_state_dict(self._optimizer.state_dict())
        other._rng.bit_generator.state = self._rng.bit_generator.state
        other._step = self._step
        return other

    def run(self, places: Places, weights: Weights, num_steps: int) -> "Trainer":
        """Cross-entropy of what the target said, weighted; the learning rate falls along a cosine over all steps."""
        contexts, targets = torch.from_numpy(places.contexts), torch.from_numpy(places.targets)
        told = torch.from_numpy(weights * (places.targets != UNKNOWN))
        for _ in range(num_steps):
            for group in self._optimizer.param_groups:
                group["lr"] = self.size.learning_rate * 0.5 * (1 + np.cos(np.pi * self._step / self.size.steps))
            batch = torch.from_numpy(self._rng.integers(0, len(targets), self.size.batch))
            losses = torch.nn.functional.cross_entropy(self.student(contexts[batch]), targets[batch], reduction="none")
            self._optimizer.zero_grad()
            (told[batch] * losses).mean().backward()
            self._optimizer.step()
            self._step += 1
        return self

    @torch.inference_mode()
    def hits(self, places: Places) -> npt.NDArray[np.float64]:
        """[n]: whether the greedy draft token is what the target said."""
        found = [self.student(torch.from_numpy(part)).argmax(1).numpy() for part in np.array_split(places.contexts, 16)]
        is_hit = (np.concatenate(found) == places.targets) & (places.targets != UNKNOWN)
        hits: npt.NDArray[np.float64] = is_hit.astype(np.float64)
        return hits


def main() -> int:
    args = _parser().parse_args()
    torch.set_num_threads(1)
    answers = by_domain(args.data)
    print({name: len(each) for name, each in answers.items()}, file=sys.stderr)
    size, outcomes = Size(steps=args.steps, first_steps=args.steps // 3), list[Outcome]()
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
            "outcomes": [asdict(one) for one in outcomes],
            "intervals": {
                setting: {name: asdict(row) for name, row in rows.items()} for setting, rows in report.items()
            },
        }
        args.json.write_text(json.dumps(body, indent=1))
    return 0


def run_seed(answers: dict[str, list[Example]], size: Size, seed: int) -> Iterator[Outcome]:
    """Both arms under every setting."""
    rng = np.random.default_rng(1000 + seed)
    orders = {name: [each[i] for i in rng.permutation(len(each))] for name, each in answers.items()}
    train = {name: each[size.num_test : size.num_test + size.num_train] for name, each in orders.items()}
    test = {name: each[: size.num_test] for name, each in orders.items()}
    kept = vocabulary([one for each in train.values() for one in each], size.vocab)
    learned = {name: places_of(each, kept) for name, each in train.items()}
    judged = {name: places_of(each, kept) for name, each in test.items()}
    whole = joined(list(learned.values()))
    uniform = np.ones(len(whole.targets), dtype=np.float32)
    first = Trainer(size, seed).run(whole, uniform, size.first_steps)
    plain = first.copy().run(whole, uniform, size.steps - size.first_steps)
    for setting, client_weights in SETTINGS.items():
        yield judge(plain, judged, (setting, "uniform", seed), client_weights)
        arms = {"guided": guided(first, learned, client_weights)}
        if len(set(client_weights)) > 1:
            arms["client weights alone"] = by_client(learned, client_weights)
        for arm, weights in arms.items():
            better = first.copy().run(whole, weights, size.steps - size.first_steps)
            yield judge(better, judged, (setting, arm, seed), client_weights)


def by_client(learned: dict[str, Places], client_weights: Sequence[float]) -> Weights:
    """Every token of a client by that client's weight: what is left when the scheduler's part is taken away."""
    flat = np.repeat(client_weights, [len(each.targets) for each in learned.values()]).astype(np.float32)
    weights: Weights = flat / flat.mean()
    return weights


def guided(first: Trainer, learned: dict[str, Places], client_weights: Sequence[float]) -> Weights:
    """Every token's weight by what the student that has begun would be accepted for."""
    clients = traffic_of(first, learned, client_weights)
    weights = token_weights(clients, AllocationProblem(BUDGET))
    flat = np.concatenate([_whole(answer) for each in weights for answer in each]).astype(np.float32)
    normal: Weights = flat / flat.mean()
    return normal


def _whole(weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The first token of an answer is never drafted."""
    return np.concatenate(([0.0], weights))


def traffic_of(trainer: Trainer, places: dict[str, Places], client_weights: Sequence[float]) -> list[ClientAcceptance]:
    return [
        ClientAcceptance(name, weight, [hits[1:] for hits in each.split(trainer.hits(each))])
        for (name, each), weight in zip(places.items(), client_weights, strict=True)
    ]


def judge(
    trainer: Trainer, places: dict[str, Places], name: tuple[str, str, int], client_weights: Sequence[float]
) -> Outcome:
    clients = traffic_of(trainer, places, client_weights)
    best = AllocationProblem(BUDGET).optimum(clients)
    goodputs = {one.name: float(x) for one, x in zip(clients, best.goodputs, strict=True)}
    agreement = {one.name: float(np.mean(np.concatenate(one.answers))) for one in clients}
    return Outcome(*name, best.utility, goodputs, agreement)


def compare(outcomes: Sequence[Outcome], setting: str) -> dict[str, ConfidenceInterval]:
    """95% intervals over seeds: each arm, and its gain over the uniform one, paired by seed."""
    arms = list({one.arm: None for one in outcomes if one.setting == setting})
    utilities = {arm: [one.utility for one in outcomes if (one.setting, one.arm) == (setting, arm)] for arm in arms}
    gains = {
        f"gain of {arm}": paired_difference(utilities[arm], utilities["uniform"]) for arm in arms if arm != "uniform"
    }
    return {arm: interval(values) for arm, values in utilities.items()} | gains


def by_domain(folders: Sequence[Path]) -> dict[str, list[Example]]:
    """Greedy answers of all data sets, by the domain of their prompt."""
    found: dict[str, list[Example]] = {name: [] for name in DOMAINS}
    for folder in folders:
        for one in Dataset.open(folder).examples():
            if one.origin.temperature == 0.0 and len(one.answer) > 16:
                found[domain_of(one)].append(one)
    return found


def domain_of(example: Example) -> str:
    source, category = example.origin.source, example.origin.category
    if source.startswith("humaneval") or category == "coding":
        return "code"
    if source.startswith("gsm8k") or category in ("math", "math_reasoning"):
        return "maths"
    return "rewriting" if category in REWRITING else "chat"


def vocabulary(examples: Sequence[Example], size: int) -> dict[int, int]:
    """Places of the most frequent answer tokens, from FIRST_TOKEN on."""
    counts = Counter(token for one in examples for token in one.answer.tolist())
    return {token: place for place, (token, _) in enumerate(counts.most_common(size - FIRST_TOKEN), FIRST_TOKEN)}


def places_of(examples: Sequence[Example], kept: dict[int, int]) -> Places:
    contexts, targets, lengths = list[list[int]](), list[int](), list[int]()
    for one in examples:
        prompt = one.prompt[-CONTEXT:].tolist()
        tokens = [START] * (CONTEXT - len(prompt)) + [kept.get(token, UNKNOWN) for token in prompt]
        for token in one.answer.tolist():
            contexts.append(tokens[-CONTEXT:])
            tokens.append(kept.get(token, UNKNOWN))
            targets.append(tokens[-1])
        lengths.append(len(one.answer))
    return Places(np.array(contexts, dtype=np.int64), np.array(targets, dtype=np.int64), tuple(lengths))


def joined(parts: Sequence[Places]) -> Places:
    return Places(
        np.concatenate([part.contexts for part in parts]),
        np.concatenate([part.targets for part in parts]),
        tuple(length for part in parts for length in part.lengths),
    )


def _plain(rows: dict[str, ConfidenceInterval]) -> dict[str, object]:
    return {name: asdict(row) for name, row in rows.items()}


def _shown(row: ConfidenceInterval) -> str:
    return f"{row.mean:.4f} [{row.low:.4f}, {row.high:.4f}]"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, nargs="+", required=True, help="folders that `goodspeed tune collect` made"
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=Size().steps)
    parser.add_argument("--json", type=Path)
    return parser


if __name__ == "__main__":
    sys.exit(main())
