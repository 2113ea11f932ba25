"""Batch invariance of llama.cpp: are logits bitwise the same in every batch, by weight type and setting?

Answers to built-in prompts are computed once in decoding steps of a stream alone (each with one filler row), and then
again in random divisions: steps of 1 to 8 streams with 1 to 9 tokens each, prompts in chunks of up to 300, drafts that
are rolled back, streams that end and begin. A row differs if any bit of its logits does; a flip is a different argmax.
 Exit code 1: the setting that the engine uses by default has a different row.

    python -m runs.llama_batch_invariance --types Q4_1 Q4_0 Q8_0 F16 --tokens 400 --threads 2
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from runs.synthetic.quantised_models import MODEL, quantised

from goodspeed.engine.llama_config import LlamaConfig
from goodspeed.engine.llama_cpp.cells import Cells
from goodspeed.engine.llama_cpp.forward import Forward, Segment
from goodspeed.engine.llama_cpp.loading import make_forward
from goodspeed.engine.llama_cpp.model import LlamaModel, load_model
from goodspeed.models.catalog import locate_tokenizer
from goodspeed.models.tokenizer import Tokenizer
from goodspeed.prompts.prompts import DOMAINS, load_prompts

NUM_CELLS = 6144
MAX_STREAMS, MAX_TOKENS, MAX_CHUNK = 8, 9, 300


@dataclass(frozen=True)
class Setting:
    """One way to run the model."""

    name: str
    config: LlamaConfig
    min_rows: int
    keeps_order: bool = True


DEFAULT = Setting("as the engine runs it: 2 to 63 rows, flash attention", LlamaConfig(flash_attn="on"), 2)
SETTINGS = (
    DEFAULT,
    replace(DEFAULT, name="1 row allowed", min_rows=1),
    replace(DEFAULT, name="up to 512 rows", config=LlamaConfig(flash_attn="on", n_ubatch=512)),
    replace(DEFAULT, name="cells freed in the middle", keeps_order=False),
    replace(DEFAULT, name="without flash attention", config=LlamaConfig(flash_attn="off")),
    replace(
        DEFAULT,
        name="keys and values in q8_0, 1 to 512 rows",
        config=LlamaConfig(flash_attn="on", n_ubatch=512, cache_type_k="q8_0", cache_type_v="q8_0"),
        min_rows=1,
    ),
)


class FreesInTheMiddle(Cells):
    """Cells without care for their order: llama.cpp's own choice of the next free cell."""

    def truncate(self, sequence: int, num_tokens: int) -> None:
        self.context.remove(sequence, num_tokens)
        self._sequences[sequence].num_tokens = num_tokens


@dataclass
class Text:
    """A prompt, its answer, and the rows of logits that chose the answer."""

    prompt: list[int]
    answer: list[int] = field(default_factory=list)
    rows: list[npt.NDArray[np.float32]] = field(default_factory=list)


@dataclass
class Counts:
    """Differences between the rows of two computations."""

    num_rows: int = 0
    num_different: int = 0
    num_flips: int = 0
    largest: float = 0.0

    def compare(self, expected: npt.NDArray[np.float32], found: npt.NDArray[np.float32]) -> None:
        self.num_rows += 1
        if not np.array_equal(expected, found):
            self.num_different += 1
            self.largest = max(self.largest, float(np.abs(expected - found).max()))
            self.num_flips += int(expected.argmax() != found.argmax())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--types", nargs="+", default=["Q4_1", "Q4_0", "Q8_0", "F16"])
    parser.add_argument("--texts", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=100, help="tokens of each answer")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--settings", type=int, nargs="*", help="indices of the settings; default: all")
    args = parser.parse_args()
    print(f"{args.texts} texts of {args.tokens} tokens, {args.threads} threads")
    print(
        "| weights | setting | rows | other bits | flips | largest difference |\n|---|---|---|---|---|---|", flush=True
    )
    has_failed = False
    with tempfile.TemporaryDirectory() as folder:
        for kind in args.types:
            model = load_model(quantised(kind, Path(folder)), 0)
            for setting in [SETTINGS[i] for i in args.settings] if args.settings else SETTINGS:
                counts = _measure(model, setting, args)
                has_failed |= setting is DEFAULT and counts.num_different > 0
                shown = f"{counts.num_rows} | {counts.num_different} | {counts.num_flips} | {counts.largest:.2g}"
                print(f"| {kind} | {setting.name} | {shown} |", flush=True)
    sys.exit(int(has_failed))


