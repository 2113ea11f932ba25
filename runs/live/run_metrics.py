"""Metrics of one live run, computed from its log."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from runs.live.run_log import ClientRounds, RunLog, StepTimes

from goodspeed.stats.summary import jain_index, sum_log


@dataclass(frozen=True, slots=True)
class TimeSplit:
    """Wall time of a run by phase, in seconds (the paper's Fig. 3, completed)."""

    receiving: float  # from the last verdict sent to the next batch closed: drafting, links, waiting
    verification: float  # from there to the end of the engine's step
    deciding: float  # estimates, grants, verdicts
    sending: float

    @property
    def total(self) -> float:
        return self.receiving + self.verification + self.deciding + self.sending


def time_split(steps: StepTimes) -> TimeSplit:
    """Split the time from the first closed batch to the last verdict sent.

    Verdicts sent after the next batch is closed count as that step's time.
    """
    next_closed = [*steps.closed_s[1:], steps.sent_s[-1]] if steps.sent_s else []
    receiving = verification = deciding = sending = 0.0
    for closed, verified, start_s, ended, next_s in zip(
        steps.closed_s, steps.verified_s, steps.sending_s, steps.sent_s, next_closed, strict=True
    ):
        sent = max(start_s, min(ended, next_s))
        verification += verified - closed
        deciding += start_s - verified
        sending += sent - start_s
        receiving += next_s - sent
    return TimeSplit(receiving, verification, deciding, sending)


def goodputs(client: ClientRounds, num_rounds: int) -> npt.NDArray[np.float64]:
    """[num_rounds] tokens committed in each of the first rounds: the paper's x_i(t)."""
    return np.array([client.committed[i] for i in client.rounds[:num_rounds]], dtype=np.float64)


def utility(run_log: RunLog, num_rounds: int) -> float:
    """Sum over clients of the log of the mean goodput per round."""
    return sum_log([float(goodputs(client, num_rounds).mean()) for client in run_log.clients])


def running_utility(run_log: RunLog, num_rounds: int) -> npt.NDArray[np.float64]:
    """[num_rounds]: the utility of the first 1, 2, ... rounds (the paper's Fig. 4)."""
    counts = np.arange(1, num_rounds + 1)
    means = [np.cumsum(goodputs(client, num_rounds)) / counts for client in run_log.clients]
    return np.asarray(np.sum(np.log(means), axis=0), dtype=np.float64)


def fairness(run_log: RunLog, num_rounds: int) -> float:
    """Jain's index of the clients' mean goodputs per round."""
    return jain_index([float(goodputs(client, num_rounds).mean()) for client in run_log.clients])


def wall_s_per_token(run_log: RunLog) -> float:
    """Wall time per committed token, prefills and first tokens included."""
    return time_split(run_log.steps).total / sum(sum(client.committed) for client in run_log.clients)


def efficiency(run_log: RunLog) -> float:
    """Committed tokens per verified token: draft tokens, and one of the target's own per round."""
    rounds = [(client, i) for client in run_log.clients for i in client.rounds]
    return sum(client.committed[i] for client, i in rounds) / sum(client.verified[i] + 1 for client, i in rounds)


def per_second(client: ClientRounds, from_s: float, until_s: float) -> float:
    """Committed tokens per second between two times of the run."""
    committed = sum(n for n, at_s in zip(client.committed, client.at_s, strict=True) if from_s < at_s <= until_s)
    return committed / (until_s - from_s)


def moving_average(values: Sequence[float], width: int) -> list[float]:
    """Mean of the last `width` values, or of all values at the start."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    return [(sums[i] - sums[max(0, i - width)]) / min(i, width) for i in range(1, len(values) + 1)]
