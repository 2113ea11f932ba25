"""CPU time of co-located drafting: a step's drafts and the commits that were queued since the step before.

Streams of --clients clients continue recorded texts: prompts and answers of DATA, a data set of `goodspeed tune
collect`, one after the other. Each starts with --context tokens. A step drafts up to --tokens for every stream; the
accepted ones and one more are committed. Times are of the thread's CPU, over the steps after the first --warm-up ones.
Other processes that share caches make them longer: the minimum is the best guess at a quiet machine. Half a minute.

    python -m runs.co_located_cost DATA
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from goodspeed.decoding.draft import DraftRequest
from goodspeed.decoding.sampling import Sampling
from goodspeed.engine.co_located import CoLocatedConfig, co_located_drafts
from goodspeed.engine.interface import CoLocatedDrafts, StreamSpec, TargetInfo
from goodspeed.engine.target_config import TargetConfig
from goodspeed.tuning.data.dataset import Dataset


class RecordedStream:
    """A stream whose next tokens are known."""

    def __init__(self, key: int, text: Sequence[int], num_committed: int) -> None:
        self.key = key
        self._text = text
        self._num_committed = num_committed

    def accept(self, drafted: Sequence[int]) -> tuple[int, ...]:
        """What a step commits: the drafted tokens that are right, and the next token."""
        following = self._text[self._num_committed : self._num_committed + len(drafted) + 1]
        num_right = next((i for i, token in enumerate(drafted) if token != following[i]), len(drafted))
        self._num_committed += num_right + 1
        return tuple(following[: num_right + 1])


def main() -> None:
    args = _parser().parse_args()
    data = Dataset.open(args.data)
    limits = f"{args.tokens} tokens a draft, survival {args.min_survival}"
    print(f"context {args.context}, {limits}, {args.steps} steps; CPU ms a step\n")
    print("| streams | clients | min | median | p90 | min µs a draft token | accepted a round |")
    print("|---|---|---|---|---|---|---|")
    for num_streams in args.streams:
        num_clients = min(args.clients, num_streams)
        step_ms, accepted = measure(data, num_streams, num_clients, args)
        low, median, high = np.quantile(step_ms, (0.0, 0.5, 0.9))
        per_token_us = 1e3 * low / (num_streams * args.tokens)
        cells = f"{low:.2f} | {median:.2f} | {high:.2f} | {per_token_us:.1f} | {accepted:.2f}"
        print(f"| {num_streams} | {num_clients} | {cells} |", flush=True)


def measure(data: Dataset, num_streams: int, num_clients: int, args: argparse.Namespace) -> tuple[list[float], float]:
    """CPU milliseconds of each step after the warm-up, and the mean of accepted tokens."""
    drafts = _drafts(data)
    streams = []
    for key, text in enumerate(_texts(data, num_streams, args.context + args.steps * (args.tokens + 1) + args.tokens)):
        spec = StreamSpec(tuple(text[: args.context]), Sampling(), len(text), client=f"client {key % num_clients}")
        drafts.open(key, spec)
        streams.append(RecordedStream(key, text, args.context))
    step_ms, num_committed = [], 0
    for _ in range(args.steps):
        requests = [DraftRequest(stream.key, args.tokens, args.min_survival) for stream in streams]
        start = time.thread_time()
        drafted = drafts.draft(requests)
        step_ms.append(1e3 * (time.thread_time() - start))
        for stream, draft in zip(streams, drafted, strict=True):
            committed = stream.accept(draft.tokens)
            drafts.commit(stream.key, committed)
            num_committed += len(committed)
    return step_ms[args.warm_up :], num_committed / (args.steps * num_streams) - 1.0


def _drafts(data: Dataset) -> CoLocatedDrafts:
    info = TargetInfo(data.info.model, "", data.info.tokenizer_fingerprint, data.info.vocab_size, 2**20, 2**20)
    drafts = co_located_drafts(CoLocatedConfig(), TargetConfig(), info)
    assert drafts is not None
    return drafts


def _texts(data: Dataset, num_texts: int, length: int) -> Iterator[list[int]]:
    """Texts of `length` tokens, which begin with different answers and never have two in the same order."""
    answers = [[*example.prompt.tolist(), *example.answer.tolist()] for example in data.examples()]
    for number in range(num_texts):
        text: list[int] = []
        order = np.random.default_rng(number).permutation(len(answers))
        while len(text) < length:
            text += [token for index in order for token in answers[index]]
        yield text[:length]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of a data set")
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--context", type=int, default=500)
    parser.add_argument("--tokens", type=int, default=4)
    parser.add_argument("--min-survival", type=float, default=0.0, help="of every draft")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--warm-up", type=int, default=50, help="steps that are not counted")
    return parser


if __name__ == "__main__":
    main()
