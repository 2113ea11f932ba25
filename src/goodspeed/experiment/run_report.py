"""The report of one scenario: what `goodspeed simulate --output` writes as report.html."""

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
from goodspeed.experiment.summary import Summary
from goodspeed.experiment.tables import goodput_rows, metric_rows, number, replication_rows
from goodspeed.simulator.result import AnswerRecord
from goodspeed.stats.summary import quantile, ratio

NUM_BINS = 60
NUM_QUANTILES = 200
MOST_CLIENTS = 64
"""Shown one by one in the table; the plot and summary.json have them all."""
MOST_NAMES = 10
"""Clients named in the plot."""
SHARES = ("drafting_share", "network_share", "queue_share", "verify_share", "other_share")
METHOD = (
    "Intervals are 95% confidence intervals of the mean over replications (Student's t), which differ by seed alone. "
    "An answer counts if it ended after the warm-up, which is given or found in a pilot run. "
    "Verifiers' metrics and bytes are of the whole run."
)
TIERS = "All replications' answers together, a row for each tier of drafters."


@dataclass(frozen=True, slots=True)
class ReportHeader:
    """What the report says of the run beside its metrics."""

    name: str
    command: str
    settings: Mapping[str, Any]  # the scenario's values


def run_report(header: ReportHeader, summary: Summary, replications: Sequence[Replication]) -> str:
    """HTML; at least one replication."""
    clients = goodput_rows(summary.goodputs)
    left_out = f"{len(clients)} clients; the first {MOST_CLIENTS}:" if len(clients) > MOST_CLIENTS else ""
    return page.page(
        f"Simulation of {header.name}",
        [
            page.paragraph(f"{summary.num_replications} replications. Made by: {header.command}"),
            page.section("RunMetrics", page.paragraph(METHOD), _metrics(summary)),
            page.section("Plots", page.charts(*_charts(summary, replications))),
            page.section("Replications", _replications(replications)),
            page.section("Drafter tiers", page.paragraph(TIERS), _tiers(replications)),
            page.section("Clients", page.paragraph(left_out), _clients(clients[:MOST_CLIENTS])),
            page.section("Verifiers", _verifiers(replications)),
            page.section("Settings", settings_table(header.settings)),
        ],
    )


def settings_table(settings: Mapping[str, Any]) -> str:
    """Every key of the scenario, folded."""
    rows = [[key, str(value)] for key, value in leaves(settings)]
    return page.folded(f"{len(rows)} keys of the scenario", page.table(["key", "value"], rows))


def _metrics(summary: Summary) -> str:
    return page.table(["metric", "unit", "mean", "95%"], metric_rows(summary))


def _replications(replications: Sequence[Replication]) -> str:
    headers = ["seed", "warm-up, s", "found by", "answers", "goodput, tokens/s"]
    return page.table(headers, replication_rows([one.metrics for one in replications]))


def _clients(rows: Sequence[Sequence[str]]) -> str:
    return page.table(["client", "goodput, tokens/s", "95%"], rows)


def _verifiers(replications: Sequence[Replication]) -> str:
    rows = [
        [
            str(one.run.seed),
            record.verifier,
            number(100 * record.busy_s / one.run.simulated_s),
            str(record.num_steps),
            number(record.num_tokens / record.num_steps if record.num_steps else math.nan),
            str(record.peak_kv_tokens),
        ]
        for one in replications
        for record in one.run.verifiers
    ]
    headers = ["seed", "verifier", "busy, %", "steps", "tokens per step", "most KV tokens"]
    return page.folded(f"{len(rows)} rows", page.table(headers, rows))


def _tiers(replications: Sequence[Replication]) -> str:
    tiers: dict[str, list[AnswerRecord]] = {}
    for answer in _counted(replications):
        tiers.setdefault(answer.client.rpartition("-")[0], []).append(answer)
    headers = ["tier", "answers", "first token, ms, p50", "per token, ms, p50", "p99", "acceptance", "tokens per round"]
    return page.table(headers, [_tier(name, answers) for name, answers in sorted(tiers.items())])


