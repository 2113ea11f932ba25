"""A stream as the verifier's core sees it: whose it is, and what it waits for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from goodspeed.decoding.draft import StreamKey
from goodspeed.protocol.messages import Open, Propose
from goodspeed.protocol.session import VerifierStream
from goodspeed.verifier.core.client import Client, ConnId
from goodspeed.verifier.core.timing.baseline import StreamBaseline


@dataclass(slots=True, eq=False)
class ServedStream:
    """An admitted stream. What it waits for is the part of the StreamTable in which it is."""

    key: StreamKey
    client: Client
    conn: ConnId | None  # None: its session is gone, its lease runs
    end: VerifierStream
    capacity: int  # KV tokens reserved
    num_unprefilled: int
    since: float  # when it began to wait for what it waits for
    part: dict[StreamKey, Any] | None = None  # of the StreamTable, in which it is
    siblings: Mapping[int, "ServedStream"] = field(
        default_factory=dict
    )  # all streams of its client, it included, by id
    num_steps: int = 0  # that the engine had begun when its drafter's turn did
    proposal: Propose | None = None  # to be verified
    is_cut: bool = False  # the batch had no room for all of it
    grant: int = 0  # of its last verdict
    baseline: StreamBaseline | None = None  # None: not known

    @property
    def request(self) -> Open:
        return self.end.request

    @property
    def is_fused(self) -> bool:
        return self.end.opened_target_only

    @property
    def num_granted(self) -> int:
        """Draft tokens that the proposal could have brought to verification.

        Where a drafter proposes fewer than it was granted, the rest brought nothing, as rejected ones would have; where
        the batch cut the proposal, nobody knows what the rest would have brought.
        """
        return len(self.proposal.tokens) if self.is_cut and self.proposal else self.grant

    @property
    def num_tokens(self) -> int:
        """What its verification adds to a step."""
        return 1 + (len(self.proposal.tokens) if self.proposal else 0)

    def can_resume(self, request: Open) -> bool:
        """Whether the engine's state of this stream is just what the reopening asks for."""
        mine = self.request
        return (
            self.num_unprefilled == 0
            and list(request.tokens) == self.end.committed
            and (request.num_prompt, request.max_tokens) == (mine.num_prompt, mine.max_tokens)
            and (request.sampling, request.logprobs) == (mine.sampling, mine.logprobs)
        )
