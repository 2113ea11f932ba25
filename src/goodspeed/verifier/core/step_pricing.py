"""What a draft token costs the streams of a step, and how many of them pay."""

from collections.abc import Iterable
from typing import Final

from goodspeed.engine.interface import Verify, Work
from goodspeed.protocol.session import num_common
from goodspeed.scheduling.co_located_length import CoLocatedPrices
from goodspeed.scheduling.step_size import StepSize
from goodspeed.stats.ewma import Ewma
from goodspeed.verifier.core.batch import Batch, StepResult, Turn
from goodspeed.verifier.core.core_config import VerifierCoreConfig
from goodspeed.verifier.core.draft_budget import DraftBudget
from goodspeed.verifier.core.served_streams import ServedStream, ServedStreams
from goodspeed.verifier.core.timing.round_timing import ROUND_WEIGHT
from goodspeed.verifier.core.timing.step_curve import bin_ends
from goodspeed.verifier.core.timing.step_timing import StepTiming

MAX_DRAFTED: Final = 32
"""Steps with draft tokens in a row after which one has none, so that it stays known what drafts cost. Otherwise their
time would in the end be taken for the machine's. It costs a thirtieth of what drafts gain, at most."""
DISCARDED: Final = 4
"""How many times as many, if drafters wait for the verdicts on their proposals."""
FADING: Final = 1 / 256
"""How fast it is forgotten what steps leave out, by the step."""


class StepPricing:
    """Prices and budget of the closing batch, from what steps of about its size took."""

    def __init__(
        self, config: VerifierCoreConfig, budget: DraftBudget, timing: StepTiming, streams: ServedStreams
    ) -> None:
        self._config = config
        self._budget = budget
        self._timing = timing
        self._streams = streams
        self._least_value = Ewma(ROUND_WEIGHT)
        self._num_drafted = 0  # steps with draft tokens since one without
        self._token_s = Ewma(ROUND_WEIGHT)  # that each draft token of a batch at its best size adds to its step

    @property
    def least_value(self) -> float:
        """As Budget.least_value."""
        return self._least_value.get()

    def prices(self, streams: Iterable[ServedStream]) -> CoLocatedPrices:
        """One more token in the step of these streams delays each of them, once in its round.

        A round does not count the prompts that were read in its step: however many rounds an answer takes, that time
        is the same. With it, rounds seemed to be long whatever the drafts, which then were many.
        """
        step_s, local_wait_s = self._timing.step_time.mean_s or 0.0, self._timing.local_wait_s
        loss = weight = 0.0
        for stream in (*streams, *self._streams.prefilling.values()):
            timing, proposal = stream.client.timing, stream.proposal
            round_s = step_s + (timing.away_s(len(proposal.tokens)) if proposal else local_wait_s)
            if round_s > 0.0:
                stream_weight = stream.weight
                loss += stream_weight / round_s
                weight += stream_weight
        round_s = weight / loss if loss else 0.0
        loss *= self._config.time_price
        token_s = self._timing.step_time.token_s
        if self._budget.is_automatic:
            token_s = self._token_s.get(default=token_s)
        return CoLocatedPrices(loss * self._timing.drafting_s, loss * token_s, round_s)

    def budget(self, num_streams: int) -> int:
        """The most draft tokens that a step of so many streams may verify."""
        return self._budget.tokens(num_streams, self._timing.step_time)

    def is_trial_due(self, *, has_proposals: bool) -> bool:
        """Whether a batch without prompts shall verify no draft token."""
        return self._num_drafted >= MAX_DRAFTED * (DISCARDED if has_proposals else 1)

    def sizes(self, num_streams: int, num_tokens: int, budget: int, prices: CoLocatedPrices) -> tuple[StepSize, ...]:
        """Sizes of a step over `num_tokens` of streams and prompts and up to `budget` draft tokens.

        Their times are those of a step without prompts, and what the draft tokens add to the step as it is.
        Empty if as many as possible are verified: the budget is configured, or the first to arrive are selected.
        Without prices the best size is that of the most tokens in a second of steps, not of rounds.
        """
        if not (num_streams and self._budget.is_automatic) or self._config.draft_selection == "arrival":
            return ()
        totals = [num_tokens, *bin_ends(num_tokens + 1, num_tokens + budget)]
        others_s = max(0.0, prices.round_s - (self._timing.step_time.mean_s or 0.0))  # of a round, beside the step
        bare_s, *steps_s = self._timing.steps_s([num_streams, *totals]) or (0.0,)  # no steps_s before the first step
        return tuple(
            [
                StepSize(total - num_tokens, others_s + bare_s + step_s - steps_s[0])
                for total, step_s in zip(totals, steps_s, strict=False)
            ]
        )

    def on_step(self, batch: Batch, result: StepResult) -> None:
        """Learn from the number of draft tokens that the step has verified what they cost, and how many pay."""
        if result.work and not batch.prefills:
            has_drafts = any(isinstance(item, Verify) and item.draft_tokens for item in result.work)
            self._num_drafted = self._num_drafted + 1 if has_drafts else 0
        if len(batch.sizes) <= 1:  # none, or a trial without drafts
            return
        self._learn_least_value(batch, result)
        num_drafted = sum([len(item.draft_tokens) for item in result.work if isinstance(item, Verify)])
        drafts = zip(batch.turns, result.co_located, strict=True)
        num_offered = sum([max(len(turn.proposal), len(draft)) for turn, draft in drafts])
        if num_drafted:
            size = next((size for size in batch.sizes if size.num_drafted >= num_drafted), batch.sizes[-1])
            self._token_s.observe(max(0.0, size.round_s - batch.sizes[0].round_s) / num_drafted)
        if not num_offered:
            self._budget.on_undrafted()
            return
        is_cut = num_drafted < num_offered  # otherwise it is not known how many more would pay
        self._budget.on_batch(num_drafted if is_cut else batch.budget, len(batch.turns))

    def _learn_least_value(self, batch: Batch, result: StepResult) -> None:
        """The most valuable of the proposed tokens that the step has left out; 0 if it verified all.

        What nobody proposes is not known, and fades, so that a proposal is tried now and then.
        """
        left_out = [
            _left_out(turn, item) for turn, item in zip(batch.turns, result.work, strict=False) if turn.proposal
        ]
        self._least_value.observe(max(left_out, default=0.0), weight=ROUND_WEIGHT if left_out else FADING)


def _left_out(turn: Turn, item: Work) -> float:
    """Value of the first token of the proposal that was not verified; 0 if all were, or another draft in its place."""
    verified = item.draft_tokens if isinstance(item, Verify) else ()
    num_verified = num_common(turn.proposal, verified)
    is_cut = num_verified == len(verified) < len(turn.proposal)
    return turn.token_value * turn.survival[num_verified] if is_cut else 0.0
