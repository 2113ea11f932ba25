"""A user in virtual time: sends requests at the times of the workload, and waits for answers in a closed loop."""

from collections.abc import Callable, Iterable

from goodspeed.errors import ConfigError
from goodspeed.simulator.acceptance.acceptance_model import AnswerTraces
from goodspeed.simulator.answer_in_progress import AnswerInProgress, RunCounters
from goodspeed.simulator.drafter import SimulatedDrafter
from goodspeed.simulator.kernel import Kernel, Process, Signal, duration_ns
from goodspeed.simulator.prompt_text import PromptTexts
from goodspeed.simulator.workload.workload import WorkloadRequest

TracesOf = Callable[[int], AnswerTraces]
"""The acceptance traces of a client's request, by the request's number."""


class SimulatedUser:
    """The source of all requests to one drafter. `run` is its process."""

    def __init__(
        self, kernel: Kernel, counters: RunCounters, drafter: SimulatedDrafter, texts: PromptTexts, max_tokens: int
    ) -> None:
        """`max_tokens`: prompt and answer tokens that every reachable verifier can hold for one stream."""
        self._kernel = kernel
        self._texts = texts
        self._counters = counters
        self._drafter = drafter
        self._max_tokens = max_tokens

    def run(self, requests: Iterable[WorkloadRequest], traces_of: TracesOf) -> Process:
        """Raises ConfigError if the first request fits no verifier; later ones that do not fit count as failed."""
        previous: AnswerInProgress | None = None
        for number, request in enumerate(requests):
            if request.is_closed_loop and previous and not previous.is_over:
                yield previous.ended
            yield duration_ns(request.interarrival_s)
            self._counters.num_requested += 1
            prompt = self._texts.prompt(request)
            if not self._fits(number, request):
                self._counters.num_failed += 1
                continue
            now_s = self._kernel.now_s
            previous = AnswerInProgress(self._drafter.client, number, request, prompt, now_s, Signal(self._kernel))
            self._counters.in_progress[self._drafter.client, number] = previous
            while not self._drafter.is_welcomed:
                yield self._drafter.uplink.welcomed
            self._drafter.answer(previous, traces_of(number))

    def _fits(self, number: int, request: WorkloadRequest) -> bool:
        num_tokens = request.num_prompt_tokens + max(request.num_answer_tokens, request.max_tokens)
        if num_tokens > self._max_tokens and number == 0:
            raise ConfigError(
                f"the first request of {self._drafter.client} has {request.num_prompt_tokens} prompt tokens and "
                f"{request.num_answer_tokens} answer tokens, a verifier holds {self._max_tokens} in all; "
                "expected a larger kv_capacity or max_context, or shorter requests"
            )
        return num_tokens <= self._max_tokens
