"""What was seen in one live run: every round of every client, every step of the verifier, as columns."""

from pathlib import Path

import msgspec

from goodspeed.errors import ConfigError


class ClientRounds(msgspec.Struct):
    """One client's verdicts in order, one list entry each; seconds are the run's.

    The first verdict of a stream is its opening: one token of the target's own, after the prefill, without a draft.
    `granted`, `acceptance_rate`, `goodput` and `expected` are what the verifier had decided or believed when it
    granted this round: expected = mu(survival or acceptance_rate, granted), tokens.
    """

    name: str
    step: list[int] = []  # index in StepTimes
    at_s: list[float] = []  # when the verdict was ready
    is_opening: list[bool] = []
    granted: list[int] = []
    proposed: list[int] = []  # draft tokens that the drafter sent
    verified: list[int] = []  # of them, those that the batch held
    accepted: list[int] = []
    committed: list[int] = []
    acceptance_rate: list[float] = []
    goodput: list[float] = []  # the estimator's X
    expected: list[float] = []

    @property
    def rounds(self) -> list[int]:
        """Indices of the rounds, that is of the verdicts on proposals."""
        return [i for i, is_opening in enumerate(self.is_opening) if not is_opening]


class StepTimes(msgspec.Struct):
    """The verifier's steps in order; seconds are the run's."""

    closed_s: list[float] = []  # the batch was closed
    verified_s: list[float] = []  # the engine was done
    sending_s: list[float] = []  # the first verdict began to be sent
    sent_s: list[float] = []  # the last verdict was sent
    num_draft_tokens: list[int] = []
    num_prefill_tokens: list[int] = []


class Recording(msgspec.Struct):
    """One run. `setup` says what it was, for whoever reads the file."""

    setup: dict[str, str | int | float | bool]
    clients: list[ClientRounds]
    steps: StepTimes
    is_complete: bool = True
    """False: it was stopped before its end."""

    def save(self, path: Path) -> None:
        """Write it, wholly or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part")
        unfinished.write_bytes(msgspec.json.encode(self))
        unfinished.replace(path)

    @classmethod
    def load(cls, path: Path) -> "Recording":
        """What save() wrote. Raises ConfigError for anything else."""
        try:
            return msgspec.json.decode(path.read_bytes(), type=cls)
        except (OSError, msgspec.DecodeError) as error:
            raise ConfigError(f"{path} is no recording of a live run: {error}") from error
