"""The outcome of an arm in a set-up under a seed, and files of them."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
from runs.co_located_modes import total
from runs.dsd.arms import apply, arms_of
from runs.dsd.setups import Extent, Setup, base_values

from goodspeed.experiment.metrics import latency_s, tpot_s, ttft_s
from goodspeed.simulator.result import AnswerRecord
from goodspeed.simulator.scenario import scenario_of
from goodspeed.simulator.world import simulate

WARM_UP = 1 / 3
"""Answers that finish in this share of the run are left out."""
NUM_VERIFIERS = 20
THINK_S = 1.7
"""Mean think time of all users."""


class Cell(msgspec.Struct, frozen=True):
    """The outcome of one arm in one set-up under one seed."""

    family: str
    setup: str
    arm: str
    seed: int
    tokens_per_s: float
    """Of all clients: answer tokens per second of a user's cycle, from request to request, times the number of users.

    Tokens of the answers that end in the counted time would depend on whether slow answers end just before or after.
    """
    goodputs: dict[str, float]
    """Tokens per second of answer time, by client."""
    tpots_s: list[float]
    ttfts_s: list[float]
    num_proposed: int
    num_accepted: int
    num_co_located: int
    num_co_located_accepted: int
    rounds: tuple[float, float, float]
    """Shares of remote, co-located and target-only rounds."""
    tokens_per_step: float
    """Of the target model, prompts included."""
    busy: float
    """Mean share of the time in which verifiers step."""

    @property
    def key(self) -> tuple[str, str, str, int]:
        return (self.family, self.setup, self.arm, self.seed)


@dataclass(frozen=True, slots=True)
class Job:
    """A cell to simulate."""

    family: str
    setup: Setup
    arm: str
    seed: int

    @property
    def key(self) -> tuple[str, str, str, int]:
        return (self.family, self.setup.name, self.arm, self.seed)


def simulate_cell(job: Job, extent: Extent) -> Cell:
    """Simulate an arm in a set-up."""
    values, duration_s = base_values(job.setup, extent), extent.duration_s
    apply(arms_of(job.family)[job.arm], values, job.setup.num_drafters / NUM_VERIFIERS)
    result = simulate(scenario_of(values), job.seed)
    answers = [answer for answer in result.answers if answer.finished_s > WARM_UP * duration_s]
    by_client: dict[str, list[AnswerRecord]] = {}
    for answer in answers:
        by_client.setdefault(answer.client, []).append(answer)
    num_rounds = total(answers, lambda answer: answer.num_rounds_with_mode)
    num_steps = sum(verifier.num_steps for verifier in result.verifiers)
    return Cell(
        *job.key,
        len(by_client) * total(answers, _num_tokens) / total(answers, _cycle_s),
        {client: total(found, _num_tokens) / total(found, latency_s) for client, found in sorted(by_client.items())},
        [value for value in map(tpot_s, answers) if not math.isnan(value)],
        [ttft_s(answer) for answer in answers],
        sum(answer.num_proposed for answer in answers),
        sum(answer.num_accepted for answer in answers),
        sum(answer.num_co_located for answer in answers),
        sum(answer.num_co_located_accepted for answer in answers),
        (
            total(answers, lambda answer: answer.num_remote_rounds) / num_rounds,
            total(answers, lambda answer: answer.num_co_located_rounds) / num_rounds,
            total(answers, lambda answer: answer.num_target_only_rounds) / num_rounds,
        ),
        sum(verifier.num_tokens for verifier in result.verifiers) / num_steps,
        math.fsum(verifier.busy_s for verifier in result.verifiers) / (len(result.verifiers) * duration_s),
    )


def _cycle_s(answer: AnswerRecord) -> float:
    return latency_s(answer) + THINK_S


def _num_tokens(answer: AnswerRecord) -> float:
    return answer.num_answer_tokens


def read_cells(files: Iterable[Path]) -> Iterator[Cell]:
    """The cells of files that exist."""
    for file in files:
        if file.exists():
            for line in file.read_bytes().splitlines():
                yield msgspec.json.decode(line, type=Cell)
