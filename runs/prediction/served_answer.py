"""Answers as users received them, live or simulated, and the metrics that are compared."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from goodspeed.bench.answer import LoadAnswer
from goodspeed.simulator.result import AnswerRecord
from goodspeed.stats.summary import quantile, ratio


class ServedAnswer(NamedTuple):
    """One answer; times are in seconds since the start of the repetition."""

    requested_s: float
    first_s: float
    end_s: float
    num_tokens: int
    num_rounds: int
    num_proposed: int
    num_accepted: int

    @property
    def time_per_token_s(self) -> float | None:
        """Mean time per token after the first (TPOT); None for a single chunk."""
        return (self.end_s - self.first_s) / (self.num_tokens - 1) if self.end_s > self.first_s else None

    def num_tokens_by(self, time_s: float) -> float:
        """Tokens up to a time, if they arrived evenly between the first and the last."""
        if time_s >= self.end_s:
            return self.num_tokens
        return self.num_tokens * max(0.0, (time_s - self.first_s) / (self.end_s - self.first_s))


Repetition = Sequence[Sequence[ServedAnswer]]
"""[clients][requests]."""


@dataclass(frozen=True, slots=True)
class ServedMetrics:
    """Goodput in tokens per second while all clients are served, in total and by client; times in seconds; ratios."""

    goodput: float
    client_goodputs: tuple[float, ...]
    tpot_p50_s: float
    tpot_p99_s: float
    ttft_p50_s: float
    ttft_mean_s: float
    tokens_per_round: float
    acceptance_rate: float
    num_answers: int


def of_answer(answer: LoadAnswer) -> ServedAnswer:
    """An answer of the load generator, from a GoodSpeed drafter."""
    speculation = answer.speculation
    assert speculation is not None
    counts = speculation.rounds, speculation.proposed, speculation.accepted
    return ServedAnswer(answer.due_s, answer.chunk_s[0], answer.end_s, answer.num_tokens, *counts)


def of_record(record: AnswerRecord, start_s: float) -> ServedAnswer:
    """A simulated answer of a repetition that started at `start_s`."""
    return ServedAnswer(
        record.requested_s - start_s,
        record.first_token_s - start_s,
        record.finished_s - start_s,
        record.num_answer_tokens,
        record.num_rounds,
        record.num_proposed,
        record.num_accepted,
    )


def served_metrics(repetitions: Sequence[Repetition]) -> ServedMetrics:
    """Metrics over all repetitions. Rates are sums of tokens over sums of time; quantiles are over all answers."""
    answers = [answer for repetition in repetitions for of_client in repetition for answer in of_client]
    times_per_token_s = [time_s for answer in answers if (time_s := answer.time_per_token_s) is not None]
    first_token_s = [answer.first_s - answer.requested_s for answer in answers]
    clients = _goodputs(repetitions)
    num_tokens, num_rounds = (sum(getattr(answer, name) for answer in answers) for name in ("num_tokens", "num_rounds"))
    return ServedMetrics(
        goodput=sum(clients),
        client_goodputs=tuple(clients),
        tpot_p50_s=quantile(times_per_token_s, 0.5),
        tpot_p99_s=quantile(times_per_token_s, 0.99),
        ttft_p50_s=quantile(first_token_s, 0.5),
        ttft_mean_s=sum(first_token_s) / len(first_token_s),
        tokens_per_round=ratio(num_tokens, num_rounds),
        acceptance_rate=ratio(sum(a.num_accepted for a in answers), sum(a.num_proposed for a in answers)),
        num_answers=len(answers),
    )


def mean_metrics(samples: Sequence[ServedMetrics]) -> ServedMetrics:
    """The mean of each metric."""

    def mean(name: str) -> float:
        return float(sum(getattr(sample, name) for sample in samples) / len(samples))

    clients = zip(*(sample.client_goodputs for sample in samples), strict=True)
    return ServedMetrics(
        mean("goodput"),
        tuple(sum(rates) / len(samples) for rates in clients),
        mean("tpot_p50_s"),
        mean("tpot_p99_s"),
        mean("ttft_p50_s"),
        mean("ttft_mean_s"),
        mean("tokens_per_round"),
        mean("acceptance_rate"),
        samples[0].num_answers,
    )


def _goodputs(repetitions: Sequence[Repetition]) -> list[float]:
    """Tokens per second of each client."""
    ends = [min(max(answer.end_s for answer in of_client) for of_client in repetition) for repetition in repetitions]
    num_clients = len(repetitions[0])
    return [
        sum(
            sum(answer.num_tokens_by(end_s) for answer in repetition[client])
            for repetition, end_s in zip(repetitions, ends, strict=True)
        )
        / sum(ends)
        for client in range(num_clients)
    ]
