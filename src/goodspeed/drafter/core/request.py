"""A request for one answer, in tokens."""

from dataclasses import dataclass

from goodspeed.decoding.mode import Mode
from goodspeed.decoding.sampling import Sampling
from goodspeed.errors import ProtocolError, RequestError
from goodspeed.protocol.limits import check_open
from goodspeed.protocol.messages import Open, Welcome

GREEDY = Sampling()


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One answer to one prompt."""

    tokens: tuple[int, ...]
    """The prompt: at least one token."""
    max_tokens: int
    """Maximum length of the answer."""
    sampling: Sampling = GREEDY
    end_tokens: tuple[int, ...] = ()
    """Tokens that end the answer; the answer includes them."""
    mode: Mode = Mode.DISTRIBUTED
    logprobs: bool = False
    """Report the log-probability of every committed token."""
    top_logprobs: int = 0
    """With `logprobs`: how many of the most likely tokens to report at each position."""
    prompt_logprobs: bool = False
    """With `logprobs`: report those of the prompt as well."""


def opening(request: GenerationRequest, stream: int, welcome: Welcome) -> Open:
    """The Open message for this request. Raises RequestError if it exceeds the verifier's limits."""
    message = Open(
        stream=stream,
        epoch=0,
        tokens=request.tokens,
        num_prompt=len(request.tokens),
        max_tokens=request.max_tokens,
        sampling=request.sampling,
        end_tokens=request.end_tokens,
        mode=request.mode,
        logprobs=request.logprobs,
        top_logprobs=request.top_logprobs,
        prompt_logprobs=request.prompt_logprobs,
    )
    try:
        check_open(message, welcome)
    except ProtocolError as error:
        raise RequestError(str(error)) from error
    return message
