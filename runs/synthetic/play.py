"""Synthetic rounds with GoodSpeed's schedulers, on estimates of several kinds."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from runs.synthetic.acceptance_trace import BUDGET, Floats, SyntheticTrace

from goodspeed.scheduling.estimators.prior import INITIAL_ACCEPTANCE_RATE, INITIAL_GOODPUT, within_bounds
from goodspeed.scheduling.exploration import SHADOW_TOKENS, ShadowSchedule
from goodspeed.scheduling.policies import ESTIMATORS, SCHEDULERS
from goodspeed.scheduling.scheduler import Budget, ClientView, Estimator


class Learner(Protocol):
    """One client's estimates."""

    def view(self) -> ClientView: ...

    def on_round(self, num_proposed: int, num_accepted: int, ratio_sum: float) -> None: ...


class FromVerdicts:
    """Estimates from verdicts, as in a verifier, by a registered estimator. It ignores the ratios."""

    def __init__(self, name: str, beta: float, eta: float) -> None:
        self.estimator: Estimator = ESTIMATORS[name](beta, eta)

    def view(self) -> ClientView:
        estimator = self.estimator
        return ClientView(estimator.acceptance_rate, estimator.goodput, survival=estimator.survival)

    def on_round(self, num_proposed: int, num_accepted: int, ratio_sum: float) -> None:
        del ratio_sum
        self.estimator.on_verdict(num_proposed, num_accepted)


class FromRatios:
    """The paper's eq. 3 and 4 exactly: the mean ratio over all drafted positions, verified or not.

    If `eta` is None, acceptance is known and equals `acceptance_rate`.
    """

    def __init__(self, beta: float, eta: float | None, acceptance_rate: float = INITIAL_ACCEPTANCE_RATE) -> None:
        self._beta = beta
        self._eta = eta
        self._acceptance_rate = acceptance_rate
        self._goodput = INITIAL_GOODPUT

    def view(self) -> ClientView:
        return ClientView(within_bounds(self._acceptance_rate), self._goodput)

    def on_round(self, num_proposed: int, num_accepted: int, ratio_sum: float) -> None:
        self._goodput += self._beta * (num_accepted + 1 - self._goodput)
        if num_proposed and self._eta is not None:
            self._acceptance_rate += self._eta * (ratio_sum / num_proposed - self._acceptance_rate)


class ExpectedGoodput:
    """Known acceptance; X smooths mu of the proposal's length instead of the realised tokens."""

    def __init__(self, step: float, acceptance_rate: float) -> None:
        self._step = step
        self._acceptance_rate = acceptance_rate
        self._goodput = INITIAL_GOODPUT

    def view(self) -> ClientView:
        return ClientView(self._acceptance_rate, self._goodput)

    def on_round(self, num_proposed: int, num_accepted: int, ratio_sum: float) -> None:
        del num_accepted, ratio_sum
        expected = (1.0 - self._acceptance_rate ** (num_proposed + 1)) / (1.0 - self._acceptance_rate)
        self._goodput += self._step * (expected - self._goodput)


@dataclass(frozen=True, slots=True)
class SyntheticPolicy:
    """A row of a table."""

    name: str
    learner: Callable[[int], Learner]  # from the index of the client
    is_exploring: bool = False
    scheduler: str = "gradient"
    rounds_per_prompt: int = 0  # 0: the estimators are not notified of prompts


@dataclass(frozen=True, slots=True)
class PlayedRounds:
    """The results; arrays are [rounds, clients]."""

    grants: NDArray[np.int64]
    committed: NDArray[np.int64]  # x
    smoothed: Floats  # X before the round


def play(policy: SyntheticPolicy, trace: SyntheticTrace) -> PlayedRounds:
    """Play all rounds of the trace."""
    num_clients = trace.run_lengths.shape[1]
    scheduler = SCHEDULERS[policy.scheduler]()
    learners = [policy.learner(i) for i in range(num_clients)]
    rng = np.random.default_rng(0)
    schedules = [ShadowSchedule() for _ in range(num_clients)]
    shape = trace.run_lengths.shape
    played = PlayedRounds(np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.zeros(shape))
    for t, run_lengths in enumerate(trace.run_lengths.tolist()):
        views = [learner.view() for learner in learners]
        grants = scheduler.grants(views, Budget(BUDGET), rng)
        accepted = [min(grant, length) for grant, length in zip(grants, run_lengths, strict=True)]
        for i, learner in enumerate(learners):
            _notify_prompt(policy, learner, t)
            learner.on_round(grants[i], accepted[i], float(trace.ratio_sums[t, i, grants[i]]))
            if policy.is_exploring and _asks(schedules[i], grants[i]):
                num_accepted = min(SHADOW_TOKENS, run_lengths[i])
                learner.on_round(SHADOW_TOKENS, num_accepted, float(trace.ratio_sums[t, i, SHADOW_TOKENS]))
                schedules[i].on_shadow_draft(num_accepted)
        played.grants[t] = grants
        played.committed[t] = np.add(accepted, 1)
        played.smoothed[t] = [view.goodput for view in views]
    return played


def _asks(schedule: ShadowSchedule, grant: int) -> bool:
    """Whether the client drafts a shadow draft after this round; any accepted token would be useful."""
    schedule.on_round(grant)
    return not grant and schedule.is_due and schedule.ask(num_useful=1, chance=1.0)


def _notify_prompt(policy: SyntheticPolicy, learner: Learner, t: int) -> None:
    if policy.rounds_per_prompt and t % policy.rounds_per_prompt == 0 and isinstance(learner, FromVerdicts):
        learner.estimator.on_stream()
