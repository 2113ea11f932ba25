"""A user in virtual time: asks when the workload says, and waits for answers where it does."""

from collections.abc import Callable, Iterable

from goodspeed.errors import ConfigError
from goodspeed.simulator.acceptance.acceptance_model import Tape
from goodspeed.simulator.answer_in_progress import Answering, Tally
from goodspeed.simulator.drafter import SimulatedDrafter
from goodspeed.simulator.kernel import Kernel, Process, Signal, duration_ns
from goodspeed.simulator.workload.workload import Ask

TapeOf = Callable[[int], Tape]
"""The luck of a client's request."""


class User:
    """Everything that is asked of one drafter. `run` is its process."""

    def __init__(self, kernel: Kernel, tally: Tally, drafter: SimulatedDrafter, most_tokens: int) -> None:
        self._kernel = kernel
        self._tally = tally
        self._drafter = drafter
        self._most_tokens = most_tokens  # prompt and answer, that every verifier can hold

    def run(self, asks: Iterable[Ask], tape_of: TapeOf) -> Process:
        """Raises ConfigError if the first request is beyond any verifier; a later one is refused, and counted."""
        previous: Answering | None = None
        for request, ask in enumerate(asks):
            if ask.is_closed_loop and previous and not previous.is_over:
                yield previous.ended
            yield duration_ns(ask.gap_s)
            self._tally.num_asked += 1
            if not self._fits(request, ask):
                self._tally.num_failed += 1
                continue
            previous = Answering(self._drafter.client, request, ask, self._kernel.now_s, Signal(self._kernel))
            while not self._drafter.has_met:
                yield self._drafter.uplink.has_met
            self._drafter.answer(previous, tape_of(request))

    def _fits(self, request: int, ask: Ask) -> bool:
        num_tokens = ask.num_prompt_tokens + ask.num_answer_tokens
        if num_tokens > self._most_tokens and request == 0:
            raise ConfigError(
                f"the first request of {self._drafter.client} has {ask.num_prompt_tokens} prompt tokens and "
                f"{ask.num_answer_tokens} answer tokens, a verifier holds {self._most_tokens} in all; "
                "expected a larger kv_capacity or max_context, or shorter requests"
            )
        return num_tokens <= self._most_tokens
