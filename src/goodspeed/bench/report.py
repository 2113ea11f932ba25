"""From runs to figures: what a comparison's JSON holds."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from goodspeed.bench.answer import LoadAnswer
from goodspeed.bench.comparison import BASELINE, ArmRun, num_differing
from goodspeed.cluster.cpu_time import CpuSeconds
from goodspeed.cluster.machine import MachineInfo
from goodspeed.stats.summary import (
    Spread,
    jain_index,
    quantile,
    ratio,
    spread,
    sum_log,
)

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Latency:
    """Quantiles in seconds over all answers."""

    p50: float
    p99: float


@dataclass(frozen=True, slots=True)
class TimeShares:
    """Where the time of the streams goes, as shares of all stream time; NaN without the drafters' word."""

    drafting: float
    queue: float  # at the verifier
    verify: float
    other: float  # link, prefill, both servers' own work, waiting for a core


@dataclass(frozen=True, slots=True)
class ArmMetrics:
    """What holds for a client as well as for all of them together."""

    goodput: Spread  # committed tokens per second, one value per repetition
    acceptance_rate: float  # accepted / proposed
    mean_acceptance_length: float  # committed / rounds
    alone_share: float  # rounds without a proposal / rounds
    reckoned_speed_up: float  # while all clients are served, against the target alone; NaN: untold
    bytes_per_token: float  # between drafter and verifier, both ways, per committed token
    ttft_s: Latency
    time_per_token_s: Latency
    time_shares: TimeShares
    num_answers: int
    num_tokens: int


@dataclass(frozen=True, slots=True)
class OptimumReport:
    """The best that a run's own acceptance would have allowed, and what it reached; tokens per round throughout.

    Acceptance is the survival curve of every client over the arm's whole run, warm-up included.
    """

    utility: float  # U*: of the best goodputs, weighted sum of natural logarithms
    certified_gap: float  # no goodputs within the budget have a utility above U* and this
    best: dict[str, float]  # x*, by client
    goodput_per_round: dict[str, Spread]  # x, by client
    utility_gap: Spread  # U* - U(x)
    distance: Spread  # |x - x*|, Euclid


@dataclass(frozen=True, slots=True)
class ArmReport:
    """One way to serve the clients."""

    name: str
    total: ArmMetrics
    clients: dict[str, ArmMetrics]
    jain_index: Spread  # of the clients' goodputs
    sum_log_goodput: Spread  # natural logarithm
    speed_up: Spread | None  # total goodput against the target alone's in the same repetition
    num_differing_texts: int | None  # from the target alone's; None if there is nothing to compare with
    cpu_s_per_token: CpuSeconds
    load_cpu_share: float
    """CPU time of the load generator per second of wall time (1 = a whole core)."""
    optimum: OptimumReport | None = None
    """None: nothing was drafted, or there is no event log of the verifier."""


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One answer."""

    arm: str
    repetition: int
    client: str
    answer: LoadAnswer


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that a figure in the docs needs beside it."""

    schema: int
    started: str  # ISO 8601
    command: list[str]
    machine: MachineInfo
    setup: dict[str, object]
    """What was compared and how it was loaded, as the command understood it."""
    arms: list[ArmReport]
    requests: list[RequestRecord]

    @property
    def num_differing_texts(self) -> int:
        """Over all arms that can be compared."""
        return sum(arm.num_differing_texts or 0 for arm in self.arms)


def arm_reports(runs: Sequence[ArmRun], clients: Sequence[str], is_exact: bool) -> list[ArmReport]:
    """One for each arm, in order of appearance. `is_exact`: equal texts are promised (greedy and coupled rules)."""
    names = list(dict.fromkeys(run.arm for run in runs))
    return [_arm_report(name, runs, clients, is_exact) for name in names]


def request_records(runs: Sequence[ArmRun], clients: Sequence[str]) -> list[RequestRecord]:
    """Every answer of every run."""
    return [
        RequestRecord(run.arm, run.repetition, client, answer)
        for run in runs
        for client, answers in zip(clients, run.answers, strict=True)
        for answer in answers
    ]


