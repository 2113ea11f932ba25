"""What a run's users got: the record of a simulated load, from which any service level objective can be judged."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from msgspec import Struct

from goodspeed.experiment.metrics import RunMetrics, after_warm_up, latency_s, tpot_s, ttft_s
from goodspeed.experiment.replication import Replication
from goodspeed.simulator.result import UnfinishedRecord
from goodspeed.simulator.scenario import Scenario
from goodspeed.stats.summary import ratio


class ServedAnswer(Struct, frozen=True, array_like=True, gc=False):
    """The latencies of one answer, in seconds; of an unfinished one the least that they will be."""

    client: str
    num_tokens: int  # 0: unfinished
    ttft_s: float
    tpot_s: float | None  # None: there is at most one token
    latency_s: float

    @property
    def tier(self) -> str:
        """The tier of the client."""
        return self.client.rpartition("-")[0]


@dataclass(frozen=True, slots=True)
class ServedRun:
    """One replication at one number of clients."""

    metrics: RunMetrics
    answers: list[ServedAnswer]  # that finished after the warm-up
    unfinished: list[ServedAnswer]  # at the end of the run
    peak_memory: float  # largest share of a verifier's KV memory in blocks of open streams

    @property
    def num_failed(self) -> int:
        """Failed requests of the whole run."""
        return round(self.metrics.values.get("num_failed", 0.0))

    def goodputs(self) -> dict[str, float]:
        """By client with a finished answer: tokens per second of its answers' time, thinking excluded."""
        answers: dict[str, list[ServedAnswer]] = {}
        for answer in self.answers:
            answers.setdefault(answer.client, []).append(answer)
        return {client: _goodput(found) for client, found in sorted(answers.items())}


def served_run(scenario: Scenario, replication: Replication) -> ServedRun:
    """The record of a replication of this scenario."""
    run, metrics = replication.run, replication.metrics
    capacities = [tier.kv_capacity for tier in scenario.verifiers for _ in range(tier.count)]
    return ServedRun(
        metrics=metrics,
        answers=[
            ServedAnswer(
                answer.client, answer.num_answer_tokens, ttft_s(answer), _finite(tpot_s(answer)), latency_s(answer)
            )
            for answer in after_warm_up(run, metrics.warm_up.cut_s).answers
        ],
        unfinished=[_unfinished(record, run.simulated_s) for record in run.unfinished],
        peak_memory=max(
            verifier.peak_kv_tokens / capacity for verifier, capacity in zip(run.verifiers, capacities, strict=True)
        ),
    )


def _unfinished(record: UnfinishedRecord, end_s: float) -> ServedAnswer:
    waited_s = end_s - record.requested_s
    if record.first_token_s is None:
        return ServedAnswer(record.client, 0, waited_s, None, waited_s)
    tpot = ratio(end_s - record.first_token_s, record.num_answer_tokens - 1)
    return ServedAnswer(record.client, 0, record.first_token_s - record.requested_s, _finite(tpot), waited_s)


def _finite(value: float) -> float | None:
    return None if math.isnan(value) else value


def _goodput(answers: Sequence[ServedAnswer]) -> float:
    return sum(answer.num_tokens for answer in answers) / math.fsum(answer.latency_s for answer in answers)
