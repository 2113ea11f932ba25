"""From a request body to generation requests: what is supported, what has no effect, what is refused by name."""

import codecs
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

import msgspec

from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.drafter.core.request import GenerationRequest
from goodspeed.drafter.http.errors import ApiError
from goodspeed.drafter.http.unsupported_fields import check_unsupported
from goodspeed.models.tokenizer import Tokenizer
from goodspeed.protocol.messages import Mode, Welcome

BodyT = TypeVar("BodyT", bound=msgspec.Struct)
MAX_CHOICES = 128
MAX_STOPS = 4
COMPLETION_TOKENS = 16
"""Default max_tokens of /v1/completions, as in OpenAI's API."""

MAX_TOP_K = 2**31 - 1  # more than any vocabulary

Tokens = tuple[int, ...]
INTEGERS = frozenset({"max_tokens", "max_completion_tokens", "n", "seed", "top_k", "logprobs"})
UNSET: Mapping[str, Mapping[str, None]] = {
    "max_tokens": {"-1": None},
    "max_completion_tokens": {"-1": None},
    "top_k": {"-1": None},
    "logprobs": {"False": None},
}
"""Values by which clients of other servers say that they set nothing."""


class StreamOptions(msgspec.Struct, forbid_unknown_fields=True):
    """OpenAI's stream_options."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None
    continuous_usage_stats: Literal[False] | None = None


class Extension(msgspec.Struct, forbid_unknown_fields=True):
    """The field "goodspeed", which OpenAI's API does not have."""

    mode: Literal["distributed", "target_only", "co_located"] = "distributed"
    rule: Literal["coupled", "rejection"] = "coupled"


class CommonBody(msgspec.Struct, kw_only=True):
    """The fields that both kinds of request have."""

    model: str
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    n: int | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: str | None = None
    goodspeed: Extension | None = None


class ChatBody(CommonBody, kw_only=True):
    """POST /v1/chat/completions."""

    messages: list[dict[str, Any]]
    max_completion_tokens: int | None = None
    logprobs: bool | None = None


class CompletionBody(CommonBody, kw_only=True):
    """POST /v1/completions."""

    prompt: str | list[str | int | list[int]]
    """A text or its tokens, or a list of these."""
    logprobs: int | None = None


@dataclass(frozen=True, slots=True)
class ParsedRequest:
    """What a request asks for, before the limits of a verifier apply."""

    model: str
    prompts: tuple[Tokens, ...]
    prompt_field: str
    """Name of the field that holds the prompts, for error messages."""
    num_choices: int
    """Per prompt."""
    max_tokens: int | None
    sampling: Sampling
    stops: tuple[str, ...]
    stop_tokens: Tokens
    """Special tokens that end the answer as a stop string does: they have no text."""
    logprobs: bool
    mode: Mode
    is_streamed: bool
    includes_usage: bool


def read_chat(data: bytes) -> ChatBody:
    """Raises ApiError."""
    return parse_body(data, ChatBody)


def read_completion(data: bytes) -> CompletionBody:
    """Raises ApiError."""
    return parse_body(data, CompletionBody)


def parse_chat(body: ChatBody, tokenizer: Tokenizer, max_context: int) -> ParsedRequest:
    """Raises ApiError or RequestError. A prompt that cannot fit into `max_context` is not encoded."""
    _check_positive(body.max_completion_tokens, "max_completion_tokens")
    text = tokenizer.render_chat(body.messages)
    _check_length(text, "messages", tokenizer, max_context)
    prompt = tuple(tokenizer.encode(text, add_special_tokens=False))
    parsed = _parse(body, (prompt,), tokenizer, bool(body.logprobs))
    return replace(parsed, max_tokens=body.max_completion_tokens or parsed.max_tokens)


def parse_completion(body: CompletionBody, tokenizer: Tokenizer, max_context: int) -> ParsedRequest:
    """Raises ApiError or RequestError. A prompt that cannot fit into `max_context` is not encoded."""
    if body.logprobs not in {None, 0, 1}:
        raise ApiError(
            400,
            f"logprobs is {body.logprobs}, expected 0 or 1: only the chosen tokens have log-probabilities",
            "logprobs",
        )
    texts = [body.prompt] if isinstance(body.prompt, str) else body.prompt
    for text in texts:
        if isinstance(text, str):
            _check_length(text, "prompt", tokenizer, max_context)
    parsed = _parse(body, _prompts(body.prompt, tokenizer), tokenizer, body.logprobs is not None)
    return replace(parsed, max_tokens=COMPLETION_TOKENS if parsed.max_tokens is None else parsed.max_tokens)


