"""An answer in progress, and what a run counts."""

from dataclasses import dataclass, field

from goodspeed.drafter.core.outbox import TokensCommitted
from goodspeed.protocol.messages import RoundMode
from goodspeed.simulator.kernel import Signal
from goodspeed.simulator.result import AnswerRecord, UnfinishedRecord
from goodspeed.simulator.workload.workload import WorkloadRequest


@dataclass(slots=True)
class AnswerInProgress:
    """Sums over the rounds of one answer. `ended` fires when the answer finishes or fails."""

    client: str
    request_number: int
    request: WorkloadRequest
    prompt: tuple[int, ...]
    requested_s: float
    ended: Signal
    first_token_s: float | None = None
    num_tokens: int = 0
    num_cached: int = 0
    num_rounds: int = 0
    num_proposed: int = 0
    num_accepted: int = 0
    num_remote_rounds: int = 0
    num_co_located_rounds: int = 0
    num_target_only_rounds: int = 0
    num_co_located: int = 0
    num_co_located_accepted: int = 0
    drafting_s: float = 0.0
    network_s: float = 0.0
    queue_s: float = 0.0
    verify_s: float = 0.0
    num_mode_changes: int = 0
    baseline_s: float | None = None
    elapsed_s: float | None = None
    is_over: bool = False

    def add(self, committed: TokensCommitted, now_s: float) -> None:
        """Add one round."""
        measured = committed.round
        if self.first_token_s is None:
            self.first_token_s = now_s
        self.num_tokens += len(committed.tokens)
        self.num_rounds += 1
        self.num_cached += measured.num_cached
        self.num_proposed += measured.num_proposed
        self.num_accepted += measured.num_accepted
        self.num_remote_rounds += measured.mode is RoundMode.REMOTE
        self.num_co_located_rounds += measured.mode is RoundMode.CO_LOCATED
        self.num_target_only_rounds += measured.mode is RoundMode.TARGET_ONLY
        self.num_co_located += measured.num_co_located
        self.num_co_located_accepted += measured.num_co_located_accepted
        self.drafting_s += measured.drafting_s
        self.network_s += measured.rtt_s or 0.0
        self.queue_s += measured.queue_s
        self.verify_s += measured.verify_s
        if committed.finish:  # only the last round carries these
            self.baseline_s, self.elapsed_s = measured.baseline_s, measured.elapsed_s
            self.num_mode_changes = measured.num_mode_changes

    def end(self) -> None:
        """Mark the answer as finished or failed, and wake the user."""
        self.is_over = True
        self.ended.fire()

    def record(self, verifier: str, is_target_only: bool, now_s: float) -> AnswerRecord:
        """The record of a finished answer; `verifier` is the one that committed its last tokens."""
        assert self.first_token_s is not None
        return AnswerRecord(
            client=self.client,
            verifier=verifier,
            request=self.request_number,
            is_target_only=is_target_only,
            requested_s=self.requested_s,
            first_token_s=self.first_token_s,
            finished_s=now_s,
            num_prompt_tokens=self.request.num_prompt_tokens,
            num_cached_tokens=self.num_cached,
            num_answer_tokens=self.num_tokens,
            num_rounds=self.num_rounds,
            num_proposed=self.num_proposed,
            num_accepted=self.num_accepted,
            drafting_s=self.drafting_s,
            network_s=self.network_s,
            queue_s=self.queue_s,
            verify_s=self.verify_s,
            baseline_s=self.baseline_s,
            elapsed_s=self.elapsed_s,
            num_remote_rounds=self.num_remote_rounds,
            num_co_located_rounds=self.num_co_located_rounds,
            num_target_only_rounds=self.num_target_only_rounds,
            num_co_located=self.num_co_located,
            num_co_located_accepted=self.num_co_located_accepted,
            num_mode_changes=self.num_mode_changes,
        )

    def unfinished_record(self) -> UnfinishedRecord:
        """The record of an answer that is not complete."""
        return UnfinishedRecord(self.client, self.requested_s, self.first_token_s, self.request.num_answer_tokens)


@dataclass(slots=True)
class RunCounters:
    """Answers and counts of a whole run."""

    answers: list[AnswerRecord] = field(default_factory=list)
    in_progress: dict[tuple[str, int], AnswerInProgress] = field(default_factory=dict)
    """By client and the number of its request."""
    num_requested: int = 0
    num_failed: int = 0
    num_rounds: int = 0