def _tier(name: str, answers: Sequence[AnswerRecord]) -> list[str]:
    paces = [pace for answer in answers if math.isfinite(pace := tpot_s(answer))]
    times_s = (quantile([*map(ttft_s, answers)], 0.5), quantile(paces, 0.5), quantile(paces, 0.99))
    acceptance_rate = ratio(sum(one.num_accepted for one in answers), sum(one.num_proposed for one in answers))
    length = ratio(sum(one.num_answer_tokens for one in answers), sum(one.num_rounds for one in answers))
    return [
        name,
        str(len(answers)),
        *(number(1e3 * time_s) for time_s in times_s),
        number(acceptance_rate),
        number(length),
    ]


def _counted(replications: Sequence[Replication]) -> list[AnswerRecord]:
    """Those that ended after their replication's warm-up."""
    return [
        answer for one in replications for answer in one.run.answers if answer.finished_s > one.metrics.warm_up.cut_s
    ]


def _charts(summary: Summary, replications: Sequence[Replication]) -> list[Chart]:
    answers = _counted(replications)
    return [
        _over_time(replications),
        _distribution("Time to first token", answers, ttft_s),
        _distribution("Time per token after the first", answers, tpot_s),
        _distribution("Question to last token", answers, latency_s),
        _goodputs(summary),
        _time_shares(summary),
    ]


def _over_time(replications: Sequence[Replication]) -> Chart:
    """Of the first seed, with the rest's mean: is it steady after the warm-up?"""
    until_s = min(one.run.simulated_s for one in replications)
    edges = np.linspace(0.0, until_s, NUM_BINS + 1)
    rates = np.array([_token_rates(one.run.answers, edges) for one in replications])
    middles = (0.5 * (edges[1:] + edges[:-1])).tolist()
    first = Series(f"seed {replications[0].run.seed}", middles, rates[0].tolist())
    mean = Series("mean of all seeds", middles, rates.mean(axis=0).tolist())
    return Chart(
        title="Goodput over time",
        x_label="simulated time, s (dashed: the warm-up ends)",
        y_label="tokens/s",
        series=(first, mean) if len(replications) > 1 else (first,),
        has_points=False,
        mark_x=replications[0].metrics.warm_up.cut_s or None,
    )


def _token_rates(answers: Sequence[AnswerRecord], edges: Floats) -> Floats:
    """Tokens per second in each bin, an answer's tokens at its end."""
    ends = [answer.finished_s for answer in answers]
    counted, _ = np.histogram(ends, bins=edges, weights=[answer.num_answer_tokens for answer in answers])
    return np.asarray(counted / np.diff(edges), dtype=np.float64)


def _distribution(title: str, answers: Sequence[AnswerRecord], of: Callable[[AnswerRecord], float]) -> Chart:
    values = np.array([1e3 * value for answer in answers if math.isfinite(value := of(answer))])
    shares = np.linspace(0.0, 1.0, NUM_QUANTILES + 1)
    quantiles = np.quantile(values, shares).tolist() if values.size else []
    series = Series("answers", quantiles, (100 * shares[: len(quantiles)]).tolist())
    return Chart(title, "ms", "% of answers, at most", (series,), is_log_x=True, has_points=False)


def _goodputs(summary: Summary) -> Chart:
    ordered = sorted(summary.goodputs.items(), key=lambda client: client[1].mean)
    has_names = len(ordered) <= MOST_NAMES
    series = Series(
        "clients",
        [float(i) for i in range(len(ordered))],
        [found.mean for _, found in ordered],
        [found.low for _, found in ordered] if has_names else (),
        [found.high for _, found in ordered] if has_names else (),
    )
    return Chart(
        title="Goodput of clients",
        x_label="" if has_names else "clients, the slowest first",
        y_label="tokens/s",
        series=(series,),
        has_points=False,
        categories=tuple(name for name, _ in ordered) if has_names else (),
    )


def _time_shares(summary: Summary) -> Chart:
    found = [summary.metrics[name] for name in SHARES if name in summary.metrics]
    series = Series(
        "share",
        [float(i) for i in range(len(found))],
        [100 * one.mean for one in found],
        [100 * one.low for one in found],
        [100 * one.high for one in found],
    )
    names = tuple(name.removesuffix("_share") for name in SHARES if name in summary.metrics)
    return Chart("Where answers' time goes", "", "%", (series,), categories=names)
