"""A seeded pair that needs no weights: a target that is a hash of its last tokens, a draft of known acceptance rate.

For tests, self-checks and the measurement of everything but the model. The target asserts the seam's rules, so that
whoever drives it wrongly hears of it.
"""

import hashlib
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tokenizers

from goodspeed.decoding.distribution import distribution
from goodspeed.decoding.draft import Draft, DraftRequest, SparseProbs, StreamKey
from goodspeed.decoding.noise import gumbel_row
from goodspeed.decoding.rules import choose, draw, quantise, verify
from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.engine.interface import (
    Outcome,
    Prefill,
    StreamSpec,
    TargetInfo,
    Verify,
    Work,
)
from goodspeed.models.spelling import BYTE_OF

SPECIAL_TOKENS = ("<|im_start|>", "<|im_end|>", "<|endoftext|>")
TOY_VOCAB_SIZE = 256 + len(SPECIAL_TOKENS)  # token b < 256 is the byte b
END_TOKEN = 257  # <|im_end|>
LETTERS = tuple(b" abcdefghijklmnopqrstuvwxyz")  # what the byte-sized toy likes to write
CONTEXT = 4  # tokens
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class ToyModel:
    """Logits that are a function of a seed and the last four tokens; the argmax is known without making them."""

    def __init__(self, vocab_size: int = TOY_VOCAB_SIZE, seed: int = 0) -> None:
        self.vocab_size = vocab_size
        self._seed = seed
        self._liked = LETTERS if vocab_size >= 256 else tuple(range(vocab_size))

    def logits(self, tokens: Sequence[int]) -> npt.NDArray[np.float32]:
        """[len(tokens), vocab]: row i scores what comes after tokens[: i + 1]."""
        return np.stack([self.row(tokens[: i + 1]) for i in range(len(tokens))])

    def row(self, tokens: Sequence[int]) -> npt.NDArray[np.float32]:
        """[vocab]: scores of what comes after the tokens; about half the mass is on the argmax at temperature 1."""
        state = self._state(tokens)
        row = gumbel_row(self._seed, state, self.vocab_size)
        row *= np.float32(1.5)
        np.minimum(row, np.float32(6.0), out=row)
        is_liked = np.zeros(self.vocab_size, dtype=bool)
        is_liked[list(self._liked)] = True
        row[~is_liked] -= 8.0
        row[self._top(state)] = 7.5
        return row

    def top(self, tokens: Sequence[int]) -> int:
        """The argmax of row(tokens), in a microsecond or two."""
        return self._top(self._state(tokens))

    def choice(self, tokens: Sequence[int], sampling: Sampling) -> int:
        """The target's own next token."""
        if sampling.rule is Rule.GREEDY:
            return self.top(tokens)
        return int(choose(self.row(tokens)[np.newaxis], sampling, len(tokens))[0])

    def _state(self, tokens: Sequence[int]) -> int:
        return _hash(self._seed, *tokens[-CONTEXT:])

    def _top(self, state: int) -> int:
        return self._liked[state % len(self._liked)]


def toy_info(
    tokenizer_fingerprint: str = "toy",
    vocab_size: int = TOY_VOCAB_SIZE,
    max_context: int = 4096,
    kv_capacity: int = 2**20,
) -> TargetInfo:
    """The toy target's facts; with toy_tokenizer's folder give that tokenizer's fingerprint."""
    return TargetInfo(
        model="toy",
        model_fingerprint=f"toy-{vocab_size}",
        tokenizer_fingerprint=tokenizer_fingerprint,
        vocab_size=vocab_size,
        max_context=max_context,
        kv_capacity=kv_capacity,
        end_tokens=(END_TOKEN,) if vocab_size >= TOY_VOCAB_SIZE else (),
    )


@dataclass(slots=True)
class _TargetStream:
    spec: StreamSpec
    tokens: list[int]
    num_prefilled: int = 0


