"""The prompts of a request, and whether they fit into the model's context."""

from goodspeed.drafter.http.errors import ApiError
from goodspeed.models.tokenizer import Tokenizer
from goodspeed.protocol.messages import Welcome

Tokens = tuple[int, ...]


def completion_prompts(prompt: str | list[str | int | list[int]], tokenizer: Tokenizer) -> tuple[Tokens, ...]:
    """The prompts of a completion, encoded. Raises ApiError."""
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


def check_prompt(prompt: Tokens, field: str, welcome: Welcome) -> None:
    """`field` holds the prompt. Raises ApiError."""
    if not prompt:
        raise ApiError(400, f"{field} is empty", field)
    unknown = [token for token in prompt if not 0 <= token < welcome.vocab_size]
    if unknown:
        raise ApiError(400, f"token {unknown[0]} is not in the vocabulary of {welcome.vocab_size} tokens", field)


def check_length(text: str, field: str, tokenizer: Tokenizer, max_context: int) -> None:
    """Encoding 10 MB takes seconds. Raises ApiError if the text cannot fit by its bytes."""
    if len(text) > max_context and (num_tokens := tokenizer.min_tokens(text)) > max_context:
        raise _too_long(f"at least {num_tokens} tokens in {field}: the prompt is too long", field, max_context)


def check_room(num_prompt: int, max_tokens: int, field: str, welcome: Welcome) -> None:
    """Raises ApiError."""
    num_tokens = num_prompt + max(1, max_tokens)
    if num_tokens > welcome.max_context:
        counts = f"{num_tokens} tokens ({num_prompt} in {field}, {max(1, max_tokens)} in the completion)"
        reason = f"{counts}: the prompt is too long, or max_tokens too large"
        raise _too_long(reason, field, welcome.max_context)


def _too_long(requested: str, field: str, max_context: int) -> ApiError:
    """Clients recognise this error by OpenAI's "maximum context length", or by Anthropic's "prompt is too long"."""
    limit = f"This model's maximum context length is {max_context} tokens. However, you requested"
    return ApiError(400, f"{limit} {requested}", field, "context_length_exceeded")
