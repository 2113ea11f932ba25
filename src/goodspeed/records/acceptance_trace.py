"""The acceptance log: one JSON object per answer, with what became of the draft token at each of its places.

A draft token that follows a right beginning is a function of the text so far, so right and wrong belong to places of
the answer, not to rounds: such a log can be replayed at any window.
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
    """An answer as it was served; each sequence has one item per token of it. Raises ValueError otherwise."""

    client: str
    request: int  # of its client, from 0
    temperature: float
    num_prompt: int
    finish: str  # STOP or LENGTH; FAILED, CANCELLED: the rest of the answer was not made
    draft_outcomes: str
    """RIGHT, WRONG; UNKNOWN: nothing was drafted there (the target's bonus token, a grant of 0, the first token);
    STOPPED: nothing, because the draft engine was less sure than the place's confidence says."""
    confidences: tuple[float, ...]
    """What the drafter reported (STOPPED: what it was below; UNKNOWN: 0)."""
    depths: tuple[int, ...]
    """Draft tokens before it in its round."""
    drafting_s: tuple[float, ...]
    """The round's drafting time / its draft tokens; 0 where nothing was drafted."""

    def __post_init__(self) -> None:
        lengths = {len(self.draft_outcomes), len(self.confidences), len(self.depths), len(self.drafting_s)}
        if len(lengths) > 1:
            raise ValueError(f"sequences of {sorted(lengths)} tokens in one answer")
        if strange := set(self.draft_outcomes) - {RIGHT, WRONG, UNKNOWN, STOPPED}:
            raise ValueError(
                f"draft_outcomes has {sorted(strange)}, expected {RIGHT}, {WRONG}, {UNKNOWN} and {STOPPED}"
            )

    @property
    def num_answer(self) -> int:
        """Tokens."""
        return len(self.draft_outcomes)


def read_acceptance_trace(path: Path) -> list[TracedAnswer]:
    """Those with at least one token. Raises ConfigError if there is none, or the file is no acceptance log."""
    try:
        with path.open(encoding="utf-8") as file:
            answers = [answer for answer in map(_answer, file) if answer.draft_outcomes]
    except (OSError, UnicodeDecodeError, msgspec.DecodeError) as error:
        raise ConfigError(f"cannot read the acceptance log {str(path)!r}: {error}") from error
    if not answers:
        raise ConfigError(f"the acceptance log {path} has no answer")
    return answers


def write_acceptance_trace(answers: Iterable[TracedAnswer], file: IO[str]) -> None:
    """A line each, written out at once: a drafter may be killed."""
    for answer in answers:
        fields = msgspec.to_builtins(answer) | {"num_answer": answer.num_answer}
        file.write(msgspec.json.encode(fields).decode() + "\n")
    file.flush()


def _answer(line: str) -> TracedAnswer:
    answer: TracedAnswer = msgspec.json.decode(line, type=TracedAnswer)
    return answer
