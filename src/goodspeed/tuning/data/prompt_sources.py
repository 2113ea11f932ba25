"""What the target is asked: prompts of files, prompts that it writes itself, and rounds that live traffic recorded."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from goodspeed.errors import DataError
from goodspeed.models.tokenizer import Tokenizer
from goodspeed.prompts.prompts import Prompt
from goodspeed.tuning.data.example import Example, Origin, Rejected
from goodspeed.tuning.data.generation import GenerationRequest, RecordedAnswer

WRITTEN = "written"
SHORTEST_WRITTEN = 12  # characters


def requests_of(
    prompts: Sequence[Prompt], tokenizer: Tokenizer, source: str, max_tokens: int
) -> list[GenerationRequest]:
    """One greedy ask a prompt, its category the prompt's. Raises RequestError where the chat template refuses one."""
    return [
        GenerationRequest(
            Origin(f"{source}#{i}", source, prompt.category),
            tuple(tokenizer.encode_chat([{"role": one.role, "content": one.content} for one in prompt.messages])),
            max_tokens,
        )
        for i, prompt in enumerate(prompts)
    ]


def sampled(ask: GenerationRequest, temperature: float, seed: int) -> GenerationRequest:
    """The same ask at a temperature."""
    origin = ask.origin
    key = f"{origin.key}@{temperature:g}/{seed}"
    return GenerationRequest(Origin(key, origin.source, origin.category, temperature, seed), ask.prompt, ask.max_tokens)


def user_turn_requests(tokenizer: Tokenizer, num_prompts: int, seed: int, max_tokens: int) -> list[GenerationRequest]:
    """Asks whose answers are user turns: the chat template up to where the user speaks (Magpie, Xu et al. 2024).

    Sampled at temperature 1, so that they are spread as the target believes its users' to be.
    """
    prefix = tuple(tokenizer.encode_user_turn())
    return [
        GenerationRequest(Origin(f"{WRITTEN}#{i}", WRITTEN, "", 1.0, seed + i), prefix, max_tokens)
        for i in range(num_prompts)
    ]


def answer_request(turn: Example, tokenizer: Tokenizer, max_tokens: int) -> GenerationRequest | None:
    """The greedy ask of a user turn that the target wrote; None if it came to no end, or says next to nothing."""
    text = tokenizer.decode(turn.answer.tolist()).strip()
    if turn.answer[-1] not in tokenizer.end_tokens or len(text) < SHORTEST_WRITTEN:
        return None
    prompt = tuple(tokenizer.encode_chat([{"role": "user", "content": text}]))
    return GenerationRequest(Origin(turn.origin.key, WRITTEN, ""), prompt, max_tokens)


def read_recorded(path: Path, vocab_size: int) -> Iterator[RecordedAnswer]:
    """Answers that live rounds recorded, one JSON object a line.

    {"prompt": [tokens], "answer": [tokens], "rejected": [[place in the answer, token], ..], "client": "...",
    "temperature": 0.0, "seed": 0}; all but prompt and answer may be missing. Raises DataError that names the line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {error}") from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield _said(line, f"{path}, line {number}", f"{path.name}#{number}", vocab_size)


def _said(line: str, where: str, key: str, vocab_size: int) -> RecordedAnswer:
    try:
        fields = json.loads(line)
        prompt, answer = (tuple(int(token) for token in fields[name]) for name in ("prompt", "answer"))
        rejected = tuple(Rejected(int(place), int(token)) for place, token in fields.get("rejected", ()))
        heat, seed = float(fields.get("temperature", 0.0)), int(fields.get("seed", 0))
        origin = Origin(key, str(fields.get("client", "live")), "live", heat, seed)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{where}: expected 'prompt' and 'answer' in tokens ({error!r})") from error
    tokens = [*prompt, *answer, *(one.token for one in rejected)]
    if not prompt or not answer or min(tokens) < 0 or max(tokens) >= vocab_size:
        raise DataError(f"{where}: expected tokens from 0 to {vocab_size - 1} in a prompt and an answer")
    if any(not 0 <= one.place < len(answer) for one in rejected):
        raise DataError(f"{where}: a rejected token stands beyond the answer of {len(answer)} tokens")
    return RecordedAnswer(origin, prompt, answer, rejected)