def _measure(model: LlamaModel, setting: Setting, args: argparse.Namespace) -> Counts:
    forward = make_forward(model, setting.config, NUM_CELLS, threads=args.threads, min_rows=setting.min_rows)
    if not setting.keeps_order:
        forward = replace(forward, cells=FreesInTheMiddle(forward.cells.context))
    texts = [_alone(forward, prompt, args.tokens) for prompt in _prompts(args.texts)]
    counts, rng = Counts(), np.random.default_rng(0)
    for _ in range(2):
        _together(forward, texts, counts, rng)
    forward.cells.context.close()
    return counts


def _prompts(num: int) -> list[list[int]]:
    tokenizer = Tokenizer.load(locate_tokenizer(MODEL))
    prompts = [prompt for domain in DOMAINS for prompt in load_prompts(domain)]
    chats = [[{"role": message.role, "content": message.content} for message in prompt.messages] for prompt in prompts]
    return [tokenizer.encode_chat(chats[(11 * number) % len(chats)]) for number in range(num)]


def _alone(forward: Forward, prompt: list[int], num_tokens: int) -> Text:
    """Greedy decoding of one stream."""
    text, cells = Text(prompt), forward.cells
    sequence = cells.open()
    row = forward.run([Segment(sequence, 0, prompt, 1)])[0][0]
    for i in range(num_tokens):
        text.rows.append(row.copy())
        text.answer.append(int(row.argmax()))
        row = forward.run([Segment(sequence, len(prompt) + i, text.answer[-1:], 1)])[0][0]
    cells.close(sequence)
    return text


@dataclass
class Stream:
    """A stream that computes a text again: `done` tokens are in the cache."""

    text: Text
    sequence: int
    done: int = 0


def _together(forward: Forward, texts: Sequence[Text], counts: Counts, rng: np.random.Generator) -> None:
    """Compute every text again among the others, in steps as a verifier's."""
    waiting, active = [texts[i] for i in rng.permutation(len(texts))], list[Stream]()
    while waiting or active:
        while waiting and len(active) < MAX_STREAMS and rng.random() < 0.5:
            active.append(Stream(waiting.pop(), forward.cells.open()))
        batch = [active[i] for i in rng.permutation(len(active))[: rng.integers(1, MAX_STREAMS + 1)]]
        if not batch:
            continue
        parts = [_part(stream, rng) for stream in batch]
        logits = forward.run([segment for segment, _ in parts])
        for stream, (segment, num_right), rows in reversed(list(zip(batch, parts, logits, strict=True))):
            num_compared = segment.num_logits - (len(segment.tokens) - num_right)
            stream.done += num_right
            end = stream.done - len(stream.text.prompt) + 1
            for expected, row in zip(stream.text.rows[end - num_compared : end], rows, strict=False):
                counts.compare(expected, row)
            forward.cells.truncate(stream.sequence, stream.done)
            if stream.done == len(stream.text.prompt) + len(stream.text.answer) - 1:
                active.remove(stream)
                forward.cells.close(stream.sequence)


def _part(stream: Stream, rng: np.random.Generator) -> tuple[Segment, int]:
    """The next tokens of a stream, perhaps followed by wrong ones, and the number of right ones."""
    tokens = stream.text.prompt + stream.text.answer[:-1]
    if (left := len(stream.text.prompt) - stream.done) > 0:
        size = min(left, int(rng.integers(1, MAX_CHUNK)))
        return Segment(stream.sequence, stream.done, tokens[stream.done : stream.done + size], int(size == left)), size
    right = tokens[stream.done : stream.done + int(rng.integers(1, MAX_TOKENS + 1))]
    wrong = rng.integers(1000, 40000, rng.integers(0, 4)).tolist()
    return Segment(stream.sequence, stream.done, right + wrong, len(right) + len(wrong)), len(right)


if __name__ == "__main__":
    main()
