"""The shadow drafts of one stream: what a grant would have brought while its rounds are local."""

from collections.abc import Sequence

from msgspec import Struct

from goodspeed.protocol.limits import check_shadow_draft
from goodspeed.protocol.messages import ShadowDraft, Verdict
from goodspeed.protocol.shadow_draft import compare_shadow_draft
from goodspeed.verifier.core.client import Client


class ShadowRequest(Struct, frozen=True, gc=False):
    """A verdict has asked for a shadow draft."""

    round: int  # of the verdict
    num_tokens: int  # at most
    committed_length: int  # of the verdict
    sent_at: float


class ShadowDrafts:
    """At most one request that is not answered, and at most one draft that is being compared.

    What a draft shows is reported to the client: its times on arrival, its acceptance once enough is committed.
    """

    def __init__(self) -> None:
        self.request: ShadowRequest | None = None
        """The latest one; None: it was answered."""
        self._draft: ShadowDraft | None = None
        self._num_requested = 0  # of the draft

    def on_verdict(self, verdict: Verdict, client: Client, committed: Sequence[int], now: float) -> None:
        """A round has ended."""
        self._compare(client, committed, bool(verdict.finish))
        if verdict.shadow:
            self.request = ShadowRequest(verdict.round, verdict.shadow, verdict.committed_length, now)

    def on_shadow_draft(
        self, draft: ShadowDraft, client: Client, committed: Sequence[int], vocab_size: int, now: float
    ) -> None:
        """The drafter's answer; one to an earlier request is ignored. Raises ProtocolError (stream)."""
        if self.request is None or self.request.round != draft.round:
            return
        request, self.request = self.request, None
        check_shadow_draft(draft, request.num_tokens, range(request.committed_length, len(committed) + 1), vocab_size)
        self._compare(client, committed, is_over=True)  # an older draft, as far as it has come
        client.timing.on_proposal(now - request.sent_at, draft.drafting_us / 1e6, len(draft.tokens), request.num_tokens)
        self._draft, self._num_requested = draft, request.num_tokens
        self._compare(client, committed, is_over=False)

    def _compare(self, client: Client, committed: Sequence[int], is_over: bool) -> None:
        """Report how far the draft was right, if that is known; a draft that is over is not compared any further.

        As with proposals, tokens that were requested and not drafted count as not accepted.
        """
        if self._draft is None:
            return
        result = compare_shadow_draft(self._draft, committed, is_over)
        if result is None:
            return
        self._draft = None
        num_granted = self._num_requested if result.is_complete else result.num_accepted
        if num_granted:
            client.on_shadow_draft(num_granted, result.num_accepted)
