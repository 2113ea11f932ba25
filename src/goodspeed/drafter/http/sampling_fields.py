"""The fields of a request that say how tokens are chosen and what ends them: those of OpenAI, vLLM and llama.cpp."""

import secrets
from collections.abc import Iterable, Sequence

from goodspeed.decoding.logit_changes import MAX_BAD_WORDS, BadWord, LogitChanges, TokenBias
from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.drafter.http.constraint_fields import ConstraintBody
from goodspeed.drafter.http.errors import ApiError
from goodspeed.models.tokenizer import Tokenizer

MAX_TOP_K = 2**31 - 1  # more than any vocabulary


class SamplingBody(ConstraintBody, kw_only=True):
    """The sampling fields of both kinds of request, with the constraining ones."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None
    repeat_penalty: float | None = None
    """llama.cpp's name of repetition_penalty."""
    logit_bias: dict[str, float] | None = None
    min_tokens: int | None = None
    bad_words: list[str] | None = None
    allowed_token_ids: list[int] | None = None
    stop: str | list[str] | None = None
    stop_token_ids: list[int] | None = None
    ignore_eos: bool | None = None


def sampling_of(body: SamplingBody, rule: Rule, tokenizer: Tokenizer) -> Sampling:
    """`rule` holds above temperature 0. The default temperature is 1, as in OpenAI's API.

    Raises ApiError or RequestError.
    """
    temperature = 1.0 if body.temperature is None else body.temperature
    changes = LogitChanges(
        repetition_penalty=_repetition_penalty(body),
        frequency_penalty=body.frequency_penalty or 0.0,
        presence_penalty=body.presence_penalty or 0.0,
        logit_bias=tuple(_bias(token, bias) for token, bias in (body.logit_bias or {}).items()),
        min_tokens=body.min_tokens or 0,
        bad_words=tuple(_bad_words(body.bad_words or [], tokenizer)),
        allowed_tokens=tuple(body.allowed_token_ids or ()),
    )
    return Sampling(
        temperature=temperature,
        top_k=min(body.top_k or 0, MAX_TOP_K),
        top_p=1.0 if body.top_p is None else body.top_p,
        seed=secrets.randbits(63) if body.seed is None else body.seed % 2**64,
        rule=Rule.GREEDY if temperature == 0.0 else rule,
        min_p=body.min_p or 0.0,
        logit_changes=None if changes == LogitChanges() else changes,
    )


def check_sampling(sampling: Sampling, max_tokens: int, vocab_size: int) -> None:
    """Raises ApiError if a field does not fit the length of the answer or the model's vocabulary."""
    changes = sampling.logit_changes
    if changes is None:
        return
    if changes.min_tokens > max_tokens:
        raise ApiError(
            400, f"min_tokens is {changes.min_tokens}, expected 0 to {max_tokens}, which is max_tokens", "min_tokens"
        )
    check_token_ids([bias.token for bias in changes.logit_bias], "logit_bias", vocab_size)
    check_token_ids(changes.allowed_tokens, "allowed_token_ids", vocab_size)
    check_token_ids([token for word in changes.bad_words for token in word.tokens], "bad_words", vocab_size)


def check_token_ids(tokens: Iterable[int], field: str, vocab_size: int) -> None:
    """Raises ApiError for an id that is not in the vocabulary."""
    for token in tokens:
        if not 0 <= token < vocab_size:
            raise ApiError(400, f"{field} has the token {token}, expected 0 to {vocab_size - 1}", field)


def _repetition_penalty(body: SamplingBody) -> float:
    given = {penalty for penalty in (body.repetition_penalty, body.repeat_penalty) if penalty is not None}
    if len(given) == 2:
        raise ApiError(400, "repeat_penalty and repetition_penalty differ, but are the same field", "repeat_penalty")
    return given.pop() if given else 1.0


def _bias(token: str, bias: float) -> TokenBias:
    """JSON has token ids as strings. Raises ApiError."""
    if not (token.isascii() and token.isdigit()):
        raise ApiError(400, f"logit_bias has the key {token!r:.80}, expected a token id", "logit_bias")
    return TokenBias(int(token), bias)


def _bad_words(words: Sequence[str], tokenizer: Tokenizer) -> Iterable[BadWord]:
    """Each word as it begins a text, and as it follows a space, where that differs by its first token only."""
    if len(words) > MAX_BAD_WORDS // 2:
        raise ApiError(400, f"bad_words has {len(words)} words, expected at most {MAX_BAD_WORDS // 2}", "bad_words")
    for word in words:
        if not word.strip():
            raise ApiError(400, f"bad_words has {word!r:.80}, expected words with a letter", "bad_words")
        tokens = tokenizer.encode(word, add_special_tokens=False)
        yield BadWord(tuple(tokens))
        after_space = tokenizer.encode(" " + word.lstrip(), add_special_tokens=False)
        if len(after_space) == len(tokens) and after_space[0] != tokens[0]:
            yield BadWord(tuple(after_space))