def generation_requests(parsed: ParsedRequest, welcome: Welcome, default_tokens: int) -> list[GenerationRequest]:
    """One per choice, by index; choice i of a prompt has the seed + i.

    `default_tokens` is the maximum length of an answer whose request sets none. Raises ApiError.
    """
    requests = []
    for prompt in parsed.prompts:
        _check_prompt(prompt, parsed, welcome)
        room = welcome.max_context - len(prompt)
        max_tokens = min(default_tokens, room) if parsed.max_tokens is None else parsed.max_tokens
        _check_room(len(prompt), max_tokens, parsed.prompt_field, welcome)
        for i in range(parsed.num_choices):
            sampling = replace(parsed.sampling, seed=(parsed.sampling.seed + i) % 2**64)
            # A tokenizer may have more tokens than the model.
            stop_tokens = (token for token in parsed.stop_tokens if token < welcome.vocab_size)
            ends = (*welcome.end_tokens, *stop_tokens)
            requests.append(GenerationRequest(prompt, max_tokens, sampling, ends, parsed.mode, parsed.logprobs))
    return requests


def _parse(body: CommonBody, prompts: tuple[Tokens, ...], tokenizer: Tokenizer, logprobs: bool) -> ParsedRequest:
    prompt_field = "messages" if isinstance(body, ChatBody) else "prompt"
    extension = body.goodspeed or Extension()
    stops, stop_tokens = _stops(body.stop, tokenizer)
    num_choices = 1 if body.n is None else body.n
    if len(prompts) > MAX_CHOICES:
        raise ApiError(400, f"there are {len(prompts)} prompts, expected at most {MAX_CHOICES}", prompt_field)
    if not 1 <= num_choices * len(prompts) <= MAX_CHOICES:
        raise ApiError(400, f"n is {num_choices}, expected 1 to {MAX_CHOICES // len(prompts)}", "n")
    _check_positive(body.max_tokens, "max_tokens")
    return ParsedRequest(
        model=body.model,
        prompts=prompts,
        prompt_field=prompt_field,
        num_choices=num_choices,
        max_tokens=body.max_tokens,
        sampling=_sampling(body, extension),
        stops=stops,
        stop_tokens=stop_tokens,
        logprobs=logprobs,
        mode=Mode[extension.mode.upper()],
        is_streamed=bool(body.stream),
        includes_usage=bool(body.stream_options and body.stream_options.include_usage),
    )


def _check_positive(value: int | None, field: str) -> None:
    if value is not None and value < 1:
        raise ApiError(400, f"{field} is {value}, expected 1 or more", field)


def _sampling(body: CommonBody, extension: Extension) -> Sampling:
    """The default temperature is 1, as in OpenAI's API. Raises RequestError."""
    temperature = 1.0 if body.temperature is None else body.temperature
    rule = Rule.REJECTION if extension.rule == "rejection" else Rule.COUPLED
    return Sampling(
        temperature=temperature,
        top_k=min(body.top_k or 0, MAX_TOP_K),
        top_p=1.0 if body.top_p is None else body.top_p,
        seed=secrets.randbits(63) if body.seed is None else body.seed % 2**64,
        rule=Rule.GREEDY if temperature == 0.0 else rule,
    )


def _stops(stop: str | list[str] | None, tokenizer: Tokenizer) -> tuple[tuple[str, ...], Tokens]:
    """The stop strings, and the special tokens among them. Raises ApiError."""
    stops = (stop,) if isinstance(stop, str) else tuple(stop or ())
    if len(stops) > MAX_STOPS or "" in stops:
        raise ApiError(400, f"stop is {stop!r:.80}, expected up to {MAX_STOPS} non-empty strings", "stop")
    special = tokenizer.special_tokens
    for text in (text for text in stops if text not in special):
        _check_stop(
            text, [name for name, token in special.items() if name in text and token not in tokenizer.end_tokens]
        )
    return stops, tuple(special[text] for text in stops if text in special)


def _check_stop(text: str, special: list[str]) -> None:
    """`special`: the special tokens in the stop string that do not end the answer by themselves. Raises ApiError."""
    if special:
        raise ApiError(
            400,
            f"stop is {text!r:.80}, which never occurs: the special token {special[0]!r} in it has no text; "
            f"only {special[0]!r} by itself can be a stop",
            "stop",
        )


