"""What a simulation says, in a few sentences: the figures that matter, before the tables."""

import math
from collections.abc import Iterator, Sequence

from goodspeed.experiment.replication import Replication
from goodspeed.experiment.summary import Summary
from goodspeed.stats.intervals import ConfidenceInterval

MODES = {"remote_rounds": "remote", "co_located_rounds": "co-located", "target_only_rounds": "target-only"}
TIMES = {
    "drafting_share": "drafting",
    "network_share": "the network",
    "queue_share": "the verifier's queue",
    "verify_share": "verification",
    "other_share": "other",
}
BUSY = 0.9
"""Utilisation from which on a verifier is at its limit."""


def story(summary: Summary, replications: Sequence[Replication]) -> list[str]:
    """The sentences, in order; what a run did not measure has none."""
    sentences = [_goodput(summary), _latency(summary), _rounds(summary), _times(summary), _poorest(summary)]
    return [sentence for sentence in [*sentences, _load(summary), *_incomplete(replications)] if sentence]


def _goodput(summary: Summary) -> str:
    goodput, speed_up = summary.metrics.get("goodput"), summary.metrics.get("estimated_speed_up")
    if goodput is None:
        return "No answer was finished after the warm-up."
    beside = f", {_shown(speed_up, 2)} times the target alone by the verifiers' estimate" if speed_up else ""
    return f"{len(summary.goodputs)} clients had {_shown(goodput, 1)} tokens/s in all{beside}."


def _latency(summary: Summary) -> str:
    first, median, tail = (summary.metrics.get(name) for name in ("ttft_p50_s", "tpot_p50_s", "tpot_p99_s"))
    if not (first and median and tail):
        return ""
    return (
        f"The first token came after {1e3 * first.mean:.0f} ms (median), "
        f"a further one after {1e3 * median.mean:.1f} ms (p99 {1e3 * tail.mean:.1f} ms)."
    )


def _rounds(summary: Summary) -> str:
    return _shares(summary, MODES, "Rounds were")


def _times(summary: Summary) -> str:
    return _shares(summary, TIMES, "The time of answers was")


def _shares(summary: Summary, names: dict[str, str], start: str) -> str:
    shares = {title: summary.metrics[name].mean for name, title in names.items() if name in summary.metrics}
    shown = [f"{100 * share:.0f}% {title}" for title, share in shares.items() if share >= 0.005]
    return f"{start} {', '.join(shown)}." if shown else ""


def _poorest(summary: Summary) -> str:
    if len(summary.goodputs) < 2:
        return ""
    name, poorest = min(summary.goodputs.items(), key=lambda item: item[1].mean)
    mean = math.fsum(goodput.mean for goodput in summary.goodputs.values()) / len(summary.goodputs)
    if mean <= 0.0:
        return ""
    return f"The poorest client, {name}, had {poorest.mean:.1f} tokens/s, {poorest.mean / mean:.2f} of the mean."


def _load(summary: Summary) -> str:
    utilisation = summary.metrics.get("utilisation")
    if utilisation is None:
        return ""
    limit = ": they are the limit" if utilisation.mean >= BUSY else ""
    return f"Verifiers were busy {100 * utilisation.mean:.0f}% of the time{limit}."


def _incomplete(replications: Sequence[Replication]) -> Iterator[str]:
    num_failed = sum(replication.run.num_failed for replication in replications)
    num_unfinished = sum(replication.run.num_unfinished for replication in replications)
    num_answers = sum(len(replication.run.answers) for replication in replications)
    if num_failed:
        yield f"{num_failed} requests failed."
    if num_unfinished > num_answers / 10:
        yield f"{num_unfinished} requests were unfinished at the end, beside {num_answers} answers: the run is short."


def _shown(interval: ConfidenceInterval, digits: int) -> str:
    if not math.isfinite(interval.low):
        return f"{interval.mean:.{digits}f}"
    return f"{interval.mean:.{digits}f} ({interval.low:.{digits}f} to {interval.high:.{digits}f})"
