"""The metrics of a comparison, and its report as JSON."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from goodspeed.bench.answer import LoadAnswer, Speculation
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

SCHEMA = 3


@dataclass(frozen=True, slots=True)
class Latency:
    """Quantiles over all answers, in seconds."""

    p50: float
    p99: float


@dataclass(frozen=True, slots=True)
class TimeShares:
    """How the streams spend their time, as shares of the total; NaN if answers do not report it."""

    drafting: float
    queue: float  # at the verifier
    verify: float
    other: float  # network, prefill, work of both servers, waiting for a core


@dataclass(frozen=True, slots=True)
class RoundShares:
    """The modes of rounds, as shares of all rounds but those of prompts; NaN if there are none."""

    remote: float
    co_located: float
    target_only: float


@dataclass(frozen=True, slots=True)
class ArmMetrics:
    """The metrics of one client, or of all clients together, in one arm."""

    goodput: Spread  # committed tokens per second, one value per repetition
    acceptance_rate: float  # of proposals: accepted / proposed
    co_located_acceptance_rate: float  # of the verifier's own drafts: accepted / verified
    mean_acceptance_length: float  # committed / rounds
    rounds_by_mode: RoundShares
    estimated_speed_up: float  # over the baseline, as verifiers estimate; NaN if unknown
    bytes_per_token: float  # between drafter and verifier, both ways, per committed token
    ttft_s: Latency
    time_per_token_s: Latency
    time_shares: TimeShares
    num_answers: int
    num_tokens: int


@dataclass(frozen=True, slots=True)
class OptimumReport:
    """The optimum for the acceptance of an arm, and the distance of its runs from it; all in tokens per round.

    Acceptance is the survival curve of each client over all runs of the arm, including the warm-up.
    """

    utility: float  # U*: weighted sum of natural logarithms of the best goodputs
    certified_gap: float  # no goodputs within the budget have a utility above U* + certified_gap
    best: dict[str, float]  # x*, by client
    goodput_per_round: dict[str, Spread]  # x, by client
    utility_gap: Spread  # U* - U(x)
    distance: Spread  # |x - x*|, Euclid


@dataclass(frozen=True, slots=True)
class ArmReport:
    """The metrics of one arm."""

    name: str
    total: ArmMetrics
    clients: dict[str, ArmMetrics]
    jain_index: Spread  # of the clients' goodputs
    sum_log_goodput: Spread  # natural logarithm
    speed_up: Spread | None  # total goodput / that of the target-only baseline in the same repetition
    num_differing_texts: int | None  # from the baseline; None if there is none or texts are random
    cpu_s_per_token: CpuSeconds
    load_cpu_share: float
    """CPU time of the load generator per second of wall time (1 = a whole core)."""
    optimum: OptimumReport | None = None
    """None if nothing was drafted or the verifier has no event log."""


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """An answer with its arm, repetition and client."""

    arm: str
    repetition: int
    client: str
    answer: LoadAnswer


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a comparison, with everything needed to reproduce it."""

    schema: int
    started: str  # ISO 8601
    command: list[str]
    machine: MachineInfo
    setup: dict[str, object]
    """The arms and the load as configured."""
    arms: list[ArmReport]
    requests: list[RequestRecord]

    @property
    def num_differing_texts(self) -> int:
        """Sum over all arms that are compared with the baseline."""
        return sum(arm.num_differing_texts or 0 for arm in self.arms)


