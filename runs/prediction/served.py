"""Answers as users had them, live or simulated, and the figures that are compared."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from goodspeed.bench.answer import LoadAnswer
from goodspeed.simulator.result import AnswerRecord
from goodspeed.stats.summary import quantile, ratio


class Served(NamedTuple):
    """One answer; times in seconds since the repetition's begin."""

    asked_s: float
    first_s: float
    end_s: float
    num_tokens: int
    num_rounds: int
    num_proposed: int
    num_accepted: int

    @property
    def time_per_token_s(self) -> float | None:
        """After the first one (docs/bench.md)."""
        return (self.end_s - self.first_s) / (self.num_tokens - 1) if self.end_s > self.first_s else None

    def num_tokens_by(self, time_s: float) -> float:
        """As if they came evenly."""
        if time_s >= self.end_s:
            return self.num_tokens
        return self.num_tokens * max(0.0, (time_s - self.first_s) / (self.end_s - self.first_s))


Repetition = Sequence[Sequence[Served]]
"""[clients][requests]."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Tokens per second while all clients are served, in all and by client; seconds; shares."""

    goodput: float
    client_goodputs: tuple[float, ...]
    tpot_p50_s: float
    tpot_p99_s: float
    ttft_p50_s: float
    ttft_mean_s: float
    tokens_per_round: float
    acceptance_rate: float
    num_answers: int


def of_answer(answer: LoadAnswer) -> Served:
    """What the load generator saw of a drafter of ours."""
    said = answer.speculation
    assert said is not None
    counts = said.rounds, said.proposed, said.accepted
    return Served(answer.asked_s, answer.chunk_s[0], answer.end_s, answer.num_tokens, *counts)


def of_record(record: AnswerRecord, begin_s: float) -> Served:
    """The same of a simulated answer; the repetition began at `begin_s`."""
    return Served(
        record.requested_s - begin_s,
        record.first_token_s - begin_s,
        record.finished_s - begin_s,
        record.num_answer_tokens,
        record.num_rounds,
        record.num_proposed,
        record.num_accepted,
    )


def figures(repetitions: Sequence[Repetition]) -> Figures:
    """Over all of them: rates are sums of tokens over sums of time, quantiles are those of all answers together."""
    answers = [answer for repetition in repetitions for mine in repetition for answer in mine]
    paces = [pace for answer in answers if (pace := answer.time_per_token_s) is not None]
    waits = [answer.first_s - answer.asked_s for answer in answers]
    clients = _goodputs(repetitions)
    num_tokens, num_rounds = (sum(getattr(answer, name) for answer in answers) for name in ("num_tokens", "num_rounds"))
    return Figures(
        goodput=sum(clients),
        client_goodputs=tuple(clients),
        tpot_p50_s=quantile(paces, 0.5),
        tpot_p99_s=quantile(paces, 0.99),
        ttft_p50_s=quantile(waits, 0.5),
        ttft_mean_s=sum(waits) / len(waits),
        tokens_per_round=ratio(num_tokens, num_rounds),
        acceptance_rate=ratio(sum(a.num_accepted for a in answers), sum(a.num_proposed for a in answers)),
        num_answers=len(answers),
    )


def mean_figures(every: Sequence[Figures]) -> Figures:
    """Of each figure."""

    def mean(name: str) -> float:
        return float(sum(getattr(one, name) for one in every) / len(every))

    clients = zip(*(one.client_goodputs for one in every), strict=True)
    return Figures(
        mean("goodput"),
        tuple(sum(rates) / len(every) for rates in clients),
        mean("tpot_p50_s"),
        mean("tpot_p99_s"),
        mean("ttft_p50_s"),
        mean("ttft_mean_s"),
        mean("tokens_per_round"),
        mean("acceptance_rate"),
        every[0].num_answers,
    )


def _goodputs(repetitions: Sequence[Repetition]) -> list[float]:
    """By client."""
    ends = [min(max(answer.end_s for answer in mine) for mine in repetition) for repetition in repetitions]
    num_clients = len(repetitions[0])
    return [
        sum(
            sum(answer.num_tokens_by(end_s) for answer in repetition[client])
            for repetition, end_s in zip(repetitions, ends, strict=True)
        )
        / sum(ends)
        for client in range(num_clients)
    ]
