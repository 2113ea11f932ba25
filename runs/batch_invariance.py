"""Batch invariance of the target engine: are logits bitwise the same in every batch?

The target generates 10^5 tokens at temperature 1 on the built-in prompts, 16 streams per step with one token each. The
run computes the same tokens again in steps of 1 to 8 random streams with 1 to 9 tokens each, as verification does, and
some of them as a single stream, one token per step. It compares rows of logits by a 64-bit digest; a flip is a
different argmax. Exit code 1: some bits differ. Six to ten minutes per dtype on two cores; needs the target model.

    python -m runs.batch_invariance --dtype bf16
    python -m runs.batch_invariance --dtype fp32
"""

import argparse
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import torch

from goodspeed.engine.block_table import BlockTable
from goodspeed.engine.target_config import TargetConfig
from goodspeed.engine.torch.batch import Segment
from goodspeed.engine.torch.decoder import Decoder
from goodspeed.engine.torch.kv import KvPool
from goodspeed.engine.torch.loading import load_target
from goodspeed.models.catalog import locate
from goodspeed.models.tokenizer import Tokenizer
from goodspeed.prompts.prompts import DOMAINS, load_prompts

STREAMS = 16
MAX_STREAMS, MAX_TOKENS = 8, 9  # of a verification step
CHUNK = 128

Item = TypeVar("Item")


@dataclass
class Text:
    """A prompt, the tokens generated after it, and the row of logits of every generated token."""

    prompt: list[int]
    tokens: list[int] = field(default_factory=list)
    rows: list[tuple[int, int]] = field(default_factory=list)  # (digest, argmax)


class DifferenceCount:
    """Counts of the differences between two computations."""

    def __init__(self) -> None:
        self.num_tokens = self.num_other_bits = self.num_flips = 0

    def compare(self, first: Sequence[tuple[int, int]], second: Sequence[tuple[int, int]]) -> None:
        for (first_digest, first_argmax), (second_digest, second_argmax) in zip(first, second, strict=True):
            self.num_tokens += 1
            self.num_other_bits += first_digest != second_digest
            self.num_flips += first_argmax != second_argmax

    def show(self, name: str, seconds: float) -> None:
        print(f"{name}: {self.num_tokens} tokens, {self.num_other_bits} rows with other bits, {self.num_flips} flips")
        print(f"  {1e3 * seconds / max(1, self.num_tokens):.2f} ms per token", file=sys.stderr)


