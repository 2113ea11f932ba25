"""Scores of the arms of a scenario, and the labels that follow from them."""

from typing import Final

import numpy as np
import numpy.typing as npt

from goodspeed.awc.arms import CO_LOCATED, MAX_WINDOW, TARGET_ONLY, remote_arm
from goodspeed.awc.sweep_record import SweepRecord
from goodspeed.config import config_dataclass, option

Floats64 = npt.NDArray[np.float64]
MIN_WINDOW: Final = 2
"""Smallest window in remote mode: 1 is the switch of mode."""


@config_dataclass
class ScoreConfig:
    """What makes an arm the best one."""

    ttft_s: float = option(0.3, "time to the first token within which an answer is served well", gt=0.0)
    tpot_s: float = option(0.035, "time per token within which an answer is served well", gt=0.0)
    late_weight: float = option(0.5, "weight of the tokens of an answer that misses either", gt=0.0, le=1.0)
    others_weight: float = option(
        0.5,
        "weight of all clients' geometric-mean score in a client's label, beside its own score; 1: one label for all",
        ge=0.0,
        le=1.0,
    )


def scores(record: SweepRecord, config: ScoreConfig) -> Floats64:
    """SLO-weighted goodput by arm and client, [arms, clients] in tokens per second of answer time.

    Tokens of answers within the service-level objective count in full, others with late_weight. A client without an
    answer counts as if it had had a late one, of the mean length, in the whole run.
    """
    is_late = (record.ttfts_s > config.ttft_s) | (record.tpots_s > config.tpot_s)
    tokens = record.num_tokens * np.where(is_late, config.late_weight, 1.0)
    shape = len(record.arms), record.num_clients
    sums, times_s = np.zeros(shape), np.zeros(shape)
    np.add.at(sums, (record.answer_arms, record.answer_clients), tokens)
    np.add.at(times_s, (record.answer_arms, record.answer_clients), record.latencies_s)
    least = config.late_weight * float(record.num_tokens.mean()) / record.duration_s
    goodputs = np.full(shape, least)
    np.divide(sums, times_s, out=goodputs, where=times_s > 0.0)
    return goodputs


def labels(record: SweepRecord, config: ScoreConfig, fused: str) -> Floats64:
    """The swept window, or 1 (`fused` mode), with which each client, and all clients with it, do best, [clients].

    All clients of an arm have the same window, so what a long window costs the others is in the score. A client's
    label maximises (1 - others_weight) log(its own score) + others_weight mean(log(all clients' scores)).
    """
    values = np.log(scores(record, config))
    utilities = (1.0 - config.others_weight) * values + config.others_weight * values.mean(axis=1, keepdims=True)
    actions = _actions(record, fused)
    best = utilities[list(actions.values())].argmax(axis=0)
    return np.asarray(np.array(list(actions))[best], dtype=np.float64)


def _actions(record: SweepRecord, fused: str) -> dict[int, int]:
    """The arms that AWC chooses among: index by window. Without co-located drafts that mode is target-only mode."""
    mode = CO_LOCATED.name if fused == "co_located" and CO_LOCATED.name in record.arms else TARGET_ONLY.name
    names = {1: mode, **{window: remote_arm(window).name for window in range(MIN_WINDOW, MAX_WINDOW + 1)}}
    return {window: record.arms.index(name) for window, name in names.items() if name in record.arms}
