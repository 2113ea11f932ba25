"""A replication's metrics of merit.

An answer counts where it ended: after the warm-up, wholly. So the part that the warm-up lends to its first answers
and the part that unfinished ones keep cancel in the long run. Verifiers' metrics and bytes are those of the whole run.
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
    """One replication's. What does not exist (the acceptance rate where nobody drafted) is absent."""

    seed: int
    warm_up: WarmUp
    num_answers: int  # after the warm-up
    values: dict[str, float]  # by the names of METRICS
    goodputs: dict[str, float]  # by client, tokens per second


@dataclass(frozen=True, slots=True)
class Observed:
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
    """How to compute a metric, and how to show it."""

    title: str
    unit: str
    scale: float  # shown = scale * value
    of: Callable[[Observed], float]


def compute_metrics(run: RunResult, start: WarmUp, clients: Sequence[str] = ()) -> RunMetrics:
    """`clients`: all there are, so that one without an answer counts as starved; those with an answer are known."""
    observed = observe(run, start.cut_s, clients)
    values = {name: float(metric.of(observed)) for name, metric in METRICS.items()}
    kept = {name: value for name, value in values.items() if math.isfinite(value)}
    return RunMetrics(run.seed, start, len(observed.answers), kept, observed.goodputs)


def observe(run: RunResult, cut_s: float, clients: Sequence[str] = ()) -> Observed:
    """The run from `cut_s` on."""
    tokens = dict.fromkeys(clients, 0) | {answer.client: 0 for answer in run.answers}
    answers = [answer for answer in run.answers if answer.finished_s > cut_s]
    for answer in answers:
        tokens[answer.client] += answer.num_answer_tokens
    span_s = run.simulated_s - cut_s
    return Observed(run, answers, span_s, {client: ratio(num, span_s) for client, num in sorted(tokens.items())})


def latency_s(answer: AnswerRecord) -> float:
    """From the question to the last token."""
    return answer.finished_s - answer.requested_s


def ttft_s(answer: AnswerRecord) -> float:
    """Time to the first token."""
    return answer.first_token_s - answer.requested_s


def tpot_s(answer: AnswerRecord) -> float:
    """Time per output token after the first; NaN of a single token."""
    return ratio(answer.finished_s - answer.first_token_s, answer.num_answer_tokens - 1)


def _drafted(of: Callable[[AnswerRecord], float]) -> Callable[[Observed], float]:
    """Sum over the answers that were not the verifier's alone."""
    return lambda seen: math.fsum(of(answer) for answer in seen.answers if not answer.is_target_only)


def _share(of: Callable[[AnswerRecord], float]) -> Callable[[Observed], float]:
    return lambda seen: ratio(seen.total(of), seen.total(latency_s))


def _known_s(answer: AnswerRecord) -> float:
    return answer.drafting_s + answer.network_s + answer.queue_s + answer.verify_s


def _geometric_mean(seen: Observed) -> float:
    goodputs = list(seen.goodputs.values())
    return math.exp(sum_log(goodputs) / len(goodputs)) if goodputs else math.nan


def _spread(seen: Observed, of: Callable[[AnswerRecord], float]) -> Floats:
    """Over the answers that have it."""
    return np.array([value for answer in seen.answers if not math.isnan(value := of(answer))], dtype=np.float64)


def _mean(of: Callable[[AnswerRecord], float]) -> Callable[[Observed], float]:
    def value(seen: Observed) -> float:
        values = _spread(seen, of)
        return float(values.mean()) if values.size else math.nan

    return value


def _quantile(of: Callable[[AnswerRecord], float], share: float) -> Callable[[Observed], float]:
    def value(seen: Observed) -> float:
        values = _spread(seen, of)
        return float(np.quantile(values, share)) if values.size else math.nan

    return value


