"""Comparison of a shadow draft with the tokens that are committed after it was drafted; both ends do it."""

from collections.abc import Sequence

from msgspec import Struct

from goodspeed.protocol.messages import ShadowDraft
from goodspeed.protocol.session import num_common


class ShadowResult(Struct, frozen=True, gc=False):
    """How far a shadow draft was right."""

    num_accepted: int
    is_complete: bool
    """False: the answer ended within the draft, all of whose tokens until there were right."""


def compare_shadow_draft(draft: ShadowDraft, committed: Sequence[int], is_finished: bool) -> ShadowResult | None:
    """The result, as a round that verified the draft would have had it; None: it depends on tokens still to come.

    `committed` are all committed tokens, at least draft.committed_length.
    """
    since = committed[draft.committed_length : draft.committed_length + len(draft.tokens)]
    num_accepted = num_common(draft.tokens, since)
    is_complete = num_accepted < len(since) or num_accepted == len(draft.tokens)
    return ShadowResult(num_accepted, is_complete) if is_complete or is_finished else None
