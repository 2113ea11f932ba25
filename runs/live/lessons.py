"""What warm drafts have learned before a run: the target's own answers to other prompts of their domain."""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
from runs.live.domains import prompts
from runs.live.live_run import LiveTarget

from goodspeed.decoding.draft import DraftRequest
from goodspeed.decoding.sampling import Sampling
from goodspeed.engine.interface import DraftEngine
from goodspeed.engine.null_draft import NullDraft
from goodspeed.engine.reference import ReferenceRequest
from goodspeed.lossless.pair import DraftSchedule, EnginePair
from goodspeed.models.tokenizer import Tokenizer

LESSON_SEED = 1_000_000
NUM_TOKENS = 100
WINDOW = 6
TOGETHER = DraftSchedule(windows=(0,), max_streams=16)


class Lesson(msgspec.Struct, frozen=True):
    """A prompt and the target's answer, in tokens."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]


def lessons(target: LiveTarget, tokenizer: Tokenizer, domain: str, num: int, folder: Path) -> list[Lesson]:
    """The first ones of the domain; written once, then kept in the folder."""
    path = folder / f"{domain}-{num}x{NUM_TOKENS}-{target.engine.info.model_fingerprint}.json"
    if not path.exists():
        made = target.thread.submit(_write, target, tokenizer, domain, num).result()
        folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.encode(made))
    return msgspec.json.decode(path.read_bytes(), type=list[Lesson])


def asked(tokenizer: Tokenizer, domain: str, seed: int, num_lessons: int) -> Iterator[tuple[int, ...]]:
    """What the domain's user asks in a run of this seed; no lesson is among it."""
    known = set(itertools.islice(prompts(domain, LESSON_SEED), num_lessons))
    return (_tokens(tokenizer, prompt) for prompt in prompts(domain, seed) if prompt not in known)


def teach(engine: DraftEngine, taught: Sequence[Lesson]) -> None:
    """Let the engine draft every answer, so that it learns as in its service."""
    for key, lesson in enumerate(taught):
        engine.open(-1 - key, lesson.prompt, Sampling())
        at = 0
        while at < len(lesson.answer):
            (draft,) = engine.draft([DraftRequest(-1 - key, WINDOW)])
            rest = lesson.answer[at:]
            kept = sum(1 for _ in itertools.takewhile(bool, map(int.__eq__, draft.tokens, rest)))
            engine.commit(-1 - key, rest[: kept + 1])
            at += kept + 1
        engine.close(-1 - key)


def _write(target: LiveTarget, tokenizer: Tokenizer, domain: str, num: int) -> list[Lesson]:
    requests = [
        ReferenceRequest(_tokens(tokenizer, prompt), NUM_TOKENS, Sampling(), target.engine.info.end_tokens)
        for prompt in itertools.islice(prompts(domain, LESSON_SEED), num)
    ]
    written = EnginePair(target.engine, NullDraft(), itertools.count(2**40)).write(requests, TOGETHER)
    return [Lesson(request.prompt, text.tokens) for request, text in zip(requests, written, strict=True)]


def _tokens(tokenizer: Tokenizer, prompt: str) -> tuple[int, ...]:
    return tuple(tokenizer.encode_chat([{"role": "user", "content": prompt}]))