def _latencies(name: str, title: str, of: Callable[[AnswerRecord], float]) -> dict[str, Metric]:
    quantiles = {f"{name}_p{share}_s": (f"{title}, p{share}", _quantile(of, share / 100)) for share in (50, 90, 99)}
    rows = {f"{name}_mean_s": (f"{title}, mean", _mean(of))} | quantiles
    return {key: Metric(label, "ms", 1e3, how) for key, (label, how) in rows.items()}


def _shares() -> dict[str, Metric]:
    parts: dict[str, tuple[str, Callable[[AnswerRecord], float]]] = {
        "drafting_share": ("drafting", lambda answer: answer.drafting_s),
        "network_share": ("on the network", lambda answer: answer.network_s),
        "queue_share": ("in a verifier's queue", lambda answer: answer.queue_s),
        "verify_share": ("in verification", lambda answer: answer.verify_s),
        "other_share": ("anything else", lambda answer: latency_s(answer) - _known_s(answer)),
    }
    return {name: Metric(f"answers' time: {title}", "%", 100.0, _share(of)) for name, (title, of) in parts.items()}


def _utilisation(seen: Observed) -> float:
    return ratio(math.fsum(one.busy_s for one in seen.run.verifiers), seen.run.simulated_s * len(seen.run.verifiers))


METRICS: Registry[Metric] = Registry(
    "metric",
    {
        "goodput": Metric(
            "goodput, all clients",
            "tokens/s",
            1.0,
            lambda seen: math.fsum(seen.goodputs.values()) if seen.goodputs else math.nan,
        ),
        "geometric_mean": Metric("goodput of a client, geometric mean", "tokens/s", 1.0, _geometric_mean),
        "jain_index": Metric(
            "Jain's index of goodputs",
            "",
            1.0,
            lambda seen: jain_index(list(seen.goodputs.values())) if seen.goodputs else math.nan,
        ),
        "answers_per_s": Metric("answers", "1/s", 1.0, lambda seen: ratio(len(seen.answers), seen.span_s)),
        **_latencies("ttft", "time to first token", ttft_s),
        **_latencies("tpot", "time per token after the first", tpot_s),
        **_latencies("latency", "question to last token", latency_s),
        "acceptance_rate": Metric(
            "acceptance rate",
            "",
            1.0,
            lambda seen: ratio(seen.total(lambda one: one.num_accepted), seen.total(lambda one: one.num_proposed)),
        ),
        "mean_acceptance_length": Metric(
            "tokens per round",
            "",
            1.0,
            lambda seen: ratio(
                _drafted(lambda one: one.num_answer_tokens)(seen), _drafted(lambda one: one.num_rounds)(seen)
            ),
        ),
        "estimated_speed_up": Metric(
            "speed-up over the target alone, as verifiers reckon",
            "",
            1.0,
            lambda seen: ratio(seen.total(lambda one: one.baseline_s), seen.total(lambda one: one.took_s)),
        ),
        "target_only_share": Metric(
            "answers of the verifier alone",
            "%",
            100.0,
            lambda seen: ratio(seen.total(lambda one: one.is_target_only), len(seen.answers)),
        ),
        **_shares(),
        "utilisation": Metric("verifiers busy", "%", 100.0, _utilisation),
        "tokens_per_step": Metric(
            "tokens per verifier step",
            "",
            1.0,
            lambda seen: ratio(
                sum(one.num_tokens for one in seen.run.verifiers), sum(one.num_steps for one in seen.run.verifiers)
            ),
        ),
        "bytes_per_round": Metric(
            "bytes per round, both ways",
            "B",
            1.0,
            lambda seen: ratio(seen.run.num_bytes_up + seen.run.num_bytes_down, seen.run.num_rounds),
        ),
        "rounds_per_s": Metric("rounds", "1/s", 1.0, lambda seen: ratio(seen.run.num_rounds, seen.run.simulated_s)),
        "num_failed": Metric("requests that failed", "", 1.0, lambda seen: seen.run.num_failed),
        "num_unfinished": Metric("requests unfinished at the end", "", 1.0, lambda seen: seen.run.num_unfinished),
    },
)
"""Every metric by name; values are SI units and shares of 1."""
