"""The result of a simulated run."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AnswerRecord:
    """One answered request. Times are seconds since the start of the run; durations are sums over the rounds."""

    client: str
    verifier: str
    request: int  # number of the client's request, from 0
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
    baseline_s: float | None = None  # the verifier's estimate of the target-only baseline; None: not known
    elapsed_s: float | None = None  # the time that the answer took, by the verifier's clock; None beside baseline_s
    num_remote_rounds: int = 0
    num_co_located_rounds: int = 0
    num_target_only_rounds: int = 0  # without the prompt's
    num_co_located: int = 0  # co-located draft tokens that were verified
    num_co_located_accepted: int = 0
    num_cached_tokens: int = 0  # of the prompt: the verifier's prefix cache had them
    num_mode_changes: int = 0  # by the window policy

    @property
    def num_rounds_with_mode(self) -> int:
        """All rounds but the prompt's."""
        return self.num_remote_rounds + self.num_co_located_rounds + self.num_target_only_rounds


@dataclass(frozen=True, slots=True)
class UnfinishedRecord:
    """A request without a complete answer at the end of the run. Times are seconds since the start of the run."""

    client: str
    requested_s: float
    first_token_s: float | None  # None: there is no token yet
    num_answer_tokens: int  # of the whole answer


@dataclass(frozen=True, slots=True)
class VerifierRecord:
    """The work of one verifier in the whole run."""

    verifier: str
    num_steps: int
    num_tokens: int  # tokens that went through the target model
    busy_s: float
    peak_kv_tokens: int  # in blocks of open streams
    num_preemptions: int = 0
    num_evictions: int = 0  # of ended texts, from the prefix cache


@dataclass(frozen=True, slots=True)
class Span:
    """A section of a traced request's time, for a timeline."""

    client: str
    request: int
    actor: str  # drafter, uplink, verifier queue, verifier, downlink
    what: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class RunAheadRecord:
    """What all drafters have drafted past proposals that were under way."""

    num_hits: int = 0  # verdicts that committed the drafted tokens
    num_misses: int = 0  # the other verdicts on proposals past which was drafted
    num_drafted: int = 0  # tokens
    num_used: int = 0  # tokens that were committed or proposed


@dataclass(frozen=True, slots=True)
class RunResult:
    """One replication. Answers are in the order in which they finished."""

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
    run_ahead: RunAheadRecord = RunAheadRecord()
    unfinished: tuple[UnfinishedRecord, ...] = ()  # in the order of the requests
