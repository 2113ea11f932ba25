"""The acceptance trace: one JSON object per answer, which says of each position whether the draft token was right.

A draft token on a correct prefix is a function of that prefix. So its outcome belongs to a position of the answer and
not to a round, and a trace can be replayed with any window.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import msgspec

from goodspeed.errors import ConfigError

RIGHT, WRONG, UNKNOWN, STOPPED = "1", "0", "?", "<"


@dataclass(frozen=True, slots=True)
class TracedAnswer:
    """An answer as it was served. Each sequence has one item per token; raises ValueError if their lengths differ."""

    client: str
    request: int  # number among the client's requests, from 0
    temperature: float
    num_prompt: int
    finish: str  # STOP or LENGTH; FAILED or CANCELLED: the answer is incomplete
    draft_outcomes: str
    """One character per token. RIGHT, WRONG: the draft token there. UNKNOWN: nothing was drafted there (a bonus token,
    a grant of 0, the first token). STOPPED: nothing either, because the draft engine's confidence was too low."""
    confidences: tuple[float, ...]
    """As the drafter reported it; where the outcome is STOPPED an upper bound, where it is UNKNOWN 0."""
    depths: tuple[int, ...]
    """How many draft tokens precede the token in its round."""
    drafting_s: tuple[float, ...]
    """The round's drafting time divided by its draft tokens; 0 where nothing was drafted."""

    def __post_init__(self) -> None:
        lengths = {len(self.draft_outcomes), len(self.confidences), len(self.depths), len(self.drafting_s)}
        if len(lengths) > 1:
            raise ValueError(f"sequences of {sorted(lengths)} tokens in one answer")
        if unknown := set(self.draft_outcomes) - {RIGHT, WRONG, UNKNOWN, STOPPED}:
            raise ValueError(
                f"draft_outcomes has {sorted(unknown)}, expected {RIGHT}, {WRONG}, {UNKNOWN} and {STOPPED}"
            )

    @property
    def num_answer(self) -> int:
        """Length of the answer in tokens."""
        return len(self.draft_outcomes)


def read_acceptance_trace(path: Path) -> list[TracedAnswer]:
    """The answers with at least one token. Raises ConfigError if there is none, or the file is no acceptance trace."""
    try:
        with path.open(encoding="utf-8") as file:
            answers = [answer for answer in map(_answer, file) if answer.draft_outcomes]
    except (OSError, UnicodeDecodeError, msgspec.DecodeError) as error:
        raise ConfigError(f"cannot read the acceptance trace {str(path)!r}: {error}") from error
    if not answers:
        raise ConfigError(f"the acceptance trace {path} has no answer")
    return answers


def write_acceptance_trace(answers: Iterable[TracedAnswer], file: IO[str]) -> None:
    """Append one line per answer, and flush: a drafter may be killed at any time."""
    for answer in answers:
        fields = msgspec.to_builtins(answer) | {"num_answer": answer.num_answer}
        file.write(msgspec.json.encode(fields).decode() + "\n")
    file.flush()


def _answer(line: str) -> TracedAnswer:
    answer: TracedAnswer = msgspec.json.decode(line, type=TracedAnswer)
    return answer
