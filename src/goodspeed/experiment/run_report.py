"""The HTML report of one scenario: report.html of `goodspeed simulate --output`."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from goodspeed.experiment import html_page as page
from goodspeed.experiment.cell_folder import leaves
from goodspeed.experiment.chart import Chart, Series
from goodspeed.experiment.metrics import Floats, latency_s, tpot_s, ttft_s
from goodspeed.experiment.replication import Replication
from goodspeed.experiment.story import story
from goodspeed.experiment.summary import Summary
from goodspeed.experiment.tables import goodput_rows, metric_rows, number, replication_rows
from goodspeed.simulator.result import AnswerRecord
from goodspeed.stats.summary import quantile, ratio

NUM_BINS = 60
NUM_QUANTILES = 200
MAX_TABLE_CLIENTS = 64
"""Clients in the table; the chart and summary.json contain all."""
MAX_NAMED_CLIENTS = 10
"""Clients with names in the chart."""
SHARES = ("drafting_share", "network_share", "queue_share", "verify_share", "other_share")
METHOD = (
    "Intervals are 95% confidence intervals of the mean over replications (Student's t). Replications differ only in "
    "their seed. An answer counts if it finishes after the warm-up, which is given or estimated from a pilot run. "
    "Verifier metrics and bytes cover the whole run."
)
TIERS = "Answers of all replications, one row per drafter tier."


@dataclass(frozen=True, slots=True)
class ReportHeader:
    """Name, command and settings of a report."""

    name: str
    command: str
    settings: Mapping[str, Any]  # values of the scenario file


def run_report(header: ReportHeader, summary: Summary, replications: Sequence[Replication]) -> str:
    """The report as HTML, for at least one replication."""
    clients = goodput_rows(summary.goodputs)
    note = (
        f"{len(clients)} clients, of which the first {MAX_TABLE_CLIENTS} are shown."
        if len(clients) > MAX_TABLE_CLIENTS
        else ""
    )
    return page.page(
        f"Simulation of {header.name}",
        [
            page.paragraph(f"{summary.num_replications} replications. Command: {header.command}"),
            page.section("Summary", page.paragraph(" ".join(story(summary, replications)))),
            page.section("Metrics", page.paragraph(METHOD), _metrics(summary)),
            page.section("Charts", page.charts(*_charts(summary, replications))),
            page.section("Replications", _replications(replications)),
            page.section("Drafter tiers", page.paragraph(TIERS), _tiers(replications)),
            page.section("Clients", page.paragraph(note), _clients(clients[:MAX_TABLE_CLIENTS])),
            page.section("Verifiers", _verifiers(replications)),
            page.section("Scenario", settings_table(header.settings)),
        ],
    )


def settings_table(settings: Mapping[str, Any]) -> str:
    """All keys of the scenario, collapsed."""
    rows = [[key, str(value)] for key, value in leaves(settings)]
    return page.collapsible(f"{len(rows)} keys of the scenario", page.table(["key", "value"], rows))


def _metrics(summary: Summary) -> str:
    return page.table(["metric", "unit", "mean", "95% interval"], metric_rows(summary))


def _replications(replications: Sequence[Replication]) -> str:
    headers = ["seed", "warm-up, s", "warm-up source", "answers", "goodput, tokens/s"]
    return page.table(headers, replication_rows([replication.metrics for replication in replications]))


def _clients(rows: Sequence[Sequence[str]]) -> str:
    return page.table(["client", "goodput, tokens/s", "95% interval"], rows)


def _verifiers(replications: Sequence[Replication]) -> str:
    rows = [
        [
            str(replication.run.seed),
            record.verifier,
            number(100 * record.busy_s / replication.run.simulated_s),
            str(record.num_steps),
            number(record.num_tokens / record.num_steps if record.num_steps else math.nan),
            str(record.peak_kv_tokens),
            str(record.num_preemptions),
            str(record.num_evictions),
        ]
        for replication in replications
        for record in replication.run.verifiers
    ]
    headers = [
        "seed",
        "verifier",
        "utilisation, %",
        "steps",
        "tokens per step",
        "peak KV tokens",
        "preemptions",
        "evictions",
    ]
    return page.collapsible(f"{len(rows)} rows", page.table(headers, rows))


def _tiers(replications: Sequence[Replication]) -> str:
    tiers: dict[str, list[AnswerRecord]] = {}
    for answer in _counted(replications):
        tiers.setdefault(answer.client.rpartition("-")[0], []).append(answer)
    headers = [
        "tier",
        "answers",
        "TTFT p50, ms",
        "TPOT p50, ms",
        "TPOT p99, ms",
        "acceptance rate",
        "tokens per round",
        "rounds: remote, co-located, target-only, %",
    ]
    return page.table(headers, [_tier(name, answers) for name, answers in sorted(tiers.items())])


def _tier(name: str, answers: Sequence[AnswerRecord]) -> list[str]:
    tpots_s = [tpot for answer in answers if math.isfinite(tpot := tpot_s(answer))]
    times_s = (quantile([*map(ttft_s, answers)], 0.5), quantile(tpots_s, 0.5), quantile(tpots_s, 0.99))
    acceptance_rate = ratio(
        sum(answer.num_accepted for answer in answers), sum(answer.num_proposed for answer in answers)
    )
    length = ratio(sum(answer.num_answer_tokens for answer in answers), sum(answer.num_rounds for answer in answers))
    return [
        name,
        str(len(answers)),
        *(number(1e3 * time_s) for time_s in times_s),
        number(acceptance_rate),
        number(length),
        _rounds_by_mode(answers),
    ]


def _rounds_by_mode(answers: Sequence[AnswerRecord]) -> str:
    by_mode = [(a.num_remote_rounds, a.num_co_located_rounds, a.num_target_only_rounds) for a in answers]
    num_rounds = sum(map(sum, by_mode))
    return " / ".join(f"{100.0 * ratio(sum(counts), num_rounds):.0f}" for counts in zip(*by_mode, strict=True))


def _counted(replications: Sequence[Replication]) -> list[AnswerRecord]:
    """The answers that finished after the warm-up of their replication."""
    return [
        answer
        for replication in replications
        for answer in replication.run.answers
        if answer.finished_s > replication.metrics.warm_up.cut_s
    ]


def _charts(summary: Summary, replications: Sequence[Replication]) -> list[Chart]:
    answers = _counted(replications)
    return [
        _over_time(replications),
        _distribution("Time to first token (TTFT)", answers, ttft_s),
        _distribution("Time per output token (TPOT)", answers, tpot_s),
        _distribution("Request latency", answers, latency_s),
        _goodputs(summary),
        _time_shares(summary),
    ]


def _over_time(replications: Sequence[Replication]) -> Chart:
    """Goodput of the first seed and the mean of all seeds: shows whether the run is steady after the warm-up."""
    until_s = min(replication.run.simulated_s for replication in replications)
    edges = np.linspace(0.0, until_s, NUM_BINS + 1)
    rates = np.array([_token_rates(replication.run.answers, edges) for replication in replications])
    middles = (0.5 * (edges[1:] + edges[:-1])).tolist()
    first = Series(f"seed {replications[0].run.seed}", middles, rates[0].tolist())
    mean = Series("mean of all seeds", middles, rates.mean(axis=0).tolist())
    return Chart(
        title="Goodput over time",
        x_label="simulated time, s (dashed: end of the warm-up)",
        y_label="tokens/s",
        series=(first, mean) if len(replications) > 1 else (first,),
        has_points=False,
        mark_x=replications[0].metrics.warm_up.cut_s or None,
    )


def _token_rates(answers: Sequence[AnswerRecord], edges: Floats) -> Floats:
    """Tokens per second in each bin; all tokens of an answer count at its end."""
    ends = [answer.finished_s for answer in answers]
    counted, _ = np.histogram(ends, bins=edges, weights=[answer.num_answer_tokens for answer in answers])
    return np.asarray(counted / np.diff(edges), dtype=np.float64)


def _distribution(title: str, answers: Sequence[AnswerRecord], value_of: Callable[[AnswerRecord], float]) -> Chart:
    values = np.array([1e3 * value for answer in answers if math.isfinite(value := value_of(answer))])
    shares = np.linspace(0.0, 1.0, NUM_QUANTILES + 1)
    quantiles = np.quantile(values, shares).tolist() if values.size else []
    series = Series("answers", quantiles, (100 * shares[: len(quantiles)]).tolist())
    return Chart(title, "ms", "cumulative % of answers", (series,), is_log_x=True, has_points=False)


def _goodputs(summary: Summary) -> Chart:
    ordered = sorted(summary.goodputs.items(), key=lambda client: client[1].mean)
    has_names = len(ordered) <= MAX_NAMED_CLIENTS
    series = Series(
        "clients",
        [float(i) for i in range(len(ordered))],
        [interval.mean for _, interval in ordered],
        [interval.low for _, interval in ordered] if has_names else (),
        [interval.high for _, interval in ordered] if has_names else (),
    )
    return Chart(
        title="Goodput per client",
        x_label="" if has_names else "clients, lowest goodput first",
        y_label="tokens/s",
        series=(series,),
        has_points=False,
        categories=tuple(name for name, _ in ordered) if has_names else (),
    )


def _time_shares(summary: Summary) -> Chart:
    intervals = [summary.metrics[name] for name in SHARES if name in summary.metrics]
    series = Series(
        "share",
        [float(i) for i in range(len(intervals))],
        [100 * interval.mean for interval in intervals],
        [100 * interval.low for interval in intervals],
        [100 * interval.high for interval in intervals],
    )
    names = tuple(name.removesuffix("_share") for name in SHARES if name in summary.metrics)
    return Chart("Shares of answer time", "", "%", (series,), categories=names)
