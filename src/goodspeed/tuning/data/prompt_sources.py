"""Generation requests from prompts of files and from prompts that the target generates; answers of traffic logs."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from goodspeed.errors import DataError
from goodspeed.models.tokenizer import Tokenizer
from goodspeed.prompts.prompts import Prompt
from goodspeed.tuning.data.example import Example, Origin, Rejected
from goodspeed.tuning.data.generation import AnswerRequest, RecordedAnswer

GENERATED = "written"
"""The source of prompts that the target generates, as data sets name it."""
MIN_GENERATED_CHARACTERS = 12


def greedy_requests(
    prompts: Sequence[Prompt], tokenizer: Tokenizer, source: str, max_tokens: int
) -> list[AnswerRequest]:
    """One greedy request for each prompt, with the prompt's category.

    Raises RequestError if the chat template refuses a prompt.
    """
    return [
        AnswerRequest(
            Origin(f"{source}#{i}", source, prompt.category),
            tuple(
                tokenizer.encode_chat(
                    [{"role": message.role, "content": message.content} for message in prompt.messages]
                )
            ),
            max_tokens,
        )
        for i, prompt in enumerate(prompts)
    ]


def sampled_request(request: AnswerRequest, temperature: float, seed: int) -> AnswerRequest:
    """The same prompt at a temperature."""
    origin = request.origin
    key = f"{origin.key}@{temperature:g}/{seed}"
    return AnswerRequest(
        Origin(key, origin.source, origin.category, temperature, seed), request.prompt, request.max_tokens
    )


def user_turn_requests(tokenizer: Tokenizer, num_prompts: int, seed: int, max_tokens: int) -> list[AnswerRequest]:
    """Requests whose answers are user turns: the chat template up to the user's text (Magpie, Xu et al. 2024).

    They are sampled at temperature 1, so that their variety is that of the target's own distribution of users.
    """
    prefix = tuple(tokenizer.encode_user_turn())
    return [
        AnswerRequest(Origin(f"{GENERATED}#{i}", GENERATED, "", 1.0, seed + i), prefix, max_tokens)
        for i in range(num_prompts)
    ]


def request_of_user_turn(turn: Example, tokenizer: Tokenizer, max_tokens: int) -> AnswerRequest | None:
    """The greedy request for a user turn that the target generated; None if the turn is unfinished or too short."""
    text = tokenizer.decode(turn.answer.tolist()).strip()
    if turn.answer[-1] not in tokenizer.end_tokens or len(text) < MIN_GENERATED_CHARACTERS:
        return None
    prompt = tuple(tokenizer.encode_chat([{"role": "user", "content": text}]))
    return AnswerRequest(Origin(turn.origin.key, GENERATED, ""), prompt, max_tokens)


def read_traffic_log(path: Path, vocab_size: int) -> Iterator[RecordedAnswer]:
    """The answers of a traffic log, one JSON object a line.

    {"prompt": [tokens], "answer": [tokens], "rejected": [[position in the answer, token], ..], "client": "...",
    "temperature": 0.0, "seed": 0}; all keys but prompt and answer are optional. Raises DataError that names the line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {error}") from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield _recorded_answer(line, f"{path}, line {number}", f"{path.name}#{number}", vocab_size)


def _recorded_answer(line: str, where: str, key: str, vocab_size: int) -> RecordedAnswer:
    try:
        fields = json.loads(line)
        prompt, answer = (tuple(int(token) for token in fields[name]) for name in ("prompt", "answer"))
        rejected = tuple(Rejected(int(position), int(token)) for position, token in fields.get("rejected", ()))
        temperature, seed = float(fields.get("temperature", 0.0)), int(fields.get("seed", 0))
        origin = Origin(key, str(fields.get("client", "live")), "live", temperature, seed)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{where}: expected 'prompt' and 'answer' in tokens ({error!r})") from error
    tokens = [*prompt, *answer, *(draft.token for draft in rejected)]
    if not prompt or not answer or min(tokens) < 0 or max(tokens) >= vocab_size:
        raise DataError(f"{where}: expected tokens from 0 to {vocab_size - 1} in a prompt and an answer")
    if any(not 0 <= draft.position < len(answer) for draft in rejected):
        raise DataError(f"{where}: a rejected token lies beyond the answer of {len(answer)} tokens")
    return RecordedAnswer(origin, prompt, answer, rejected)
