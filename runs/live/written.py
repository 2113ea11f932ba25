"""A target that has written its answers before: the same verdicts at no cost, for utilities over many seeds.

A greedy text depends on its prompt alone, so who drafts, and under which scheduler, cannot change it: the real target
writes the answers once, many at a time, and every arm's servers then go through the same rounds in a thousandth of the
time. Of wall time such a run says nothing.
"""

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from goodspeed.decoding.draft import StreamKey
from goodspeed.decoding.sampling import Sampling
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

TOGETHER = DraftSchedule(windows=(0,), max_streams=24)
Tokens = tuple[int, ...]


class Texts:
    """Prompts and the target's answers of up to `max_tokens`, kept in a file."""

    def __init__(self, target: TargetEngine, max_tokens: int, folder: Path) -> None:
        self._target = target
        self._max_tokens = max_tokens
        self._path = folder / f"texts-{max_tokens}-{target.info.model_fingerprint}.json"
        self._keys = itertools.count(2**41)
        self._next: dict[Tokens, list[Tokens]] = {}  # a prompt, and those that its user asks after it
        pairs = msgspec.json.decode(self._path.read_bytes(), type=list[tuple[Tokens, Tokens]]) if self._is_kept else []
        self._answers = dict(pairs)

    @property
    def _is_kept(self) -> bool:
        return self._path.exists()

    def expect(self, prompts: Sequence[Tokens]) -> None:
        """What one user will ask, in order."""
        self._next |= {prompt: list(prompts[i : i + TOGETHER.max_streams]) for i, prompt in enumerate(prompts)}

    def write(self, prompts: Iterable[Tokens]) -> None:
        """Have the missing answers written, and keep them. Call it where the target computes."""
        missing = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._answers]
        if not missing:
            return
        ends = self._target.info.end_tokens
        requests = [ReferenceRequest(prompt, self._max_tokens, Sampling(), ends) for prompt in missing]
        written = EnginePair(self._target, NullDraft(), self._keys).write(requests, TOGETHER)
        self._answers |= {prompt: text.tokens for prompt, text in zip(missing, written, strict=True)}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_bytes(msgspec.json.encode(list(self._answers.items())))

    def answer(self, prompt: Tokens) -> Tokens:
        """Written now, if it must be, together with those that come next."""
        if prompt not in self._answers:
            self.write(self._next.get(prompt, [prompt]))
        return self._answers[prompt]


class WrittenTarget:
    """A TargetEngine that says what was written. Greedy streams only, opened with their prompt."""

    def __init__(self, texts: Texts, info: TargetInfo) -> None:
        self.info = info
        self._texts = texts
        self._unread: dict[StreamKey, int] = {}  # prompt tokens to be prefilled
        self._rests: dict[StreamKey, Tokens] = {}  # what is not committed yet

    def open(self, stream: StreamKey, spec: StreamSpec) -> None:
        self._unread[stream] = len(spec.tokens)
        self._rests[stream] = self._texts.answer(spec.tokens)

    def step(self, batch: Sequence[Work]) -> list[Outcome]:
        return [self._prefill(work) if isinstance(work, Prefill) else self._verify(work) for work in batch]

    def close(self, stream: StreamKey) -> None:
        del self._unread[stream], self._rests[stream]

    def _prefill(self, work: Prefill) -> Outcome:
        self._unread[work.stream] -= work.num_tokens
        return Outcome(work.stream, 0, None if self._unread[work.stream] else self._commit(work.stream, 0))

    def _verify(self, work: Verify) -> Outcome:
        matches = map(int.__eq__, work.draft_tokens, self._rests[work.stream])
        num_accepted = sum(1 for _ in itertools.takewhile(bool, matches))
        return Outcome(work.stream, num_accepted, self._commit(work.stream, num_accepted))

    def _commit(self, stream: StreamKey, num_accepted: int) -> int:
        """The token after the accepted ones; at the text's end any will do, for its stream ends there."""
        rest = self._rests[stream]
        self._rests[stream] = rest[num_accepted + 1 :]
        return rest[num_accepted] if num_accepted < len(rest) else rest[-1] if rest else 0
