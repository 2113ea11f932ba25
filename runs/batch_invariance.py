"""Do logits depend on the batch? The same 10^5 tokens of sampled text, decoded, verified in ragged batches, and alone.

    python runs/batch_invariance.py --dtype bf16          # and fp32: six to ten minutes each on two cores

The text is the target's own at temperature 1 on the bench prompts (so contexts are real, and near-ties as common as in
use). It is written 16 streams a step, one token each. Then it is read again in steps of 1 to 8 random streams with 1
to 9 tokens each, as verification does, and a part of it by a stream alone, one token a step. A row of logits is the
same if all its bits are (by a 64-bit digest); a flip is another argmax.
"""

import argparse
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import torch

from goodspeed.engine.target_config import TargetConfig
from goodspeed.engine.torch.batch import Segment
from goodspeed.engine.torch.decoder import Decoder
from goodspeed.engine.torch.kv import KvPool, Region
from goodspeed.engine.torch.loading import load_target
from goodspeed.models.catalog import locate
from goodspeed.models.tokenizer import Tokenizer
from goodspeed.prompts.prompts import DOMAINS, load_prompts

STREAMS = 16
MOST_STREAMS, MOST_TOKENS = 8, 9  # of a verification step
CHUNK = 128

Item = TypeVar("Item")


@dataclass
class Text:
    """A prompt, what the model wrote after it, and the row of logits that every written token came from."""

    prompt: list[int]
    tokens: list[int] = field(default_factory=list)
    rows: list[tuple[int, int]] = field(default_factory=list)  # (digest, argmax)


class Counted:
    """What a second reading found."""

    def __init__(self) -> None:
        self.num_tokens = self.num_other_bits = self.num_flips = 0

    def compare(self, first: Sequence[tuple[int, int]], second: Sequence[tuple[int, int]]) -> None:
        for one, other in zip(first, second, strict=True):
            self.num_tokens += 1
            self.num_other_bits += one[0] != other[0]
            self.num_flips += one[1] != other[1]

    def show(self, name: str, seconds: float) -> None:
        print(f"{name}: {self.num_tokens} tokens, {self.num_other_bits} rows with other bits, {self.num_flips} flips")
        print(f"  {1e3 * seconds / max(1, self.num_tokens):.2f} ms a token", file=sys.stderr)


class Rows:
    """Reads tokens through the decoder and digests the logits."""

    def __init__(self, decoder: Decoder, capacity: int) -> None:
        self._decoder = decoder
        self.pool = KvPool(decoder.config, capacity, decoder.dtype, decoder.device)
        generator = torch.Generator().manual_seed(1)
        self._factors = torch.randint(-(2**62), 2**62, (decoder.config.vocab_size,), generator=generator)
        self._factors |= 1
        self.logits = torch.empty(0)

    def prefill(self, tokens: Sequence[int], region: Region) -> None:
        for start in range(0, len(tokens), CHUNK):
            self._decoder.forward([Segment(tokens[start : start + CHUNK], region, start, 0)], self.pool)

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
    parser.add_argument("--length", type=int, default=400, help="tokens of a text")
    parser.add_argument("--alone", type=int, default=4_000, help="tokens that are read one at a time")
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    target = load_target(TargetConfig(dtype=asked.dtype, threads=asked.threads))
    texts = [Text(prompt) for prompt in _prompts(-(-asked.tokens // asked.length))]
    longest = max(len(text.prompt) for text in texts) + asked.length
    rows = Rows(target.decoder, STREAMS * longest)
    generator, rng = torch.Generator().manual_seed(0), np.random.default_rng(0)
    verified, alone = Counted(), Counted()
    seconds = {"written": 0.0, "verified": 0.0, "alone": 0.0}
    for group in _groups(texts, STREAMS):
        began = time.perf_counter()
        _write(rows, group, asked.length, generator)
        seconds["written"] += time.perf_counter() - began
        began = time.perf_counter()
        _verify(rows, group, verified, rng)
        seconds["verified"] += time.perf_counter() - began
        began = time.perf_counter()
        if alone.num_tokens < asked.alone:
            _read_alone(rows, group[0], alone)
        seconds["alone"] += time.perf_counter() - began
        print(f"{verified.num_tokens} tokens", file=sys.stderr)
    print(f"{asked.dtype}, {asked.threads} threads, {len(texts)} texts of {asked.length} tokens")
    verified.show("in ragged verifications", seconds["verified"])
    alone.show("alone, a token a step", seconds["alone"])
    sys.exit(int(verified.num_other_bits + alone.num_other_bits > 0))


def _prompts(num: int) -> list[list[int]]:
    tokenizer = Tokenizer.load(locate("smollm2-135m-instruct"))
    prompts = [prompt for domain in DOMAINS for prompt in load_prompts(domain)]
    chats = [[{"role": one.role, "content": one.content} for one in prompt.messages] for prompt in prompts]
    return [tokenizer.encode_chat(chats[number % len(chats)]) for number in range(num)]


def _write(rows: Rows, texts: Sequence[Text], length: int, generator: torch.Generator) -> None:
    """One token a stream and step, sampled."""
    regions = [_begin(rows, text, length) for text in texts]
    for done in range(length):
        segments = [_part(text, region, done, 1) for text, region in zip(texts, regions, strict=True)]
        read = rows.read(segments)
        sampled = torch.multinomial(rows.logits.float().softmax(-1), 1, generator=generator).flatten().tolist()
        for text, row, token in zip(texts, read, sampled, strict=True):
            text.rows.append(row)
            text.tokens.append(token)
    _end(rows, regions)


def _verify(rows: Rows, texts: Sequence[Text], counted: Counted, rng: np.random.Generator) -> None:
    """The same text in ragged batches of random streams."""
    length = len(texts[0].tokens)
    regions = [_begin(rows, text, length) for text in texts]
    done = [0] * len(texts)
    while left := [i for i in range(len(texts)) if done[i] < length]:
        chosen = rng.permutation(left)[: rng.integers(1, MOST_STREAMS + 1)].tolist()
        sizes = [min(int(rng.integers(1, MOST_TOKENS + 1)), length - done[i]) for i in chosen]
        segments = [_part(texts[i], regions[i], done[i], size) for i, size in zip(chosen, sizes, strict=True)]
        read = iter(rows.read(segments))
        for i, size in zip(chosen, sizes, strict=True):
            counted.compare(texts[i].rows[done[i] : done[i] + size], [next(read) for _ in range(size)])
            done[i] += size
    _end(rows, regions)


def _read_alone(rows: Rows, text: Text, counted: Counted) -> None:
    region = _begin(rows, text, len(text.tokens))
    for done in range(len(text.tokens)):
        counted.compare(text.rows[done : done + 1], rows.read([_part(text, region, done, 1)]))
    _end(rows, [region])


def _begin(rows: Rows, text: Text, length: int) -> Region:
    """All of the prompt but its last token is prefilled."""
    region = rows.pool.reserve(len(text.prompt) + length)
    rows.prefill(text.prompt[:-1], region)
    return region


def _part(text: Text, region: Region, done: int, size: int) -> Segment:
    """The tokens from whose rows written tokens done .. done + size - 1 come."""
    start = len(text.prompt) - 1 + done
    return Segment((text.prompt + text.tokens)[start : start + size], region, start, size)


def _end(rows: Rows, regions: Iterable[Region]) -> None:
    for region in regions:
        rows.pool.free(region)


def _groups(items: Sequence[Item], size: int) -> list[Sequence[Item]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


if __name__ == "__main__":
    main()