class ToyTarget:
    """A TargetEngine over ToyModel. Misuse of the seam fails an assertion."""

    def __init__(self, info: TargetInfo | None = None, seed: int = 0) -> None:
        self.info = info or toy_info()
        self.model = ToyModel(self.info.vocab_size, seed)
        self._streams: dict[StreamKey, _TargetStream] = {}
        self._used: set[StreamKey] = set()

    @property
    def num_open(self) -> int:
        """Streams that hold memory."""
        return len(self._streams)

    def open(self, stream: StreamKey, spec: StreamSpec) -> None:
        assert stream not in self._used, f"stream key {stream} is used twice"
        assert 0 < len(spec.tokens) <= spec.capacity, f"{len(spec.tokens)} tokens in a capacity of {spec.capacity}"
        assert all(0 <= token < self.info.vocab_size for token in spec.tokens), "a token outside the vocabulary"
        self._used.add(stream)
        self._streams[stream] = _TargetStream(spec, list(spec.tokens))
        held = sum(other.spec.capacity for other in self._streams.values())
        assert held <= self.info.kv_capacity, f"{held} KV tokens admitted, there are {self.info.kv_capacity}"

    def step(self, batch: Sequence[Work]) -> list[Outcome]:
        assert batch, "an empty batch"
        assert len({work.stream for work in batch}) == len(batch), "two pieces of work for one stream"
        return [self._prefill(work) if isinstance(work, Prefill) else self._verify(work) for work in batch]

    def close(self, stream: StreamKey) -> None:
        assert stream in self._streams, f"stream {stream} is not open"
        del self._streams[stream]

    def _prefill(self, work: Prefill) -> Outcome:
        stream = self._stream(work.stream)
        remaining = len(stream.spec.tokens) - stream.num_prefilled
        assert 0 < work.num_tokens <= remaining, f"prefill of {work.num_tokens} tokens, {remaining} remain"
        stream.num_prefilled += work.num_tokens
        if work.num_tokens < remaining:
            return Outcome(work.stream, 0, None)
        return self._decide(stream, Verify(work.stream, ()))

    def _verify(self, work: Verify) -> Outcome:
        stream = self._stream(work.stream)
        assert stream.num_prefilled == len(stream.spec.tokens), f"stream {work.stream} is not wholly prefilled"
        assert len(work.draft_probs) in {0, len(work.draft_tokens)}, "as many draft distributions as tokens, or none"
        assert all(0 <= token < self.info.vocab_size for token in work.draft_tokens), "a token outside the vocabulary"
        num_tokens = len(stream.tokens) + len(work.draft_tokens)
        assert num_tokens <= stream.spec.capacity, f"{num_tokens} tokens in a capacity of {stream.spec.capacity}"
        return self._decide(stream, work)

    def _decide(self, stream: _TargetStream, work: Verify) -> Outcome:
        sampling = stream.spec.sampling
        if sampling.rule is Rule.GREEDY:
            num_accepted, next_token = self._greedy(stream.tokens, work.draft_tokens)
        else:
            rows = self._rows(stream.tokens, work.draft_tokens)
            num_accepted, next_token = verify(rows, work.draft_tokens, work.draft_probs, sampling, len(stream.tokens))
        committed = (*work.draft_tokens[:num_accepted], next_token)
        logprobs = self._logprobs(stream.tokens, committed) if stream.spec.logprobs else ()
        stream.tokens.extend(committed)
        return Outcome(work.stream, num_accepted, next_token, logprobs)

    def _greedy(self, tokens: list[int], draft_tokens: tuple[int, ...]) -> tuple[int, int]:
        """As rules.verify judges, without any row of the vocabulary."""
        context = tokens[-CONTEXT:]
        for i, token in enumerate(draft_tokens):
            choice = self.model.top(context)
            if choice != token:
                return i, choice
            context.append(token)
        return len(draft_tokens), self.model.top(context)

    def _rows(self, tokens: list[int], more: tuple[int, ...]) -> npt.NDArray[np.float32]:
        """[len(more) + 1, vocab]: what comes after the tokens, and after each of `more`."""
        context = tokens[-CONTEXT:]
        return np.stack([self.model.row([*context, *more[:i]]) for i in range(len(more) + 1)])

    def _logprobs(self, tokens: list[int], committed: tuple[int, ...]) -> tuple[float, ...]:
        rows = self._rows(tokens, committed[:-1]).astype(np.float64)
        log_totals = np.log(np.exp(rows).sum(axis=1))
        return tuple(float(rows[i, token] - log_totals[i]) for i, token in enumerate(committed))

    def _stream(self, stream: StreamKey) -> _TargetStream:
        assert stream in self._streams, f"stream {stream} is not open"
        return self._streams[stream]


