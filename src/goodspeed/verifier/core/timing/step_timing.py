"""What steps and the rounds around them take: everything about time that is not one client's own."""

from collections.abc import Sequence
from typing import NamedTuple

from goodspeed.stats.ewma import DecayedMean, Ewma
from goodspeed.verifier.core.batch import Batch, StepResult, num_draft_steps
from goodspeed.verifier.core.timing.round_timing import ROUND_WEIGHT
from goodspeed.verifier.core.timing.step_curve import StepCurve
from goodspeed.verifier.core.timing.step_time import StepTimeModel


class LocalRoundTime(NamedTuple):
    """A local round, without its own drafts."""

    round_s: float
    wait_s: float
    """Of this, the wait for the step to start."""


class StepTiming:
    """Learned from every step and from every local round; no one else writes to the models in it."""

    def __init__(self) -> None:
        self.step_time = StepTimeModel()
        self._curve = StepCurve()
        self._local_s = Ewma(ROUND_WEIGHT)  # of a local round: the step and the wait for it, without its own drafts
        self._local_wait_s = Ewma(ROUND_WEIGHT)
        self._drafting_s = DecayedMean(ROUND_WEIGHT)  # of a step of co-located drafting

    @property
    def drafting_s(self) -> float:
        """A step of co-located drafting, which proposes a token or ends the draft; 0 before the first."""
        return self._drafting_s.get()

    @property
    def measured_local_s(self) -> float:
        """A local round, without its own drafts; 0 before the first."""
        return self._local_s.get()

    @property
    def local_wait_s(self) -> float:
        """What a stream in a local round waits for the step to start; 0 before the first."""
        return self._local_wait_s.get()

    @property
    def local_round_s(self) -> float | None:
        """As Budget.local_round_s; a mean step before the first local round, None before the first step."""
        measured_s = self._local_s.value
        return self.step_time.mean_s if measured_s is None else measured_s

    def steps_s(self, sizes: Sequence[int]) -> list[float]:
        """Steps over so many tokens, as StepCurve.seconds."""
        return self._curve.seconds(sizes)

    def on_step(self, batch: Batch, result: StepResult, engine_s: float) -> None:
        """The step of the batch took the engine `engine_s`, without drafting."""
        if result.work:
            self._curve.observe(result.num_tokens, engine_s)
            self.step_time.observe(result.num_tokens, len(result.work), engine_s, result.num_prompt)
        if num_steps := num_draft_steps(batch.turns, result.co_located):
            self._drafting_s.observe(result.drafting_s, num_steps)

    def on_local_rounds(self, rounds: Sequence[LocalRoundTime]) -> None:
        """A step has ended these local rounds.

        They count once, as a step does for each client that it verifies. If each round counted, one slow step of many
        streams would be all that is remembered, and remote rounds, whose times are smoothed, would seem faster.
        """
        if rounds:
            self._local_s.observe(max(0.0, sum([each.round_s for each in rounds]) / len(rounds)))
            self._local_wait_s.observe(sum([each.wait_s for each in rounds]) / len(rounds))
