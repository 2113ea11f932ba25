"""What every draft engine promises about requests with `after`; the checks end the streams that they open.

Drawn tokens have other random numbers when more tokens are committed: only their distributions are compared.
"""

from collections.abc import Sequence

from goodspeed.decoding.draft import Draft, DraftRequest
from goodspeed.decoding.sampling import Sampling
from goodspeed.engine.interface import DraftEngine

MAX_TOKENS = 6


def check_after_is_like_a_longer_prefix(
    engine: DraftEngine, prompt: Sequence[int], sampling: Sampling, after: Sequence[int]
) -> None:
    """Whether `after` is what was drafted, begins like it, or was never drafted."""
    first = _drafts(engine, prompt, sampling, DraftRequest(1, MAX_TOKENS))[0].tokens
    for tokens in {first, (*first[:2], *after), tuple(after), first[:1]}:
        expected = _drafts(engine, [*prompt, *tokens], sampling, DraftRequest(1, MAX_TOKENS))[0]
        request = DraftRequest(1, MAX_TOKENS, after=tokens)
        for requests in (
            [request],
            [DraftRequest(1, MAX_TOKENS), request],
            [DraftRequest(1, 3, after=(7, 7)), request],
        ):
            draft = _drafts(engine, prompt, sampling, *requests)[-1]
            assert len(draft.confidences) == len(draft.tokens)
            assert len(draft.draft_probs) == len(expected.draft_probs)
            if draft.draft_probs:
                assert draft.draft_probs[0].token_ids.tolist() == expected.draft_probs[0].token_ids.tolist()
            else:
                assert draft.tokens == expected.tokens


def check_a_draft_in_pieces_is_the_whole(engine: DraftEngine, prompt: Sequence[int], sampling: Sampling) -> None:
    whole = _drafts(engine, prompt, sampling, DraftRequest(1, MAX_TOKENS))[0].tokens
    requests = [DraftRequest(1, 1, after=whole[:length]) for length in range(len(whole))]
    pieces = _drafts(engine, prompt, sampling, *requests)
    assert tuple(token for piece in pieces for token in piece.tokens) == whole


def check_commit_leaves_no_trace(
    engine: DraftEngine, prompt: Sequence[int], sampling: Sampling, committed: Sequence[int]
) -> None:
    """After a commit of other tokens the stream drafts like a new one with the same prefix."""
    engine.open(1, prompt, sampling)
    drafted = engine.draft([DraftRequest(1, MAX_TOKENS)])[0].tokens
    engine.draft([DraftRequest(1, MAX_TOKENS, after=(*drafted[:2], 7))])
    engine.commit(1, committed)
    here = engine.draft([DraftRequest(1, MAX_TOKENS)])[0].tokens
    engine.close(1)
    assert here == _drafts(engine, [*prompt, *committed], sampling, DraftRequest(1, MAX_TOKENS))[0].tokens


def check_commit_of_a_continued_draft(engine: DraftEngine, prompt: Sequence[int], sampling: Sampling) -> None:
    """A commit of the first part of what was drafted leaves the rest as it would be drafted again."""
    engine.open(1, prompt, sampling)
    drafted = engine.draft([DraftRequest(1, 4)])[0].tokens
    drafted += engine.draft([DraftRequest(1, 4, after=drafted)])[0].tokens
    engine.commit(1, drafted[:5])
    again = engine.draft([DraftRequest(1, len(drafted[5:]))])[0]
    engine.commit(1, drafted[5:])
    engine.close(1)
    assert again.draft_probs or again.tokens == drafted[5:]


def _drafts(engine: DraftEngine, prompt: Sequence[int], sampling: Sampling, *requests: DraftRequest) -> list[Draft]:
    """The drafts of one stream, request by request."""
    engine.open(1, prompt, sampling)
    drafts = [engine.draft([request])[0] for request in requests]
    engine.close(1)
    return drafts
