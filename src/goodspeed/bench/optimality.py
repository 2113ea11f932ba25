"""The distance of a run's goodputs from the optimum for its own acceptance and budget.

Goodput is in tokens per round, as in the paper: the optimum says how to share a budget, not how long a round takes.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from goodspeed.bench.logged_run import LoggedRun, logged_run
from goodspeed.bench.report import ArmReport, OptimumReport, Report, RequestRecord
from goodspeed.scheduling.optimum import long_run_optimum, utility
from goodspeed.stats.summary import ratio, spread


def with_optima(report: Report, logs: Mapping[str, Path]) -> Report:
    """The report with the distance from the optimum for each arm that has an event log of its verifier.

    Each client must have one stream at a time; otherwise its rounds are not those of the scheduler. Raises ConfigError
    for a file that is not an event log.
    """
    return replace(report, arms=[_with_optimum(arm, report.requests, logs) for arm in report.arms])


def _with_optimum(arm: ArmReport, requests: Sequence[RequestRecord], logs: Mapping[str, Path]) -> ArmReport:
    if arm.name not in logs:
        return arm
    with logs[arm.name].open(encoding="utf-8") as lines:
        run = logged_run(lines)
    of_arm = [request for request in requests if request.arm == arm.name]
    return replace(arm, optimum=optimum_report(run, of_arm))


def optimum_report(run: LoggedRun, requests: Sequence[RequestRecord]) -> OptimumReport | None:
    """The optimum of one arm; None if a client proposed nothing or an answer does not report its rounds.

    None too if the verifier has drafted by itself: its tokens are in the goodputs, and not in the optimum.
    """
    names = sorted({request.client for request in requests})
    goodputs = goodputs_per_round(requests)
    if set(names) != set(run.clients) or not np.isfinite(goodputs).all() or any(map(_has_co_located, requests)):
        return None
    clients = [run.clients[name] for name in names]
    weights = np.array([client.weight for client in clients])
    best = long_run_optimum(clients, run.budget)
    return OptimumReport(
        utility=best.utility,
        certified_gap=best.gap,
        best=dict(zip(names, best.goodputs.tolist(), strict=True)),
        goodput_per_round={name: spread(goodputs[:, i].tolist()) for i, name in enumerate(names)},
        utility_gap=spread([best.utility - utility(row, weights) for row in goodputs]),
        distance=spread([float(np.linalg.norm(row - best.goodputs)) for row in goodputs]),
    )


def goodputs_per_round(requests: Sequence[RequestRecord]) -> NDArray[np.float64]:
    """[repetitions, clients in order of name]: committed tokens per round; NaN if answers do not report rounds.

    The first round of an answer, the target's own token after the prefill, is not counted: it uses no budget.
    """
    names = sorted({request.client for request in requests})
    repetitions = sorted({request.repetition for request in requests})
    return np.array(
        [
            [_goodput([r for r in requests if (r.repetition, r.client) == (repetition, name)]) for name in names]
            for repetition in repetitions
        ]
    )


def _has_co_located(request: RequestRecord) -> bool:
    return bool(request.answer.speculation and request.answer.speculation.co_located)


def _goodput(requests: Sequence[RequestRecord]) -> float:
    reported = [request.answer.speculation for request in requests if request.answer.speculation]
    if len(reported) < len(requests):
        return math.nan
    return ratio(sum(rounds.committed - 1 for rounds in reported), sum(rounds.rounds - 1 for rounds in reported))
