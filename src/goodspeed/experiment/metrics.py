"""The metrics of a replication.

An answer counts as a whole if it finishes after the warm-up. In the long run the work that such answers did during the
warm-up and the work of unfinished answers at the end cancel. Verifiers' metrics and bytes cover the whole run.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from goodspeed.experiment.warm_up import WarmUp
from goodspeed.registry import Registry
from goodspeed.simulator.result import AnswerRecord, RunResult
from goodspeed.stats.summary import jain_index, ratio, sum_log

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RunMetrics:
    """The metrics of one replication. Undefined ones are absent, such as the acceptance rate without drafts."""

    seed: int
    warm_up: WarmUp
    num_answers: int  # answers that finished after the warm-up
    values: dict[str, float]  # by the names in METRICS
    goodputs: dict[str, float]  # by client, tokens per second


@dataclass(frozen=True, slots=True)
class MeasuredRun:
    """A run after its warm-up."""

    run: RunResult
    answers: Sequence[AnswerRecord]
    span_s: float
    goodputs: dict[str, float]  # by client

    def total(self, of: Callable[[AnswerRecord], float]) -> float:
        """Sum over the answers."""
        return math.fsum(map(of, self.answers))


@dataclass(frozen=True, slots=True)
class Metric:
    """The computation of a metric, and its display."""

    title: str
    unit: str
    scale: float  # displayed value = scale * value
    compute: Callable[[MeasuredRun], float]


def compute_metrics(run: RunResult, start: WarmUp, clients: Sequence[str] = ()) -> RunMetrics:
    """The metrics of a run.

    `clients`: names of all clients, so that those without an answer count with a goodput of 0. Clients with an answer
    need not be named.
    """
    measured = after_warm_up(run, start.cut_s, clients)
    values = {name: float(metric.compute(measured)) for name, metric in METRICS.items()}
    finite = {name: value for name, value in values.items() if math.isfinite(value)}
    return RunMetrics(run.seed, start, len(measured.answers), finite, measured.goodputs)


def after_warm_up(run: RunResult, cut_s: float, clients: Sequence[str] = ()) -> MeasuredRun:
    """The run without the answers that finished up to `cut_s`."""
    tokens = dict.fromkeys(clients, 0) | {answer.client: 0 for answer in run.answers}
    answers = [answer for answer in run.answers if answer.finished_s > cut_s]
    for answer in answers:
        tokens[answer.client] += answer.num_answer_tokens
    span_s = run.simulated_s - cut_s
    return MeasuredRun(run, answers, span_s, {client: ratio(num, span_s) for client, num in sorted(tokens.items())})


def latency_s(answer: AnswerRecord) -> float:
    """Seconds from the request to the last token."""
    return answer.finished_s - answer.requested_s


def ttft_s(answer: AnswerRecord) -> float:
    """Seconds from the request to the first token."""
    return answer.first_token_s - answer.requested_s


def tpot_s(answer: AnswerRecord) -> float:
    """Seconds per output token after the first; NaN for a single token."""
    return ratio(answer.finished_s - answer.first_token_s, answer.num_answer_tokens - 1)


def _sum_over_drafted(of: Callable[[AnswerRecord], float]) -> Callable[[MeasuredRun], float]:
    """Sum over the answers that were not generated in target-only mode."""
    return lambda measured: math.fsum(of(answer) for answer in measured.answers if not answer.is_target_only)


def _share(of: Callable[[AnswerRecord], float]) -> Callable[[MeasuredRun], float]:
    return lambda measured: ratio(measured.total(of), measured.total(latency_s))


def _share_of_rounds(of: Callable[[AnswerRecord], float]) -> Callable[[MeasuredRun], float]:
    return lambda measured: ratio(measured.total(of), measured.total(lambda answer: answer.num_rounds_with_mode))


def _attributed_s(answer: AnswerRecord) -> float:
    return answer.drafting_s + answer.network_s + answer.queue_s + answer.verify_s


def _geometric_mean(measured: MeasuredRun) -> float:
    goodputs = list(measured.goodputs.values())
    return math.exp(sum_log(goodputs) / len(goodputs)) if goodputs else math.nan


def _values(measured: MeasuredRun, of: Callable[[AnswerRecord], float]) -> Floats:
    """The values of all answers that have one."""
    return np.array([value for answer in measured.answers if not math.isnan(value := of(answer))], dtype=np.float64)


def _mean(of: Callable[[AnswerRecord], float]) -> Callable[[MeasuredRun], float]:
    def value(measured: MeasuredRun) -> float:
        values = _values(measured, of)
        return float(values.mean()) if values.size else math.nan

    return value


def _quantile(of: Callable[[AnswerRecord], float], share: float) -> Callable[[MeasuredRun], float]:
    def value(measured: MeasuredRun) -> float:
        values = _values(measured, of)
        return float(np.quantile(values, share)) if values.size else math.nan

    return value


def _latencies(name: str, title: str, of: Callable[[AnswerRecord], float]) -> dict[str, Metric]:
    quantiles = {f"{name}_p{share}_s": (f"{title}, p{share}", _quantile(of, share / 100)) for share in (50, 90, 99)}
    rows = {f"{name}_mean_s": (f"{title}, mean", _mean(of))} | quantiles
    return {key: Metric(label, "ms", 1e3, how) for key, (label, how) in rows.items()}


def _shares() -> dict[str, Metric]:
    parts: dict[str, tuple[str, Callable[[AnswerRecord], float]]] = {
        "drafting_share": ("drafting", lambda answer: answer.drafting_s),
        "network_share": ("network", lambda answer: answer.network_s),
        "queue_share": ("verifier queue", lambda answer: answer.queue_s),
        "verify_share": ("verification", lambda answer: answer.verify_s),
        "other_share": ("other", lambda answer: latency_s(answer) - _attributed_s(answer)),
    }
    return {
        name: Metric(f"share of answer time: {title}", "%", 100.0, _share(of)) for name, (title, of) in parts.items()
    }


def _utilisation(measured: MeasuredRun) -> float:
    return ratio(
        math.fsum(verifier.busy_s for verifier in measured.run.verifiers),
        measured.run.simulated_s * len(measured.run.verifiers),
    )


METRICS: Registry[Metric] = Registry(
    "metric",
    {
        "goodput": Metric(
            "goodput, all clients",
            "tokens/s",
            1.0,
            lambda measured: math.fsum(measured.goodputs.values()) if measured.goodputs else math.nan,
        ),
        "geometric_mean": Metric("goodput per client, geometric mean", "tokens/s", 1.0, _geometric_mean),
        "jain_index": Metric(
            "Jain's fairness index of goodputs",
            "",
            1.0,
            lambda measured: jain_index(list(measured.goodputs.values())) if measured.goodputs else math.nan,
        ),
        "answers_per_s": Metric("answers", "1/s", 1.0, lambda measured: ratio(len(measured.answers), measured.span_s)),
        **_latencies("ttft", "time to first token", ttft_s),
        **_latencies("tpot", "time per output token", tpot_s),
        **_latencies("latency", "request latency", latency_s),
        "cached_prompt_tokens": Metric(
            "prompt tokens that the prefix cache had",
            "%",
            100.0,
            lambda measured: ratio(
                measured.total(lambda answer: answer.num_cached_tokens),
                measured.total(lambda answer: answer.num_prompt_tokens),
            ),
        ),
        "preemptions_per_answer": Metric(
            "preemptions per answer",
            "",
            1.0,
            lambda measured: ratio(
                sum(verifier.num_preemptions for verifier in measured.run.verifiers), len(measured.run.answers)
            ),
        ),
        "acceptance_rate": Metric(
            "acceptance rate",
            "",
            1.0,
            lambda measured: ratio(
                measured.total(lambda answer: answer.num_accepted), measured.total(lambda answer: answer.num_proposed)
            ),
        ),
        "co_located_acceptance_rate": Metric(
            "acceptance rate of co-located drafts",
            "",
            1.0,
            lambda measured: ratio(
                measured.total(lambda answer: answer.num_co_located_accepted),
                measured.total(lambda answer: answer.num_co_located),
            ),
        ),
        "mean_acceptance_length": Metric(
            "tokens per round",
            "",
            1.0,
            lambda measured: ratio(
                _sum_over_drafted(lambda answer: answer.num_answer_tokens)(measured),
                _sum_over_drafted(lambda answer: answer.num_rounds)(measured),
            ),
        ),
        "estimated_speed_up": Metric(
            "speed-up over the target-only baseline, verifiers' estimate",
            "",
            1.0,
            lambda measured: ratio(
                measured.total(lambda answer: answer.baseline_s or 0.0),
                measured.total(lambda answer: answer.elapsed_s or 0.0),
            ),
        ),
        "remote_rounds": Metric(
            "rounds, remote", "%", 100.0, _share_of_rounds(lambda answer: answer.num_remote_rounds)
        ),
        "co_located_rounds": Metric(
            "rounds, co-located", "%", 100.0, _share_of_rounds(lambda answer: answer.num_co_located_rounds)
        ),
        "target_only_rounds": Metric(
            "rounds, target-only", "%", 100.0, _share_of_rounds(lambda answer: answer.num_target_only_rounds)
        ),
        "mode_changes_per_s": Metric(
            "changes of mode by the window policy, per client",
            "1/min",
            60.0,
            lambda measured: ratio(
                measured.total(lambda answer: answer.num_mode_changes), len(measured.goodputs) * measured.span_s
            ),
        ),
        **_shares(),
        "utilisation": Metric("verifier utilisation", "%", 100.0, _utilisation),
        "tokens_per_step": Metric(
            "tokens per verifier step",
            "",
            1.0,
            lambda measured: ratio(
                sum(verifier.num_tokens for verifier in measured.run.verifiers),
                sum(verifier.num_steps for verifier in measured.run.verifiers),
            ),
        ),
        "bytes_per_round": Metric(
            "bytes per round, both directions",
            "B",
            1.0,
            lambda measured: ratio(measured.run.num_bytes_up + measured.run.num_bytes_down, measured.run.num_rounds),
        ),
        "rounds_per_s": Metric(
            "rounds", "1/s", 1.0, lambda measured: ratio(measured.run.num_rounds, measured.run.simulated_s)
        ),
        "num_failed": Metric("failed requests", "", 1.0, lambda measured: measured.run.num_failed),
        "num_unfinished": Metric(
            "unfinished requests at the end", "", 1.0, lambda measured: measured.run.num_unfinished
        ),
    },
)
"""All metrics by name. Values are in SI units, shares between 0 and 1."""