def _prompts(prompt: str | list[str | int | list[int]], tokenizer: Tokenizer) -> tuple[Tokens, ...]:
    if isinstance(prompt, str):
        return (tuple(tokenizer.encode(prompt)),)
    if not prompt:
        raise ApiError(400, "prompt is empty", "prompt")
    tokens = tuple(item for item in prompt if isinstance(item, int))
    if len(tokens) == len(prompt):
        return (tokens,)
    if tokens:
        raise ApiError(400, "prompt mixes tokens and prompts, expected a list of one kind", "prompt")
    return tuple(tuple(_encoded(item, tokenizer)) for item in prompt if not isinstance(item, int))


def _encoded(prompt: str | list[int], tokenizer: Tokenizer) -> list[int]:
    return tokenizer.encode(prompt) if isinstance(prompt, str) else prompt


def _check_prompt(prompt: Tokens, parsed: ParsedRequest, welcome: Welcome) -> None:
    if not prompt:
        raise ApiError(400, f"{parsed.prompt_field} is empty", parsed.prompt_field)
    unknown = [token for token in prompt if not 0 <= token < welcome.vocab_size]
    if unknown:
        raise ApiError(
            400, f"token {unknown[0]} is not in the vocabulary of {welcome.vocab_size} tokens", parsed.prompt_field
        )


def _check_length(text: str, field: str, tokenizer: Tokenizer, max_context: int) -> None:
    """Encoding 10 MB takes seconds. Raises ApiError if the text cannot fit by its bytes."""
    if len(text) > max_context and (num_tokens := tokenizer.min_tokens(text)) > max_context:
        raise _too_long(f"at least {num_tokens} tokens in {field}: the prompt is too long", field, max_context)


def _check_room(num_prompt: int, max_tokens: int, field: str, welcome: Welcome) -> None:
    num_tokens = num_prompt + max(1, max_tokens)
    if num_tokens > welcome.max_context:
        counts = f"{num_tokens} tokens ({num_prompt} in {field}, {max(1, max_tokens)} in the completion)"
        reason = f"{counts}: the prompt is too long, or max_tokens too large"
        raise _too_long(reason, field, welcome.max_context)


def _too_long(requested: str, field: str, max_context: int) -> ApiError:
    """Clients recognise this error by OpenAI's "maximum context length", or by Anthropic's "prompt is too long"."""
    limit = f"This model's maximum context length is {max_context} tokens. However, you requested"
    return ApiError(400, f"{limit} {requested}", field, "context_length_exceeded")


def parse_body(data: bytes, kind: type[BodyT]) -> BodyT:
    """Parse a body. Raises ApiError that names the field that is wrong, unknown or not supported."""
    try:
        values = msgspec.json.decode(data.removeprefix(codecs.BOM_UTF8))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ApiError(400, f"the body is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise ApiError(400, f"the body is a JSON {type(values).__name__}, expected an object")
    known = _known_fields(values, kind)
    _refuse_former_mode(known.get("goodspeed"))
    try:
        return msgspec.convert(known, kind)
    except msgspec.ValidationError as error:
        raise _wrong(str(error)) from error


def _known_fields(values: Mapping[str, Any], kind: type[BodyT]) -> dict[str, object]:
    fields = kind.__struct_fields__
    known = {}
    for name, value in values.items():
        if name in fields:
            is_integral = name in INTEGERS and isinstance(value, float) and value.is_integer()
            given = int(value) if is_integral else value  # JavaScript and R do not distinguish them
            known[name] = UNSET.get(name, {}).get(repr(given), given)
        elif value is not None:
            check_unsupported(name, value, fields)
    return known


def _refuse_former_mode(extension: object) -> None:
    if isinstance(extension, dict) and extension.get("mode") == "fused":
        raise ApiError(400, "goodspeed.mode is 'fused', which is called 'target_only' now", "goodspeed.mode")


def _wrong(message: str) -> ApiError:
    """Translate msgspec's message, such as "Expected `int | null`, got `str` - at `$.max_tokens`"."""
    problem, _, path = message.partition(" - at `$.")
    path = path.rstrip("`")
    if not path and "missing required field" in problem:
        path = problem.split("`")[1]
        return ApiError(400, f"{path} is missing", path, "missing_required_parameter")
    return ApiError(400, f"{path}: {problem}", path or None, "invalid_type")
