"""The shadow drafts of one stream: what a grant would have brought while its rounds are local."""

from collections.abc import Sequence

from msgspec import Struct

from goodspeed.decoding.sampling import Rule, Sampling
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


class ReceivedDraft(Struct, frozen=True, gc=False):
    """A shadow draft that is being compared."""

    draft: ShadowDraft
    num_requested: int  # tokens
    turnaround_s: float  # from the verdict sent to the draft received


class ShadowDrafts:
    """At most one request that is not answered, and at most one draft that is being compared.

    What a draft shows is reported to the client: its times on arrival, its acceptance once enough is committed.

    Under the rejection rule a proposal may follow that draws the same numbers for the same positions, and whether a
    drawn token is proposed must not depend on which token it is (docs/explain/exactness.md). So nothing of such a draft
    is reported before all its positions are committed.
    """

    def __init__(self, sampling: Sampling) -> None:
        self.is_awaited = False
        """An answer is to be expected; after a grant it is not: the drafter may draft the proposal instead."""
        self._request: ShadowRequest | None = None  # the latest one; None: it was answered
        self._received: ReceivedDraft | None = None
        self._is_drawn = sampling.rule is Rule.REJECTION

    def on_verdict(self, verdict: Verdict, client: Client, committed: Sequence[int], now: float) -> None:
        """A round has ended."""
        self._compare(client, committed, bool(verdict.finish))
        if verdict.grant:
            self.is_awaited = False
        if verdict.shadow:
            self.is_awaited = True
            self._request = ShadowRequest(verdict.round, verdict.shadow, verdict.committed_length, now)

    def on_shadow_draft(
        self, draft: ShadowDraft, client: Client, committed: Sequence[int], vocab_size: int, now: float
    ) -> None:
        """The drafter's answer; one to an earlier request is ignored. Raises ProtocolError (stream)."""
        if self._request is None or self._request.round != draft.round:
            return
        request, self._request, self.is_awaited = self._request, None, False
        committed_lengths = range(request.committed_length, len(committed) + 1)
        check_shadow_draft(draft, request.num_tokens, committed_lengths, vocab_size)
        if not self._is_drawn:
            self._compare(client, committed, is_over=True)  # an older draft, as far as it has come
        self._received = ReceivedDraft(draft, request.num_tokens, now - request.sent_at)
        if not self._is_drawn:
            self._report_times(client, self._received)
        self._compare(client, committed, is_over=False)

    def _compare(self, client: Client, committed: Sequence[int], is_over: bool) -> None:
        """Report how far the draft was right, if that is known; if the comparison is over, as far as it is known.

        As with proposals, tokens that were requested and not drafted count as not accepted.
        """
        received = self._received
        if received is None:
            return
        draft = received.draft
        is_covered = is_over or len(committed) >= draft.committed_length + len(draft.tokens)
        result = compare_shadow_draft(draft, committed, is_over) if is_covered or not self._is_drawn else None
        if result is None:
            return
        self._received = None
        if self._is_drawn:
            self._report_times(client, received)
        num_granted = received.num_requested if result.is_complete else result.num_accepted
        if num_granted:
            client.on_shadow_draft(num_granted, result.num_accepted)

    @staticmethod
    def _report_times(client: Client, received: ReceivedDraft) -> None:
        """Those of a proposal after a grant of as many tokens as were requested, with what run-ahead would save."""
        draft = received.draft
        saved_s = min(draft.saved_us, draft.drafting_us) / 1e6
        turnaround_s, drafting_s = max(0.0, received.turnaround_s - saved_s), draft.drafting_us / 1e6 - saved_s
        client.timing.on_proposal(turnaround_s, drafting_s, len(draft.tokens), received.num_requested)