@dataclass(slots=True)
class _DraftStream:
    tokens: list[int]
    sampling: Sampling


class ToyDraft:
    """A DraftEngine for ToyTarget whose tokens are accepted with a known probability, independently of each other.

    Greedy and coupled: a hash of seed, position and the tokens before decides whether the target's own choice is
    drafted, or another token. Rejection: drawn from a distribution at total variation distance 1 - acceptance_rate from
    the target's own, over its whole (small) vocabulary. `seed` of the model must be the target's.
    """

    def __init__(self, acceptance_rate: float, model: ToyModel | None = None, seed: int = 0) -> None:
        assert 0.0 <= acceptance_rate <= 1.0
        self.acceptance_rate = acceptance_rate
        self._model = model or ToyModel()
        self._seed = seed
        self._streams: dict[StreamKey, _DraftStream] = {}

    def open(self, stream: StreamKey, tokens: Sequence[int], sampling: Sampling) -> None:
        assert stream not in self._streams, f"stream {stream} is open"
        assert len(tokens) > 0, "an empty prefix"
        self._streams[stream] = _DraftStream(list(tokens), sampling)

    def draft(self, requests: Sequence[DraftRequest]) -> list[Draft]:
        return [self._draft(self._streams[request.stream], request) for request in requests]

    def commit(self, stream: StreamKey, tokens: Sequence[int]) -> None:
        self._streams[stream].tokens.extend(tokens)

    def close(self, stream: StreamKey) -> None:
        del self._streams[stream]

    def _draft(self, stream: _DraftStream, request: DraftRequest) -> Draft:
        tokens, probs = list(stream.tokens), []
        num_tokens = self._length(request)
        for _ in range(num_tokens):
            if stream.sampling.rule is Rule.REJECTION:
                probs.append(self._probs(tokens, stream.sampling))
                tokens.append(draw(probs[-1], stream.sampling, len(tokens)))
            else:
                tokens.append(self._token(tokens, stream.sampling))
        return Draft(tuple(tokens[len(stream.tokens) :]), (self.acceptance_rate,) * num_tokens, tuple(probs))

    def _length(self, request: DraftRequest) -> int:
        """Before survival falls below what is asked; looks at no token, as the rejection rule demands."""
        survival = 1.0
        for length in range(request.max_tokens):
            survival *= self.acceptance_rate
            if survival < request.min_survival:
                return length
        return request.max_tokens

    def _token(self, tokens: list[int], sampling: Sampling) -> int:
        choice = self._model.choice(tokens, sampling)
        bits = _hash(self._seed, len(tokens), *tokens[-CONTEXT:])
        if bits < self.acceptance_rate * 2**64:
            return choice
        return (choice + 1 + bits % (self._model.vocab_size - 1)) % self._model.vocab_size

    def _probs(self, tokens: list[int], sampling: Sampling) -> SparseProbs:
        """A mixture of the target's distribution and its least likely token."""
        target = distribution(self._model.row(tokens), sampling)
        probs = np.zeros(self._model.vocab_size)
        probs[target.token_ids] = target.probs()
        least = int(np.argmin(probs))
        share = max(0.0, (self.acceptance_rate - probs[least]) / (1.0 - probs[least]))
        probs *= share
        probs[least] += 1.0 - share
        return quantise(np.arange(self._model.vocab_size), probs, self._model.vocab_size)


def toy_tokenizer(folder: Path) -> None:
    """Write a byte-level tokenizer with a chat template into the folder, as a checkpoint would have it."""
    spelled = {byte: char for char, byte in BYTE_OF.items()}
    vocab = {spelled[byte]: byte for byte in range(256)}
    backend = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocab, merges=[]))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = tokenizers.decoders.ByteLevel()
    backend.add_special_tokens(list(SPECIAL_TOKENS))
    folder.mkdir(parents=True, exist_ok=True)
    backend.save(str(folder / "tokenizer.json"))
    config = {"chat_template": CHAT_TEMPLATE, "eos_token": SPECIAL_TOKENS[1]}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")


def _hash(*values: int) -> int:
    """64 bits, uniform and independent for different values."""
    packed = struct.pack(f"<{len(values)}Q", *values)
    return int.from_bytes(hashlib.blake2b(packed, digest_size=8).digest(), "little")
