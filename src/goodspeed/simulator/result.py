"""What a simulated run leaves behind."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AnswerRecord:
    """One answered request. Times are seconds since the run's start; durations are sums over the answer's rounds."""

    client: str
    verifier: str
    request: int  # of its client, from 0
    is_target_only: bool
    requested_s: float
    first_token_s: float
    finished_s: float
    num_prompt_tokens: int
    num_answer_tokens: int
    num_rounds: int
    num_proposed: int
    num_accepted: int
    drafting_s: float
    network_s: float
    queue_s: float
    verify_s: float
    baseline_s: float = 0.0  # that the target alone would have taken, as the verifier reckons; 0: not known
    took_s: float = 0.0  # ... and what it took there


@dataclass(frozen=True, slots=True)
class VerifierRecord:
    """What one verifier did in the whole run."""

    verifier: str
    num_steps: int
    num_tokens: int  # that went through the target
    busy_s: float
    peak_kv_tokens: int


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a traced request's time, for a timeline."""

    client: str
    request: int
    actor: str  # drafter, uplink, verifier queue, verifier, downlink
    what: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class RunResult:
    """A replication. Answers are in the order in which they ended; those that did not end are only counted."""

    seed: int
    simulated_s: float
    answers: tuple[AnswerRecord, ...]
    verifiers: tuple[VerifierRecord, ...]
    num_unfinished: int
    num_failed: int
    num_rounds: int
    num_bytes_up: int
    num_bytes_down: int
    spans: tuple[Span, ...] = ()