def write_json(report: Report, path: Path) -> None:
    """The report as indented JSON; figures that do not exist (NaN) are null."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")


def _arm_report(name: str, runs: Sequence[ArmRun], clients: Sequence[str], is_exact: bool) -> ArmReport:
    mine = [run for run in runs if run.arm == name]
    alone = {run.repetition: sum(run.goodputs()) for run in runs if run.arm == BASELINE}
    is_compared = bool(alone) and name != BASELINE
    return ArmReport(
        name=name,
        total=_metrics(mine, range(len(clients))),
        clients={client: _metrics(mine, [index]) for index, client in enumerate(clients)},
        jain_index=spread([jain_index(run.goodputs()) for run in mine]),
        sum_log_goodput=spread([sum_log(run.goodputs()) for run in mine]),
        speed_up=spread([sum(run.goodputs()) / alone[run.repetition] for run in mine]) if is_compared else None,
        num_differing_texts=num_differing(runs, name, BASELINE) if is_compared and is_exact else None,
        cpu_s_per_token=_cpu(mine).per(sum(one.num_committed for run in mine for one in run.traffic)),
        load_cpu_share=ratio(_cpu(mine).load, sum(run.wall_s for run in mine)),
    )


def _cpu(runs: Sequence[ArmRun]) -> CpuSeconds:
    return CpuSeconds(
        verifier=sum(run.cpu.verifier for run in runs),
        drafters=sum(run.cpu.drafters for run in runs),
        load=sum(run.cpu.load for run in runs),
    )


def _metrics(runs: Sequence[ArmRun], clients: Sequence[int]) -> ArmMetrics:
    """Of these clients together, by their places."""
    goodputs = [sum(run.goodputs()[client] for client in clients) for run in runs]
    answers = [answer for run in runs for client in clients for answer in run.answers[client]]
    traffic = [run.traffic[client] for run in runs for client in clients]
    reckoned_s = [run.reckoned_s(client) for run in runs for client in clients]
    told = [answer.speculation for answer in answers if answer.speculation]
    paces = [answer.time_per_token_s for answer in answers if answer.time_per_token_s is not None]
    return ArmMetrics(
        goodput=spread(goodputs),
        acceptance_rate=ratio(sum(rounds.accepted for rounds in told), sum(rounds.proposed for rounds in told)),
        mean_acceptance_length=ratio(sum(rounds.committed for rounds in told), sum(rounds.rounds for rounds in told)),
        alone_share=ratio(sum(rounds.target_only_rounds for rounds in told), sum(rounds.rounds for rounds in told)),
        reckoned_speed_up=ratio(sum(alone_s for alone_s, _ in reckoned_s), sum(took_s for _, took_s in reckoned_s)),
        bytes_per_token=ratio(sum(one.wire_bytes for one in traffic), sum(one.num_committed for one in traffic)),
        ttft_s=_latency([answer.ttft_s for answer in answers]),
        time_per_token_s=_latency(paces),
        time_shares=_time_shares(answers),
        num_answers=len(answers),
        num_tokens=sum(answer.num_tokens for answer in answers),
    )


def _latency(seconds: Sequence[float]) -> Latency:
    return Latency(quantile(seconds, 0.5), quantile(seconds, 0.99))


def _time_shares(answers: Sequence[LoadAnswer]) -> TimeShares:
    told = [(answer, answer.speculation) for answer in answers if answer.speculation]
    whole = sum(answer.end_s - answer.asked_s for answer, _ in told)
    drafting = ratio(sum(rounds.drafting_s for _, rounds in told), whole)
    queue = ratio(sum(rounds.queue_s for _, rounds in told), whole)
    verify = ratio(sum(rounds.verify_s for _, rounds in told), whole)
    return TimeShares(drafting, queue, verify, 1.0 - drafting - queue - verify)
