"""The scheduler of vLLM's engine core: it schedules exactly the requests and tokens of one step."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from vllm.v1.core.sched.request_queue import create_request_queue
from vllm.v1.core.sched.scheduler import Scheduler

from goodspeed.decoding.draft import SparseProbs
from goodspeed.engine.vllm.exchange import DRAFT_PROBS, Report, reports_of
from goodspeed.engine.vllm.hooks import SCHEDULER_HOOKS, check, missing_hooks

UNLIMITED = 2**30


@dataclass(frozen=True, slots=True)
class StepRequest:
    """What one step does for a request of vLLM."""

    num_tokens: int
    """Tokens of its text, from the first, that have keys and values after the step, draft tokens included."""
    draft_tokens: tuple[int, ...] = ()
    draft_probs: tuple[SparseProbs, ...] = ()


class StepScheduler(Scheduler):  # type: ignore[misc]  # vLLM is no dependency of the type check
    """Set `step` before each step of the engine core, and `retained` when it changes.

    Requests outside the step keep their memory and wait. If memory is short, vLLM preempts from the end of its list of
    running requests: first retained ones, then others outside the step, then those of the step.
    """

    running: list[Any]
    waiting: Any
    max_num_running_reqs: int

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        check(missing_hooks({"scheduler": self}, SCHEDULER_HOOKS))
        self.max_requests_per_step: int = self.max_num_running_reqs
        # Open requests are limited by memory alone; max_requests_per_step limits the rows of a step.
        self.max_num_running_reqs = self.max_num_active_reqs = UNLIMITED
        # Otherwise vLLM pads a request whose prompt is cached but for one token with placeholders for drafts.
        self.num_spec_tokens = 0
        self.step: Mapping[str, StepRequest] = {}
        self.retained: Collection[str] = ()
        self.cached: set[str] = set()
        """Requests of the step that need no computation: the prefix cache has all tokens that the step requests."""
        self.reports: Mapping[str, Report] = {}
        """Of the last step."""
        self.max_chunk = UNLIMITED
        """Tokens of one request in a step."""

    def schedule(self, *args: Any, **kwargs: Any) -> Any:
        """vLLM's SchedulerOutput for the step."""
        self.cached = set()
        self._put_step_first()
        waiting, self.waiting = self.waiting, create_request_queue(self.policy)
        self.waiting.prepend_requests([request for request in waiting if request.request_id in self.step])
        held_back = [request for request in waiting if request.request_id not in self.step]
        try:
            output = super().schedule(*args, **kwargs)
        finally:
            for request in held_back:
                self.waiting.add_request(request)
        probs = {key: self.step[key].draft_probs for key in output.scheduled_spec_decode_tokens}
        setattr(output, DRAFT_PROBS, {key: value for key, value in probs.items() if value})
        return output

    def update_from_output(self, scheduler_output: Any, model_runner_output: Any) -> Any:
        """vLLM's outputs of the requests by client."""
        self.reports = reports_of(model_runner_output)
        return super().update_from_output(scheduler_output, model_runner_output)

    def _put_step_first(self) -> None:
        """Give the step's requests their drafts, and order the running requests by who may be preempted last."""
        retained = self.retained

        def rank(request: Any) -> int:
            return 0 if request.request_id in self.step else 2 if request.request_id in retained else 1

        self.running.sort(key=rank)
        for request in self.running:
            if wanted := self.step.get(request.request_id):
                request.spec_token_ids = list(wanted.draft_tokens)

    def _reserve_prefill_lookahead(self, request: Any, num_computed_tokens: int, num_new_tokens: int) -> int:
        """vLLM calls it for every request that it is about to schedule: the number of tokens to schedule."""
        wanted = self.step.get(request.request_id)
        if wanted is None:
            return 0
        num_left = wanted.num_tokens - num_computed_tokens
        if num_left <= 0:
            self.cached.add(request.request_id)
            return 0
        num_tokens = min(num_new_tokens, num_left, self.max_chunk)
        return int(super()._reserve_prefill_lookahead(request, num_computed_tokens, num_tokens))
