"""What an answer must look like: a JSON schema, a regular expression or a grammar, as the request gives it."""

from dataclasses import dataclass
from enum import IntEnum

from goodspeed.errors import RequestError

MAX_CONSTRAINT_BYTES = 2**17
MAX_CONSTRAINT_LINES = 1000
"""A grammar has a rule on each line, and a chain of rules recurses in the compiler: 3,000 end a thread of 8 MiB."""


class ConstraintKind(IntEnum):
    """The language of a constraint; the numbers are part of the wire protocol."""

    JSON_SCHEMA = 0
    REGEX = 1
    """The whole answer matches it. Without look-around and back references, so that it is a finite automaton."""
    GRAMMAR = 2
    """Lark or GBNF (llama.cpp)."""


@dataclass(frozen=True, slots=True)
class Constraint:
    """The texts that an answer may have. Raises RequestError for a text that is too long to be compiled."""

    kind: ConstraintKind
    text: str

    def __post_init__(self) -> None:
        try:
            num_bytes, num_lines = len(self.text.encode()), self.text.count("\n") + 1
        except UnicodeEncodeError as error:
            raise RequestError(f"the {self.name} holds half of a surrogate pair at {error.start}") from error
        if num_bytes > MAX_CONSTRAINT_BYTES:
            raise RequestError(f"the {self.name} has {num_bytes} bytes, expected at most {MAX_CONSTRAINT_BYTES}")
        if self.kind is ConstraintKind.GRAMMAR and num_lines > MAX_CONSTRAINT_LINES:
            raise RequestError(f"the grammar has {num_lines} lines, expected at most {MAX_CONSTRAINT_LINES}")

    @property
    def name(self) -> str:
        """Its kind in words."""
        return self.kind.name.lower().replace("_", " ").replace("json", "JSON")


ANY_JSON_OBJECT = Constraint(ConstraintKind.JSON_SCHEMA, '{"type":"object"}')
