"""Warm-up of drafts before a run: they learn from the target's answers to other prompts of their domain."""

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

WARM_UP_SEED = 1_000_000
NUM_TOKENS = 100
WINDOW = 6
SCHEDULE = DraftSchedule(windows=(0,), max_streams=16)


class WarmUpAnswer(msgspec.Struct, frozen=True):
    """A prompt and the target's answer, in tokens."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]


def warm_up_answers(
    target: LiveTarget, tokenizer: Tokenizer, domain: str, num: int, folder: Path
) -> list[WarmUpAnswer]:
    """The first `num` answers of the domain; generated once and stored in the folder."""
    path = folder / f"{domain}-{num}x{NUM_TOKENS}-{target.engine.info.model_fingerprint}.json"
    if not path.exists():
        generated = target.thread.submit(_generate, target, tokenizer, domain, num).result()
        folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.encode(generated))
    return msgspec.json.decode(path.read_bytes(), type=list[WarmUpAnswer])


def user_prompts(tokenizer: Tokenizer, domain: str, seed: int, num_warm_up: int) -> Iterator[tuple[int, ...]]:
    """The prompts of the domain's user in a run with this seed, without those of the warm-up."""
    warm_up_prompts = set(itertools.islice(prompts(domain, WARM_UP_SEED), num_warm_up))
    return (_tokens(tokenizer, prompt) for prompt in prompts(domain, seed) if prompt not in warm_up_prompts)


def warm_up(engine: DraftEngine, answers: Sequence[WarmUpAnswer]) -> None:
    """Let the engine draft every answer, so that it learns as in service."""
    for key, answer in enumerate(answers):
        engine.open(-1 - key, answer.prompt, Sampling())
        num_committed = 0
        while num_committed < len(answer.answer):
            (draft,) = engine.draft([DraftRequest(-1 - key, WINDOW)])
            remaining = answer.answer[num_committed:]
            num_accepted = sum(1 for _ in itertools.takewhile(bool, map(int.__eq__, draft.tokens, remaining)))
            engine.commit(-1 - key, remaining[: num_accepted + 1])
            num_committed += num_accepted + 1
        engine.close(-1 - key)


def _generate(target: LiveTarget, tokenizer: Tokenizer, domain: str, num: int) -> list[WarmUpAnswer]:
    requests = [
        ReferenceRequest(_tokens(tokenizer, prompt), NUM_TOKENS, Sampling(), target.engine.info.end_tokens)
        for prompt in itertools.islice(prompts(domain, WARM_UP_SEED), num)
    ]
    texts = EnginePair(target.engine, NullDraft(), itertools.count(2**40)).generate(requests, SCHEDULE)
    return [WarmUpAnswer(request.prompt, text.tokens) for request, text in zip(requests, texts, strict=True)]


def _tokens(tokenizer: Tokenizer, prompt: str) -> tuple[int, ...]:
    return tuple(tokenizer.encode_chat([{"role": "user", "content": prompt}]))
