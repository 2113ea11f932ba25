"""The log of one live run: all rounds of all clients and all steps of the verifier, as columns."""

from pathlib import Path

import msgspec

from goodspeed.errors import ConfigError


class ClientRounds(msgspec.Struct):
    """One client's verdicts in order, one list entry each; times are in seconds since the run's start.

    The first verdict of a stream is its opening: one token of the target's own, after the prefill, without a draft.
    `granted`, `acceptance_rate`, `goodput` and `expected` are the verifier's decision and estimates when it granted the
    round: expected = mu(survival or acceptance_rate, granted), in tokens.
    """

    name: str
    step: list[int] = []  # index in StepTimes
    at_s: list[float] = []  # when the verdict was ready
    is_opening: list[bool] = []
    granted: list[int] = []
    proposed: list[int] = []  # draft tokens sent by the drafter
    verified: list[int] = []  # of them, those in the batch
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
    """The verifier's steps in order; times are in seconds since the run's start."""

    closed_s: list[float] = []  # when the batch was closed
    verified_s: list[float] = []  # when the engine finished
    sending_s: list[float] = []  # when sending of the first verdict started
    sent_s: list[float] = []  # when the last verdict was sent
    num_draft_tokens: list[int] = []
    num_prefill_tokens: list[int] = []


class RunLog(msgspec.Struct):
    """One run. `setup` describes it for readers of the file."""

    setup: dict[str, str | int | float | bool]
    clients: list[ClientRounds]
    steps: StepTimes
    is_complete: bool = True
    """False if the run ended before every client had its rounds."""

    def save(self, path: Path) -> None:
        """Write the whole file or nothing."""
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part")
        unfinished.write_bytes(msgspec.json.encode(self))
        unfinished.replace(path)

    @classmethod
    def load(cls, path: Path) -> "RunLog":
        """Read a file of `save`. Raises ConfigError for other files."""
        try:
            return msgspec.json.decode(path.read_bytes(), type=cls)
        except (OSError, msgspec.DecodeError) as error:
            raise ConfigError(f"{path} is not the log of a live run: {error}") from error