def arm_reports(runs: Sequence[ArmRun], clients: Sequence[str], is_exact: bool) -> list[ArmReport]:
    """One report per arm, in order of appearance. `is_exact`: texts must be equal (greedy and coupled rules)."""
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
    """Write the report as indented JSON; NaN becomes null."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")


def _arm_report(name: str, runs: Sequence[ArmRun], clients: Sequence[str], is_exact: bool) -> ArmReport:
    of_arm = [run for run in runs if run.arm == name]
    baseline = {run.repetition: sum(run.goodputs()) for run in runs if run.arm == BASELINE}
    is_compared = bool(baseline) and name != BASELINE
    return ArmReport(
        name=name,
        total=_metrics(of_arm, range(len(clients))),
        clients={client: _metrics(of_arm, [index]) for index, client in enumerate(clients)},
        jain_index=spread([jain_index(run.goodputs()) for run in of_arm]),
        sum_log_goodput=spread([sum_log(run.goodputs()) for run in of_arm]),
        speed_up=spread([sum(run.goodputs()) / baseline[run.repetition] for run in of_arm]) if is_compared else None,
        num_differing_texts=num_differing(runs, name, BASELINE) if is_compared and is_exact else None,
        cpu_s_per_token=_cpu(of_arm).per(sum(counts.num_committed for run in of_arm for counts in run.traffic)),
        load_cpu_share=ratio(_cpu(of_arm).load, sum(run.wall_s for run in of_arm)),
    )


def _cpu(runs: Sequence[ArmRun]) -> CpuSeconds:
    return CpuSeconds(
        verifier=sum(run.cpu.verifier for run in runs),
        drafters=sum(run.cpu.drafters for run in runs),
        load=sum(run.cpu.load for run in runs),
    )


def _metrics(runs: Sequence[ArmRun], clients: Sequence[int]) -> ArmMetrics:
    """The metrics of these clients together, given by index."""
    goodputs = [sum(run.goodputs()[client] for client in clients) for run in runs]
    answers = [answer for run in runs for client in clients for answer in run.answers[client]]
    traffic = [run.traffic[client] for run in runs for client in clients]
    estimated_s = [run.estimated_s(client) for run in runs for client in clients]
    reported = [answer.speculation for answer in answers if answer.speculation]
    times_per_token_s = [answer.time_per_token_s for answer in answers if answer.time_per_token_s is not None]
    baseline_s, elapsed_s = (sum(times) for times in zip(*estimated_s, strict=True))
    return ArmMetrics(
        goodput=spread(goodputs),
        acceptance_rate=ratio(sum(rounds.accepted for rounds in reported), sum(rounds.proposed for rounds in reported)),
        co_located_acceptance_rate=ratio(
            sum(rounds.co_located_accepted for rounds in reported), sum(rounds.co_located for rounds in reported)
        ),
        mean_acceptance_length=ratio(
            sum(rounds.committed for rounds in reported), sum(rounds.rounds for rounds in reported)
        ),
        rounds_by_mode=_round_shares(reported),
        estimated_speed_up=ratio(baseline_s, elapsed_s),
        bytes_per_token=ratio(
            sum(counts.wire_bytes for counts in traffic), sum(counts.num_committed for counts in traffic)
        ),
        ttft_s=_latency([answer.ttft_s for answer in answers]),
        time_per_token_s=_latency(times_per_token_s),
        time_shares=_time_shares(answers),
        num_answers=len(answers),
        num_tokens=sum(answer.num_tokens for answer in answers),
    )


def _round_shares(reported: Sequence[Speculation]) -> RoundShares:
    num_remote = sum(rounds.remote_rounds for rounds in reported)
    num_co_located = sum(rounds.co_located_rounds for rounds in reported)
    num_target_only = sum(rounds.target_only_rounds for rounds in reported)
    num_rounds = num_remote + num_co_located + num_target_only
    return RoundShares(*(ratio(num, num_rounds) for num in (num_remote, num_co_located, num_target_only)))


def _latency(seconds: Sequence[float]) -> Latency:
    return Latency(quantile(seconds, 0.5), quantile(seconds, 0.99))


def _time_shares(answers: Sequence[LoadAnswer]) -> TimeShares:
    reported = [(answer, answer.speculation) for answer in answers if answer.speculation]
    total_s = sum(answer.end_s - answer.due_s for answer, _ in reported)
    drafting = ratio(sum(rounds.drafting_s for _, rounds in reported), total_s)
    queue = ratio(sum(rounds.queue_s for _, rounds in reported), total_s)
    verify = ratio(sum(rounds.verify_s for _, rounds in reported), total_s)
    return TimeShares(drafting, queue, verify, 1.0 - drafting - queue - verify)
