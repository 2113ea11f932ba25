"""An answer under way: what its rounds took so far, for its record."""

from dataclasses import dataclass, field

from goodspeed.drafter.core.decisions import TokensCommitted
from goodspeed.simulator.kernel import Signal
from goodspeed.simulator.result import AnswerRecord
from goodspeed.simulator.workload.workload import Ask


@dataclass(slots=True)
class Answering:
    """`ended` fires at its end, whatever that is."""

    client: str
    request: int
    ask: Ask
    asked_s: float
    ended: Signal
    first_token_s: float | None = None
    num_tokens: int = 0
    num_rounds: int = 0
    num_proposed: int = 0
    num_accepted: int = 0
    drafting_s: float = 0.0
    network_s: float = 0.0
    queue_s: float = 0.0
    verify_s: float = 0.0
    target_alone_s: float = 0.0
    took_s: float = 0.0
    is_over: bool = False

    def add(self, news: TokensCommitted, now_s: float) -> None:
        """One more round."""
        measured = news.round
        if self.first_token_s is None:
            self.first_token_s = now_s
        self.num_tokens += len(news.tokens)
        self.num_rounds += 1
        self.num_proposed += measured.num_proposed
        self.num_accepted += measured.num_accepted
        self.drafting_s += measured.drafting_s
        self.network_s += measured.rtt_s or 0.0
        self.queue_s += measured.queue_s
        self.verify_s += measured.verify_s
        if news.finish:  # the last round alone has them
            self.target_alone_s, self.took_s = measured.target_alone_s, measured.took_s

    def end(self) -> None:
        """There is no more to come."""
        self.is_over = True
        self.ended.fire()

    def record(self, verifier: str, is_fused: bool, now_s: float) -> AnswerRecord:
        """Of an answer that is complete now; the verifier is the one that ended it."""
        assert self.first_token_s is not None
        return AnswerRecord(
            client=self.client,
            verifier=verifier,
            request=self.request,
            is_fused=is_fused,
            asked_s=self.asked_s,
            first_token_s=self.first_token_s,
            finished_s=now_s,
            num_prompt_tokens=self.ask.num_prompt_tokens,
            num_answer_tokens=self.num_tokens,
            num_rounds=self.num_rounds,
            num_proposed=self.num_proposed,
            num_accepted=self.num_accepted,
            drafting_s=self.drafting_s,
            network_s=self.network_s,
            queue_s=self.queue_s,
            verify_s=self.verify_s,
            target_alone_s=self.target_alone_s,
            took_s=self.took_s,
        )


@dataclass(slots=True)
class Tally:
    """What a whole run counts."""

    answers: list[AnswerRecord] = field(default_factory=list)
    num_asked: int = 0
    num_failed: int = 0
    num_rounds: int = 0
