"""Figures of merit of one recorded run."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from runs.live.recording import ClientRounds, Recording, StepTimes

from goodspeed.stats.summary import jain_index, sum_log


@dataclass(frozen=True, slots=True)
class TimeSplit:
    """Where a run's wall time went, seconds (the paper's Fig. 3, and what it leaves out)."""

    receiving: float  # from the last verdict sent to the next batch closed: drafting, the links, waiting
    verification: float  # from there until the engine is done
    deciding: float  # estimates, grants, verdicts
    sending: float

    @property
    def total(self) -> float:
        return self.receiving + self.verification + self.deciding + self.sending


def time_split(steps: StepTimes) -> TimeSplit:
    """From the first batch's closing to the last verdict sent. What is sent late belongs to the next step's time."""
    next_closed = [*steps.closed_s[1:], steps.sent_s[-1]] if steps.sent_s else []
    receiving = verification = deciding = sending = 0.0
    for closed, verified, began, ended, following in zip(
        steps.closed_s, steps.verified_s, steps.sending_s, steps.sent_s, next_closed, strict=True
    ):
        sent = max(began, min(ended, following))
        verification += verified - closed
        deciding += began - verified
        sending += sent - began
        receiving += following - sent
    return TimeSplit(receiving, verification, deciding, sending)


def goodputs(client: ClientRounds, num_rounds: int) -> npt.NDArray[np.float64]:
    """[num_rounds] tokens that each of its first rounds committed: the paper's x_i(t)."""
    return np.array([client.committed[i] for i in client.rounds[:num_rounds]], dtype=np.float64)


def utility(recording: Recording, num_rounds: int) -> float:
    """Sum over clients of the log of the mean goodput per round."""
    return sum_log([float(goodputs(client, num_rounds).mean()) for client in recording.clients])


def running_utility(recording: Recording, num_rounds: int) -> npt.NDArray[np.float64]:
    """[num_rounds]: the utility of the first 1, 2, ... rounds (the paper's Fig. 4)."""
    counts = np.arange(1, num_rounds + 1)
    means = [np.cumsum(goodputs(client, num_rounds)) / counts for client in recording.clients]
    return np.asarray(np.sum(np.log(means), axis=0), dtype=np.float64)


def fairness(recording: Recording, num_rounds: int) -> float:
    """Jain's index of the clients' mean goodputs per round."""
    return jain_index([float(goodputs(client, num_rounds).mean()) for client in recording.clients])


def wall_s_per_token(recording: Recording) -> float:
    """Wall time over the tokens that were committed in it, prefills and openings included."""
    return time_split(recording.steps).total / sum(sum(client.committed) for client in recording.clients)


def efficiency(recording: Recording) -> float:
    """Committed tokens per token that a verification looked at: the drafts, and one of the target's own a round."""
    rounds = [(client, i) for client in recording.clients for i in client.rounds]
    return sum(client.committed[i] for client, i in rounds) / sum(client.verified[i] + 1 for client, i in rounds)


def per_second(client: ClientRounds, from_s: float, until_s: float) -> float:
    """Tokens committed per second between two times of the run."""
    committed = sum(n for n, at_s in zip(client.committed, client.at_s, strict=True) if from_s < at_s <= until_s)
    return committed / (until_s - from_s)


def moving_average(values: Sequence[float], width: int) -> list[float]:
    """Mean of the last `width` values, of fewer at the beginning."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    return [(sums[i] - sums[max(0, i - width)]) / min(i, width) for i in range(1, len(values) + 1)]
