"""A target engine that replays pregenerated answers: the same verdicts without forward passes, for many seeds.

A greedy text depends on its prompt only, not on drafts or scheduler. So the real target generates the answers once, in
batches, and the servers of every arm go through the same rounds in a thousandth of the time. The wall times of such a
run are meaningless.
"""

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from goodspeed.decoding.draft import StreamKey
from goodspeed.decoding.sampling import Sampling
from goodspeed.engine.grammar.grammars import Grammars
from goodspeed.engine.interface import (
    Outcome,
    Prefill,
    StreamSpec,
    TargetEngine,
    TargetInfo,
    Verify,
    Work,
)
from goodspeed.engine.null_draft import NullDraft
from goodspeed.engine.reference import ReferenceRequest
from goodspeed.lossless.pair import DraftSchedule, EnginePair

SCHEDULE = DraftSchedule(windows=(0,), max_streams=24)
Tokens = tuple[int, ...]


class PregeneratedAnswers:
    """Prompts and the target's answers of up to `max_tokens`, stored in a file."""

    def __init__(self, target: TargetEngine, max_tokens: int, folder: Path) -> None:
        self._target = target
        self._max_tokens = max_tokens
        self._path = folder / f"texts-{max_tokens}-{target.info.model_fingerprint}.json"
        self._keys = itertools.count(2**41)
        self._next: dict[Tokens, list[Tokens]] = {}  # prompt -> it and the next prompts of its user
        pairs = (
            msgspec.json.decode(self._path.read_bytes(), type=list[tuple[Tokens, Tokens]]) if self._is_stored else []
        )
        self._answers = dict(pairs)

    @property
    def _is_stored(self) -> bool:
        return self._path.exists()

    def expect(self, prompts: Sequence[Tokens]) -> None:
        """Announce the prompts of one user, in order, so that they are generated together."""
        self._next |= {prompt: list(prompts[i : i + SCHEDULE.max_streams]) for i, prompt in enumerate(prompts)}

    def generate(self, prompts: Iterable[Tokens]) -> None:
        """Generate and store the missing answers. Call it in the target's thread."""
        missing = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._answers]
        if not missing:
            return
        end_tokens = self._target.info.end_tokens
        requests = [ReferenceRequest(prompt, self._max_tokens, Sampling(), end_tokens) for prompt in missing]
        texts = EnginePair(self._target, NullDraft(), self._keys).generate(requests, SCHEDULE)
        self._answers |= {prompt: text.tokens for prompt, text in zip(missing, texts, strict=True)}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_bytes(msgspec.json.encode(list(self._answers.items())))

    def answer(self, prompt: Tokens) -> Tokens:
        """The answer to a prompt, generated now with those of the next prompts if it is missing."""
        if prompt not in self._answers:
            self.generate(self._next.get(prompt, [prompt]))
        return self._answers[prompt]


class PregeneratedTarget:
    """A TargetEngine that replays answers. Greedy streams only, opened with their prompt."""

    def __init__(self, texts: PregeneratedAnswers, info: TargetInfo) -> None:
        self.info = info
        self.grammars: Grammars | None = None
        self._texts = texts
        self._unprefilled: dict[StreamKey, int] = {}  # prompt tokens not prefilled yet
        self._remaining: dict[StreamKey, Tokens] = {}  # answer tokens not committed yet

    def open(self, stream: StreamKey, spec: StreamSpec) -> None:
        self._unprefilled[stream] = len(spec.tokens) - (spec.prefix.num_tokens if spec.prefix else 0)
        self._remaining[stream] = self._texts.answer(spec.tokens)

    def step(self, batch: Sequence[Work]) -> list[Outcome]:
        return [self._prefill(work) if isinstance(work, Prefill) else self._verify(work) for work in batch]

    def retain(self, stream: StreamKey, num_tokens: int) -> None:
        """It needs no keys and values, and keeps nothing."""
        del num_tokens
        self.close(stream)

    def close(self, stream: StreamKey) -> None:
        self._unprefilled.pop(stream, None)
        self._remaining.pop(stream, None)

    def _prefill(self, work: Prefill) -> Outcome:
        self._unprefilled[work.stream] -= work.num_tokens
        return Outcome(work.stream, 0, None if self._unprefilled[work.stream] else self._commit(work.stream, 0))

    def _verify(self, work: Verify) -> Outcome:
        matches = map(int.__eq__, work.draft_tokens, self._remaining[work.stream])
        num_accepted = sum(1 for _ in itertools.takewhile(bool, matches))
        return Outcome(work.stream, num_accepted, self._commit(work.stream, num_accepted))

    def _commit(self, stream: StreamKey, num_accepted: int) -> int:
        """The token after the accepted ones. At the end of the text any token will do: the stream ends there."""
        remaining = self._remaining[stream]
        self._remaining[stream] = remaining[num_accepted + 1 :]
        return remaining[num_accepted] if num_accepted < len(remaining) else remaining[-1] if remaining else 0
