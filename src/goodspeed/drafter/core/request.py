"""What a user wants of a drafter, in tokens."""

from dataclasses import dataclass

from goodspeed.decoding.sampling import Sampling
from goodspeed.errors import ProtocolError, RequestError
from goodspeed.protocol.limits import check_open
from goodspeed.protocol.messages import Mode, Open, Welcome

GREEDY = Sampling()


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One answer to one prompt."""

    tokens: tuple[int, ...]
    """The prompt, at least one token."""
    max_tokens: int
    sampling: Sampling = GREEDY
    end_tokens: tuple[int, ...] = ()
    """Tokens that finish the answer (they are part of it)."""
    mode: Mode = Mode.DISTRIBUTED
    logprobs: bool = False
    """Report the log-probability of every committed token."""


def opening(request: GenerationRequest, stream: int, welcome: Welcome) -> Open:
    """The Open for this request. Raises RequestError if the verifier would refuse it."""
    first = Open(
        stream=stream,
        epoch=0,
        tokens=request.tokens,
        num_prompt=len(request.tokens),
        max_tokens=request.max_tokens,
        sampling=request.sampling,
        end_tokens=request.end_tokens,
        mode=request.mode,
        logprobs=request.logprobs,
    )
    try:
        check_open(first, welcome)
    except ProtocolError as error:
        raise RequestError(str(error)) from error
    return first
