"""Suffix decoding beside lookup and n-gram table: accepted tokens per round of the same recorded answers.

SuffixDraft is the published algorithm (Oliaro et al., SuffixDecoding, arXiv:2411.04975) with linear drafts: counts of
all continuations of the last 1 to 8 tokens, in the stream's own text and in earlier answers of the client. For every
length and both texts it follows the most frequent token, and it proposes the path with the largest sum of survival
estimates. It is here for comparison only; its speed in Python says nothing about suffix trees in C++. Each domain of
DATA, a data set of `goodspeed tune collect`, is a client with an engine of its own. Ten seconds.

    python -m runs.suffix_decoding DATA
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from runs.co_located_traces import answers_of

from goodspeed.decoding.draft import Draft, DraftRequest, StreamKey
from goodspeed.decoding.sampling import Sampling
from goodspeed.engine.drafts import DEFAULT_TABLE, NO_TABLE, DraftConfig, draft_engine
from goodspeed.engine.interface import DraftEngine
from goodspeed.prompts.prompts import DOMAINS
from goodspeed.stats.ratio_estimate import ratio_of_sums
from goodspeed.tuning.data.dataset import Dataset
from goodspeed.tuning.evaluate.round_replay import ReplayedRound, RoundReplayer

MAX_PATTERN = 8
MIN_TOKEN_PROB = 0.1  # as in vLLM
WINDOWS = (4, 8)


class SuffixCounts:
    """How often each token followed each sequence of up to `max_length` tokens."""

    def __init__(self, max_length: int) -> None:
        self._max_length = max_length
        self._counts: dict[tuple[int, ...], dict[int, int]] = {}

    def add(self, tokens: Sequence[int], start: int) -> None:
        """Count each of tokens[start:]."""
        for i in range(start, len(tokens)):
            for length in range(1, min(self._max_length, i) + 1):
                counts = self._counts.setdefault(tuple(tokens[i - length : i]), {})
                counts[tokens[i]] = counts.get(tokens[i], 0) + 1

    def path(self, pattern: Sequence[int], max_tokens: int) -> list[tuple[int, float]]:
        """The most frequent continuation of the pattern: tokens, and each one's share of those counted there."""
        path: list[tuple[int, float]] = []
        context = tuple(pattern)
        while len(path) < max_tokens and (counts := self._counts.get(context)):
            token = max(counts, key=counts.__getitem__)
            path.append((token, counts[token] / sum(counts.values())))
            context = (*context, token)
        return path


class SuffixDraft:
    """A DraftEngine by suffix decoding."""

    def __init__(self, max_tokens: int, factor: float) -> None:
        """A pattern of p tokens allows drafts of factor * p tokens."""
        self._factor = factor
        self._max_length = MAX_PATTERN + max_tokens
        self._answers = SuffixCounts(self._max_length)
        self._streams: dict[StreamKey, tuple[list[int], int, SuffixCounts]] = {}  # tokens, length of prompt, counts

    def open(self, stream: StreamKey, tokens: Sequence[int], _sampling: Sampling) -> None:
        counts = SuffixCounts(self._max_length)
        counts.add(tokens, 1)
        self._streams[stream] = (list(tokens), len(tokens), counts)

    def draft(self, requests: Sequence[DraftRequest]) -> list[Draft]:
        return [self._draft(request) for request in requests]

    def commit(self, stream: StreamKey, tokens: Sequence[int]) -> None:
        text, _, counts = self._streams[stream]
        text.extend(tokens)
        counts.add(text, len(text) - len(tokens))

    def close(self, stream: StreamKey) -> None:
        text, num_prompt, _ = self._streams.pop(stream)
        self._answers.add(text, num_prompt)

    def _draft(self, request: DraftRequest) -> Draft:
        tokens, confidences = [], []
        survival = 1.0
        for token, share in max(self._paths(request), key=_score, default=[]):
            survival *= share
            if survival < max(MIN_TOKEN_PROB, request.min_survival):
                break
            tokens.append(token)
            confidences.append(share)
        return Draft(tuple(tokens), tuple(confidences))

    def _paths(self, request: DraftRequest) -> Iterator[list[tuple[int, float]]]:
        text, _, own = self._streams[request.stream]
        for length in range(1, min(MAX_PATTERN, len(text)) + 1):
            max_tokens = min(request.max_tokens, int(self._factor * length))
            for counts in (own, self._answers):
                yield counts.path(text[-length:], max_tokens)


def main() -> None:
    args = _parser().parse_args()
    data = Dataset.open(args.data)
    engines: dict[str, Callable[[int], DraftEngine]] = {
        "suffix decoding, drafts of p tokens after p": lambda window: SuffixDraft(window, 1.0),
        "suffix decoding, of 4 p tokens": lambda window: SuffixDraft(window, 4.0),
        "hybrid, from nothing": lambda _: _hybrid(data, NO_TABLE),
        "hybrid, from the shipped table": lambda _: _hybrid(data, DEFAULT_TABLE),
    }
    print("| drafts | " + " | ".join(f"w{window}: accepted | proposed" for window in WINDOWS) + " |")
    print("|---" * (1 + 2 * len(WINDOWS)) + "|")
    for name, new_engine in engines.items():
        cells = [cell for window in WINDOWS for cell in measure(data, new_engine, window)]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def measure(data: Dataset, new_engine: Callable[[int], DraftEngine], window: int) -> tuple[str, str]:
    """Accepted tokens per round with one standard error over prompts, and proposed ones."""
    rounds: list[ReplayedRound] = []
    for domain in DOMAINS:
        replayer = RoundReplayer(new_engine(window), num_streams=1)
        rounds += replayer.replay(answers_of(data, domain, 10**6), window, min_survival=MIN_TOKEN_PROB).rounds
    accepted = ratio_of_sums((replayed.prompt, replayed.accepted, 1) for replayed in rounds)
    proposed = sum(replayed.proposed for replayed in rounds) / len(rounds)
    return f"{accepted.value:.2f} ± {accepted.standard_error:.2f}", f"{proposed:.2f}"


def _hybrid(data: Dataset, table: str) -> DraftEngine:
    return draft_engine(DraftConfig(table=table), data.info.vocab_size, data.info.tokenizer_fingerprint)


def _score(path: Sequence[tuple[int, float]]) -> float:
    """Expected number of accepted tokens, by the counts."""
    score, survival = 0.0, 1.0
    for _, share in path:
        survival *= share
        score += survival
    return score


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of a data set")
    return parser


if __name__ == "__main__":
    main()