class LogitReader:
    """Runs tokens through the decoder and computes a digest of each row of logits."""

    def __init__(self, decoder: Decoder, capacity: int) -> None:
        self._decoder = decoder
        self.pool = KvPool(decoder.config, capacity, decoder.dtype, decoder.device)
        generator = torch.Generator().manual_seed(1)
        self._factors = torch.randint(-(2**62), 2**62, (decoder.config.vocab_size,), generator=generator)
        self._factors |= 1
        self.logits = torch.empty(0)

    def prefill(self, tokens: Sequence[int], table: BlockTable) -> None:
        for start in range(0, len(tokens), CHUNK):
            self._decoder.forward([Segment(tokens[start : start + CHUNK], table, start, 0)], self.pool)

    def read(self, segments: Sequence[Segment]) -> list[tuple[int, int]]:
        """(digest, argmax) of every row, in order."""
        self.logits = self._decoder.forward(segments, self.pool)
        bits = self.logits.view(torch.int16 if self.logits.dtype is torch.bfloat16 else torch.int32)
        digests = (bits.to(torch.int64) * self._factors).sum(-1)
        return list(zip(digests.tolist(), self.logits.argmax(-1).tolist(), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtype", default="bf16", choices=("bf16", "fp32"))
    parser.add_argument("--tokens", type=int, default=100_000)
    parser.add_argument("--length", type=int, default=400, help="tokens of each text")
    parser.add_argument("--single", type=int, default=4_000, help="tokens computed one at a time")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    target = load_target(TargetConfig(dtype=args.dtype, threads=args.threads))
    texts = [Text(prompt) for prompt in _prompts(-(-args.tokens // args.length))]
    longest = max(len(text.prompt) for text in texts) + args.length
    rows = LogitReader(target.decoder, STREAMS * longest)
    generator, rng = torch.Generator().manual_seed(0), np.random.default_rng(0)
    verified, single = DifferenceCount(), DifferenceCount()
    seconds = {"generated": 0.0, "verified": 0.0, "single": 0.0}
    for group in _groups(texts, STREAMS):
        start_s = time.perf_counter()
        _generate(rows, group, args.length, generator)
        seconds["generated"] += time.perf_counter() - start_s
        start_s = time.perf_counter()
        _verify(rows, group, verified, rng)
        seconds["verified"] += time.perf_counter() - start_s
        start_s = time.perf_counter()
        if single.num_tokens < args.single:
            _read_single(rows, group[0], single)
        seconds["single"] += time.perf_counter() - start_s
        print(f"{verified.num_tokens} tokens", file=sys.stderr)
    print(f"{args.dtype}, {args.threads} threads, {len(texts)} texts of {args.length} tokens")
    verified.show("in ragged verifications", seconds["verified"])
    single.show("as a single stream, one token per step", seconds["single"])
    sys.exit(int(verified.num_other_bits + single.num_other_bits > 0))


def _prompts(num: int) -> list[list[int]]:
    tokenizer = Tokenizer.load(locate("smollm2-135m-instruct"))
    prompts = [prompt for domain in DOMAINS for prompt in load_prompts(domain)]
    chats = [[{"role": message.role, "content": message.content} for message in prompt.messages] for prompt in prompts]
    return [tokenizer.encode_chat(chats[number % len(chats)]) for number in range(num)]


def _generate(rows: LogitReader, texts: Sequence[Text], length: int, generator: torch.Generator) -> None:
    """Sample one token per stream and step."""
    tables = [_start(rows, text, length) for text in texts]
    for done in range(length):
        segments = [_part(text, table, done, 1) for text, table in zip(texts, tables, strict=True)]
        read = rows.read(segments)
        sampled = torch.multinomial(rows.logits.float().softmax(-1), 1, generator=generator).flatten().tolist()
        for text, row, token in zip(texts, read, sampled, strict=True):
            text.rows.append(row)
            text.tokens.append(token)
    _finish(rows, tables)


def _verify(rows: LogitReader, texts: Sequence[Text], differences: DifferenceCount, rng: np.random.Generator) -> None:
    """Compute the same tokens in ragged batches of random streams."""
    length = len(texts[0].tokens)
    tables = [_start(rows, text, length) for text in texts]
    done = [0] * len(texts)
    while left := [i for i in range(len(texts)) if done[i] < length]:
        batch = rng.permutation(left)[: rng.integers(1, MAX_STREAMS + 1)].tolist()
        sizes = [min(int(rng.integers(1, MAX_TOKENS + 1)), length - done[i]) for i in batch]
        segments = [_part(texts[i], tables[i], done[i], size) for i, size in zip(batch, sizes, strict=True)]
        read = iter(rows.read(segments))
        for i, size in zip(batch, sizes, strict=True):
            differences.compare(texts[i].rows[done[i] : done[i] + size], [next(read) for _ in range(size)])
            done[i] += size
    _finish(rows, tables)


def _read_single(rows: LogitReader, text: Text, differences: DifferenceCount) -> None:
    table = _start(rows, text, len(text.tokens))
    for done in range(len(text.tokens)):
        differences.compare(text.rows[done : done + 1], rows.read([_part(text, table, done, 1)]))
    _finish(rows, [table])


def _start(rows: LogitReader, text: Text, length: int) -> BlockTable:
    """Prefill the prompt except for its last token."""
    table = rows.pool.reserve(len(text.prompt) + length)
    rows.prefill(text.prompt[:-1], table)
    return table


def _part(text: Text, table: BlockTable, done: int, size: int) -> Segment:
    """The tokens whose rows gave the generated tokens done .. done + size - 1."""
    start = len(text.prompt) - 1 + done
    return Segment((text.prompt + text.tokens)[start : start + size], table, start, size)


def _finish(rows: LogitReader, tables: Iterable[BlockTable]) -> None:
    for table in tables:
        rows.pool.free(table)


def _groups(items: Sequence[Item], size: int) -> list[Sequence[Item]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


if __name__ == "__main__":
    main()
