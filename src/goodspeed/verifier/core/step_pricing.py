"""What a draft token costs the streams of a step, and how many of them pay."""

from collections.abc import Iterable

from goodspeed.engine.interface import Verify
from goodspeed.scheduling.co_located_length import CoLocatedPrices
from goodspeed.scheduling.step_size import StepSize
from goodspeed.stats.ewma import Ewma
from goodspeed.verifier.core.batch import Batch, StepResult
from goodspeed.verifier.core.core_config import VerifierCoreConfig
from goodspeed.verifier.core.draft_budget import DraftBudget
from goodspeed.verifier.core.served_streams import ServedStream, ServedStreams
from goodspeed.verifier.core.timing.round_timing import ROUND_WEIGHT
from goodspeed.verifier.core.timing.step_curve import bin_ends
from goodspeed.verifier.core.timing.step_timing import StepTiming


class StepPricing:
    """Prices and budget of the closing batch, from what steps of about its size took."""

    def __init__(
        self, config: VerifierCoreConfig, budget: DraftBudget, timing: StepTiming, streams: ServedStreams
    ) -> None:
        self._config = config
        self._budget = budget
        self._timing = timing
        self._streams = streams
        self._token_s = Ewma(ROUND_WEIGHT)  # that each draft token of a batch at its best size adds to its step

    def prices(self, streams: Iterable[ServedStream]) -> CoLocatedPrices:
        """One more token in the step of these streams delays each of them, once in its round."""
        local_round_s = self._timing.local_round_s or 0.0
        loss = weight = 0.0
        for stream in (*streams, *self._streams.prefilling.values()):
            timing, proposal = stream.client.timing, stream.proposal
            round_s = timing.round_s(len(proposal.tokens)) if proposal else local_round_s
            if round_s > 0.0:
                loss += stream.weight / round_s
                weight += stream.weight
        round_s = weight / loss if loss else 0.0
        loss *= self._config.time_price
        token_s = self._timing.step_time.token_s
        if self._budget.is_automatic:
            token_s = self._token_s.get(default=token_s)
        return CoLocatedPrices(loss * self._timing.drafting_s, loss * token_s, round_s)

    def budget(self, num_streams: int) -> int:
        """The most draft tokens that a step of so many streams may verify."""
        return self._budget.tokens(num_streams, self._timing.step_time)

    def sizes(self, num_streams: int, num_tokens: int, budget: int, prices: CoLocatedPrices) -> tuple[StepSize, ...]:
        """Sizes of a step over `num_tokens` of streams and prompts and up to `budget` draft tokens.

        Empty if as many as possible are verified: the budget is configured, or the first to arrive are selected.
        Without prices the best size is that of the most tokens in a second of steps, not of rounds.
        """
        if not (num_streams and self._budget.is_automatic) or self._config.draft_selection == "arrival":
            return ()
        totals = [num_tokens, *bin_ends(num_tokens + 1, num_tokens + budget)]
        others_s = max(0.0, prices.round_s - (self._timing.step_time.mean_s or 0.0))  # of a round, beside the step
        steps_s = self._timing.steps_s(totals)  # none before the first step
        return tuple(
            [StepSize(total - num_tokens, others_s + step_s) for total, step_s in zip(totals, steps_s, strict=False)]
        )

    def on_step(self, batch: Batch, result: StepResult) -> None:
        """Learn from the number of draft tokens that the step has verified what they cost, and how many pay."""
        if not batch.sizes:
            return
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
