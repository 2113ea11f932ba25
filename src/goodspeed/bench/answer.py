"""What came back for one request, and how its stream is read.

Parsing costs about 0.1 ms of CPU a chunk, most of it in the HTTP client; the servers under test share the machine.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from goodspeed.errors import ErrorCode, ProtocolError

DONE = b"[DONE]"


class Speculation(msgspec.Struct, frozen=True):
    """The `goodspeed` extension of a response: what the drafter says of its rounds."""

    rounds: int = 0
    target_only_rounds: int = 0
    proposed: int = 0
    accepted: int = 0
    committed: int = 0
    queue_s: float = 0.0
    verify_s: float = 0.0
    drafting_s: float = 0.0
    baseline_s: float = 0.0
    elapsed_s: float = 0.0
    speed_up: float | None = None
    """baseline_s / elapsed_s; None: its verifier could not tell."""


class Usage(msgspec.Struct, frozen=True):
    """OpenAI's count of tokens."""

    completion_tokens: int
    prompt_tokens: int = 0


class Delta(msgspec.Struct, frozen=True):
    """The text that a chunk adds."""

    content: str | None = None


class Choice(msgspec.Struct, frozen=True):
    """One of a chunk's choices; we ask for one."""

    delta: Delta = Delta()
    finish_reason: str | None = None


class Chunk(msgspec.Struct, frozen=True):
    """The parts of a chat completion chunk that matter here."""

    choices: tuple[Choice, ...] = ()
    usage: Usage | None = None
    goodspeed: Speculation | None = None
    error: dict[str, object] | None = None


@dataclass(frozen=True, slots=True)
class LoadAnswer:
    """One answered request; times in seconds since the run began."""

    text: str
    finish_reason: str
    num_tokens: int
    asked_s: float
    """When it was due: in an open loop that may be before it could be sent."""
    chunk_s: tuple[float, ...]
    """When each piece of text arrived; the first is the time of the first token."""
    chunk_characters: tuple[int, ...]
    """How long each piece is."""
    speculation: Speculation | None = None
    """None: not a drafter of ours."""

    @property
    def ttft_s(self) -> float:
        """Time to first token."""
        return self.chunk_s[0] - self.asked_s

    @property
    def end_s(self) -> float:
        return self.chunk_s[-1]

    def num_tokens_by(self, time_s: float) -> float:
        """Tokens that had arrived by then: the share of the text, for a piece does not say how many it holds."""
        if time_s >= self.end_s:
            return self.num_tokens
        arrived = zip(self.chunk_s, self.chunk_characters, strict=True)
        return self.num_tokens * sum(length for at_s, length in arrived if at_s <= time_s) / max(1, len(self.text))

    @property
    def time_per_token_s(self) -> float | None:
        """Mean time between tokens after the first; None for an answer of one token or one chunk."""
        if self.num_tokens < 2 or len(self.chunk_s) < 2:
            return None
        return (self.chunk_s[-1] - self.chunk_s[0]) / (self.num_tokens - 1)


class EventStream:
    """Splits a server-sent event stream into chunks."""

    def __init__(self) -> None:
        self._buffer = b""
        self._decoder = msgspec.json.Decoder(Chunk)

    def feed(self, data: bytes) -> Iterator[Chunk]:
        """The chunks that are complete now. Raises ProtocolError for what is no chunk."""
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
            raise ProtocolError(ErrorCode.MALFORMED, f"{content[:80]!r} is no completion chunk: {error}") from error
