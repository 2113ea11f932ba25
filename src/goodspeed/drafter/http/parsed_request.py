"""From a request body to generation requests: what is supported, what has no effect, what is refused by name."""

from dataclasses import dataclass, replace

from goodspeed.decoding.logprobs import MAX_TOP_LOGPROBS
from goodspeed.decoding.mode import Mode
from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.drafter.core.request import GenerationRequest
from goodspeed.drafter.http.constraint_fields import FieldConstraint, field_constraint
from goodspeed.drafter.http.errors import ApiError
from goodspeed.drafter.http.prompt_fields import (
    Tokens,
    check_length,
    check_prompt,
    check_room,
    completion_prompts,
)
from goodspeed.drafter.http.request_body import ChatBody, CommonBody, CompletionBody, Extension
from goodspeed.drafter.http.sampling_fields import check_sampling, sampling_of
from goodspeed.drafter.http.stop_conditions import StopConditions, stop_conditions
from goodspeed.drafter.http.tool_calls.tool_request import ToolRequest, tool_request
from goodspeed.drafter.http.transcript import Echo
from goodspeed.models.tokenizer import Tokenizer
from goodspeed.protocol.messages import Welcome

MAX_CHOICES = 128
COMPLETION_TOKENS = 16
"""Default max_tokens of /v1/completions, as in OpenAI's API."""


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
    stops: StopConditions
    logprobs: bool
    mode: Mode
    is_streamed: bool
    includes_usage: bool
    constraint: FieldConstraint | None = None
    """That of `sampling`, with the field that it comes from."""
    tools: ToolRequest | None = None
    top_logprobs: int = 0
    is_echoed: bool = False
    """The text begins with the prompt."""

    def echo(self, prompt: Tokens) -> Echo | None:
        """How the prompt is echoed."""
        return Echo(prompt, self.max_tokens == 0) if self.is_echoed else None

    @property
    def num_answers(self) -> int:
        return self.num_choices * len(self.prompts)

    @property
    def min_tokens(self) -> int:
        """Tokens before which nothing ends the answer."""
        return self.sampling.logit_changes.min_tokens if self.sampling.logit_changes else 0


def parse_chat(body: ChatBody, tokenizer: Tokenizer, max_context: int) -> ParsedRequest:
    """Raises ApiError or RequestError. A prompt that cannot fit into `max_context` is not encoded."""
    _check_positive(body.max_completion_tokens, "max_completion_tokens")
    tools = tool_request(body.tools, body.tool_choice, body.parallel_tool_calls)
    text = tokenizer.render_chat(body.messages, tools.for_template if tools else ())
    check_length(text, "messages", tokenizer, max_context)
    prompt = tuple(tokenizer.encode(text, add_special_tokens=False))
    parsed = _parse(body, (prompt,), tokenizer, bool(body.logprobs))
    return replace(
        parsed,
        max_tokens=body.max_completion_tokens or parsed.max_tokens,
        tools=tools,
        top_logprobs=_top_logprobs(body),
    )


def parse_completion(body: CompletionBody, tokenizer: Tokenizer, max_context: int) -> ParsedRequest:
    """Raises ApiError or RequestError. A prompt that cannot fit into `max_context` is not encoded."""
    _check_range(body.logprobs, "logprobs", MAX_TOP_LOGPROBS)
    texts = [body.prompt] if isinstance(body.prompt, str) else body.prompt
    for text in texts:
        if isinstance(text, str):
            check_length(text, "prompt", tokenizer, max_context)
    parsed = _parse(body, completion_prompts(body.prompt, tokenizer), tokenizer, body.logprobs is not None)
    return replace(
        parsed,
        max_tokens=COMPLETION_TOKENS if parsed.max_tokens is None else parsed.max_tokens,
        top_logprobs=body.logprobs or 0,
        is_echoed=bool(body.echo),
    )


def generation_requests(parsed: ParsedRequest, welcome: Welcome, default_tokens: int) -> list[GenerationRequest]:
    """One per choice, by index; choice i of a prompt has the seed + i.

    `default_tokens` is the maximum length of an answer whose request sets none. Raises ApiError.
    """
    requests = []
    ends = parsed.stops.end_tokens(welcome)
    if parsed.constraint and not ends:
        field = parsed.constraint.field
        raise ApiError(400, f"ignore_eos with {field}: without an end token the answer cannot end", "ignore_eos")
    for prompt in parsed.prompts:
        check_prompt(prompt, parsed.prompt_field, welcome)
        room = welcome.max_context - len(prompt)
        max_tokens = min(default_tokens, room) if parsed.max_tokens is None else max(1, parsed.max_tokens)
        check_room(len(prompt), max_tokens, parsed.prompt_field, welcome)
        check_sampling(parsed.sampling, max_tokens, welcome.vocab_size)
        for i in range(parsed.num_choices):
            sampling = replace(parsed.sampling, seed=(parsed.sampling.seed + i) % 2**64)
            requests.append(
                GenerationRequest(
                    prompt,
                    max_tokens,
                    sampling,
                    ends,
                    parsed.mode,
                    parsed.logprobs,
                    parsed.top_logprobs,
                    prompt_logprobs=parsed.logprobs and parsed.is_echoed,
                )
            )
    return requests


def _parse(body: CommonBody, prompts: tuple[Tokens, ...], tokenizer: Tokenizer, logprobs: bool) -> ParsedRequest:
    prompt_field = "messages" if isinstance(body, ChatBody) else "prompt"
    extension = body.goodspeed or Extension()
    rule = Rule.REJECTION if extension.rule == "rejection" else Rule.COUPLED
    num_choices = 1 if body.n is None else body.n
    if len(prompts) > MAX_CHOICES:
        raise ApiError(400, f"there are {len(prompts)} prompts, expected at most {MAX_CHOICES}", prompt_field)
    if not 1 <= num_choices * len(prompts) <= MAX_CHOICES:
        raise ApiError(400, f"n is {num_choices}, expected 1 to {MAX_CHOICES // len(prompts)}", "n")
    if not (isinstance(body, CompletionBody) and body.echo and body.max_tokens == 0):
        _check_positive(body.max_tokens, "max_tokens")
    constraint = field_constraint(body)
    sampling = sampling_of(body, rule, tokenizer)
    return ParsedRequest(
        model=body.model,
        prompts=prompts,
        prompt_field=prompt_field,
        num_choices=num_choices,
        max_tokens=body.max_tokens,
        sampling=replace(sampling, constraint=constraint.constraint) if constraint else sampling,
        stops=stop_conditions(body, tokenizer),
        logprobs=logprobs,
        mode=Mode[extension.mode.upper()],
        is_streamed=bool(body.stream),
        includes_usage=bool(body.stream_options and body.stream_options.include_usage),
        constraint=constraint,
    )


def _top_logprobs(body: ChatBody) -> int:
    _check_range(body.top_logprobs, "top_logprobs", MAX_TOP_LOGPROBS)
    if body.top_logprobs and not body.logprobs:
        raise ApiError(400, f"top_logprobs is {body.top_logprobs}, which needs logprobs: true", "top_logprobs")
    return body.top_logprobs or 0


def _check_range(value: int | None, field: str, most: int) -> None:
    if value is not None and not 0 <= value <= most:
        raise ApiError(400, f"{field} is {value}, expected 0 to {most}", field)


def _check_positive(value: int | None, field: str) -> None:
    if value is not None and value < 1:
        raise ApiError(400, f"{field} is {value}, expected 1 or more", field)
