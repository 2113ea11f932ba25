"""What a draft token costs the streams of a step, and how many of them pay."""

from collections.abc import Iterable, Sequence

from goodspeed.scheduling.co_located_length import CoLocatedPrices
from goodspeed.stats.ewma import Ewma
from goodspeed.verifier.core.batch import Turn
from goodspeed.verifier.core.core_config import VerifierCoreConfig
from goodspeed.verifier.core.draft_budget import DraftBudget, best_num_tokens
from goodspeed.verifier.core.served_streams import ServedStream, ServedStreams
from goodspeed.verifier.core.timing.round_timing import ROUND_WEIGHT
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

    def budget(self, turns: Sequence[Turn], prices: CoLocatedPrices) -> int:
        """Draft tokens that the step of these turns may verify."""
        budget = self._budget.tokens(len(turns), self._timing.step_time)
        if not self._budget.is_automatic or self._config.draft_selection != "value":
            return budget
        budget = self._best_budget(turns, budget, prices)
        if turns:
            self._budget.on_batch(budget, len(turns))
        return budget

    def _best_budget(self, turns: Sequence[Turn], max_tokens: int, prices: CoLocatedPrices) -> int:
        """The budget with which the step pays best, by the times of steps of about its size."""
        num_prompt = sum([stream.num_unprefilled for stream in self._streams.prefilling.values()])
        num_others = len(turns) + min(self._config.prefill_room(len(turns)), num_prompt)
        if not num_others:
            return max_tokens
        values: list[float] = []
        for turn in turns:
            values += [turn.token_value * chance for chance in self._expected_survival(turn)]

        def step_s(num_drafted: int) -> float:
            return self._timing.step_s(num_others + num_drafted, len(turns))

        base_s, floors = step_s(0), sum([turn.floor for turn in turns])
        own_value = sum([turn.token_value for turn in turns])
        others_s = max(0.0, prices.round_s - (self._timing.step_time.mean_s or 0.0))  # of a round, beside the step
        best = best_num_tokens(values, max_tokens, own_value, lambda num_drafted: others_s + step_s(num_drafted))
        if best:
            self._token_s.observe(max(0.0, (step_s(best) - base_s) / best))
        if best >= min(len(values), max_tokens):  # nothing is cut: how much more would pay is not known
            return max_tokens
        return max(best, min(floors, max_tokens))

    def _expected_survival(self, turn: Turn) -> Sequence[float]:
        """Of the tokens of the proposal, or of the co-located draft that a local round would verify."""
        if turn.proposal or turn.co_located is None:
            return turn.survival
        stream = self._streams.get(turn.stream)
        assert stream is not None
        return stream.client.co_located.survival[: turn.co_located.max_tokens]
