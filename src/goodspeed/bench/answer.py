"""A streamed answer to one request, and the parser of its server-sent events.

Parsing costs about 0.1 ms of CPU per chunk, most of it in the HTTP client. The servers under test share the machine.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from goodspeed.errors import ErrorCode, ProtocolError

DONE = b"[DONE]"


class Speculation(msgspec.Struct, frozen=True):
    """The `goodspeed` extension of a response: the drafter's counts and times of the rounds."""

    rounds: int = 0
    remote_rounds: int = 0
    co_located_rounds: int = 0
    target_only_rounds: int = 0
    proposed: int = 0
    accepted: int = 0
    co_located: int = 0
    co_located_accepted: int = 0
    committed: int = 0
    queue_s: float = 0.0
    verify_s: float = 0.0
    drafting_s: float = 0.0
    baseline_s: float = 0.0
    elapsed_s: float = 0.0
    speed_up: float | None = None
    """baseline_s / elapsed_s, estimated by the verifier; None if it had no estimate."""


class Usage(msgspec.Struct, frozen=True):
    """The token counts of an OpenAI response."""

    completion_tokens: int
    prompt_tokens: int = 0


class Delta(msgspec.Struct, frozen=True):
    """The text that a chunk adds."""

    content: str | None = None


class Choice(msgspec.Struct, frozen=True):
    """A choice of a chunk; every request has one choice."""

    delta: Delta = Delta()
    finish_reason: str | None = None


class Chunk(msgspec.Struct, frozen=True):
    """The fields of a chat completion chunk that the load generator reads."""

    choices: tuple[Choice, ...] = ()
    usage: Usage | None = None
    goodspeed: Speculation | None = None
    error: dict[str, object] | None = None


@dataclass(frozen=True, slots=True)
class LoadAnswer:
    """A complete answer; times in seconds since the start of the run."""

    text: str
    finish_reason: str
    num_tokens: int
    due_s: float
    """When the request was due; in an open loop it may have been sent later."""
    chunk_s: tuple[float, ...]
    """Arrival time of each piece of text; the first is that of the first token."""
    chunk_characters: tuple[int, ...]
    """Length of each piece."""
    speculation: Speculation | None = None
    """None if the endpoint is not a GoodSpeed drafter."""

    @property
    def ttft_s(self) -> float:
        """Time to first token."""
        return self.chunk_s[0] - self.due_s

    @property
    def end_s(self) -> float:
        return self.chunk_s[-1]

    def num_tokens_by(self, time_s: float) -> float:
        """Tokens that had arrived by then, estimated from the share of the text: a piece has no token count."""
        if time_s >= self.end_s:
            return self.num_tokens
        arrived = zip(self.chunk_s, self.chunk_characters, strict=True)
        return self.num_tokens * sum(length for at_s, length in arrived if at_s <= time_s) / max(1, len(self.text))

    @property
    def time_per_token_s(self) -> float | None:
        """Mean time per output token after the first; None for an answer of one token or one chunk."""
        if self.num_tokens < 2 or len(self.chunk_s) < 2:
            return None
        return (self.chunk_s[-1] - self.chunk_s[0]) / (self.num_tokens - 1)


class EventStream:
    """Parses a stream of server-sent events into chunks."""

    def __init__(self) -> None:
        self._buffer = b""
        self._decoder = msgspec.json.Decoder(Chunk)

    def feed(self, data: bytes) -> Iterator[Chunk]:
        """The chunks that `data` completes. Raises ProtocolError for data that is not a chunk."""
        *events, self._buffer = (self._buffer + data).replace(b"\r\n", b"\n").split(b"\n\n")
        for event in events:
            for line in event.split(b"\n"):
                content = line.removeprefix(b"data:").strip()
                if line.startswith(b"data:") and content != DONE:
                    yield self._chunk(content)

    def _chunk(self, content: bytes) -> Chunk:
        try:
            return self._decoder.decode(content)
        except msgspec.DecodeError as error:
            raise ProtocolError(ErrorCode.MALFORMED, f"{content[:80]!r} is not a completion chunk: {error}") from error
