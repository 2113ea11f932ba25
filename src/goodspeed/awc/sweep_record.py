"""The answers of all arms of a scenario: raw figures, from which any score can be made later.

A record is one compressed npz file, a table of parallel arrays.
"""

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt

from goodspeed.errors import ConfigError
from goodspeed.experiment.metrics import latency_s, tpot_s, ttft_s
from goodspeed.simulator.result import AnswerRecord
from goodspeed.simulator.scenario import Scenario

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class SweepRecord:
    """The answers of one scenario under one seed, arm by arm."""

    duration_s: float  # of each arm
    num_clients: int
    arms: tuple[str, ...]
    answer_arms: Integers  # [answers] index of the arm
    answer_clients: Integers  # [answers] index of the client
    num_tokens: Integers  # [answers]
    latencies_s: Floats  # [answers] from the request to the last token
    ttfts_s: Floats  # [answers] from the request to the first token
    tpots_s: Floats  # [answers] per token after the first; NaN for an answer of one token

    def to_bytes(self) -> bytes:
        """The npz file."""
        file = io.BytesIO()
        arrays = {each.name: np.asarray(getattr(self, each.name)) for each in fields(self)}
        np.savez_compressed(file, allow_pickle=False, **arrays)
        return file.getvalue()


def read_record(path: Path) -> SweepRecord:
    """Raises ConfigError for a file that is not a record."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            values = {each.name: arrays[each.name] for each in fields(SweepRecord)}
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ConfigError(f"{path} is not a record of `goodspeed awc collect`: {error}") from error
    values["duration_s"], values["num_clients"] = float(values["duration_s"]), int(values["num_clients"])
    values["arms"] = tuple(values["arms"].tolist())
    return SweepRecord(**values)


def record_of(scenario: Scenario, answers_by_arm: Mapping[str, Sequence[AnswerRecord]]) -> SweepRecord:
    """The record of a scenario."""
    numbers = {client: number for number, client in enumerate(scenario.clients)}
    answers = [(arm, answer) for arm, answers in enumerate(answers_by_arm.values()) for answer in answers]
    return SweepRecord(
        duration_s=scenario.duration_s,
        num_clients=len(numbers),
        arms=tuple(answers_by_arm),
        answer_arms=np.array([arm for arm, _ in answers], dtype=np.int32),
        answer_clients=np.array([numbers[answer.client] for _, answer in answers], dtype=np.int32),
        num_tokens=np.array([answer.num_answer_tokens for _, answer in answers], dtype=np.int32),
        latencies_s=np.array([latency_s(answer) for _, answer in answers], dtype=np.float32),
        ttfts_s=np.array([ttft_s(answer) for _, answer in answers], dtype=np.float32),
        tpots_s=np.array([tpot_s(answer) for _, answer in answers], dtype=np.float32),
    )
