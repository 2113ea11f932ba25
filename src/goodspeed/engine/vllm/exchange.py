"""What travels between the scheduler and the workers beside vLLM's own data, as attributes of its messages."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from goodspeed.decoding.draft import SparseProbs
from goodspeed.decoding.logprobs import TopTokens

SPEC: Final = "goodspeed"
"""The key of a request's StreamSpec in SamplingParams.extra_args."""
DRAFT_PROBS: Final = "goodspeed_draft_probs"
"""Of SchedulerOutput: draft distributions by request id."""
REPORTS: Final = "goodspeed_reports"
"""Of ModelRunnerOutput: reports by request id."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a worker says about the tokens that a request commits."""

    logprobs: tuple[float, ...] = ()
    """As Outcome.logprobs."""
    top_logprobs: tuple[TopTokens, ...] = ()
    """As Outcome.top_logprobs."""
    failure: str = ""
    """As Outcome.failure."""


def draft_probs_of(scheduler_output: Any) -> Mapping[str, tuple[SparseProbs, ...]]:
    """Those that StepScheduler has attached."""
    probs: Mapping[str, tuple[SparseProbs, ...]] = getattr(scheduler_output, DRAFT_PROBS, {})
    return probs


def reports_of(model_runner_output: Any) -> Mapping[str, Report]:
    """Those that RuleSampler has attached."""
    reports: Mapping[str, Report] = getattr(model_runner_output, REPORTS, {})
    return reports
