"""The live feed: who watches reads what users read, with the origin of every token."""

from goodspeed.drafter.core.outbox import Round, StreamFailed, TokensCommitted
from goodspeed.drafter.live_feed import MAX_BEHIND, LiveFeed, LiveText, Viewer, origins
from goodspeed.errors import LinkLostError
from goodspeed.models.tokenizer import Tokenizer
from goodspeed.protocol.messages import FinishReason


def committed(
    text: str, num_accepted: int = 0, num_co_located: int = 0, finish: FinishReason = FinishReason.NONE
) -> TokensCommitted:
    """A round of stream 3; the tokens of the tests' tokenizer are bytes."""
    measured = Round(num_accepted, num_accepted, 0, 0.0, 0.0, num_co_located_accepted=num_co_located)
    return TokensCommitted(3, tuple(text.encode()), (), finish, measured, 0)


async def taken(viewer: Viewer, count: int) -> list[LiveText | None]:
    texts: list[LiveText | None] = []
    while len(texts) < count:
        texts += await viewer.next()
    return texts


async def test_parts_name_the_origin_of_their_tokens(tokenizer: Tokenizer) -> None:
    feed = LiveFeed(tokenizer.stream)
    with feed.view() as viewer:
        feed.on_event(committed("abcdef", num_accepted=2, num_co_located=3))
        feed.on_event(committed("g", finish=FinishReason.LENGTH))
        assert await taken(viewer, 2) == [
            LiveText(3, (("remote", "ab"), ("co_located", "cde"), ("target", "f"))),
            LiveText(3, (("target", "g"),), "length"),
        ]


async def test_a_character_split_over_rounds_is_shown_whole(tokenizer: Tokenizer) -> None:
    feed = LiveFeed(tokenizer.stream)
    halves = "ü".encode()
    with feed.view() as viewer:
        for token in halves:
            feed.on_event(TokensCommitted(1, (token,), (), FinishReason.NONE, Round(0, 0, 0, 0.0, 0.0), 0))
        assert await taken(viewer, 2) == [LiveText(1, ()), LiveText(1, (("target", "ü"),))]


def test_a_round_that_ends_inside_the_accepted_draft_has_no_token_of_the_targets_own() -> None:
    assert origins(committed("ab", num_accepted=5)) == ["remote", "remote"]


async def test_nothing_is_decoded_while_no_one_watches(tokenizer: Tokenizer) -> None:
    decoded = []

    def new_detokenizer() -> object:
        decoded.append(1)
        return tokenizer.stream()

    feed = LiveFeed(new_detokenizer)  # type: ignore[arg-type]
    feed.on_event(committed("ab"))
    assert decoded == []
    with feed.view() as viewer:
        feed.on_event(committed("cd"))
        assert await viewer.next() == [LiveText(3, (("target", "cd"),))]
    feed.on_event(committed("ef"))
    assert decoded == [1]


async def test_failed_stream_ends_in_the_feed(tokenizer: Tokenizer) -> None:
    feed = LiveFeed(tokenizer.stream)
    with feed.view() as viewer:
        feed.on_event(StreamFailed(3, LinkLostError("gone")))
        assert await viewer.next() == [LiveText(3, (), "failed")]


async def test_viewer_that_reads_nothing_is_dropped_and_the_others_are_not(tokenizer: Tokenizer) -> None:
    feed = LiveFeed(tokenizer.stream)
    with feed.view() as slow, feed.view() as fast:
        for _ in range(MAX_BEHIND + 10):
            feed.on_event(committed("a"))
            assert await fast.next() != [None]
        read = await slow.next()
    assert len(read) == MAX_BEHIND + 1
    assert read.index(None) == MAX_BEHIND


async def test_closed_feed_ends_present_and_later_viewers(tokenizer: Tokenizer) -> None:
    feed = LiveFeed(tokenizer.stream)
    with feed.view() as before:
        feed.close()
        with feed.view() as after:
            assert await taken(before, 1) == await taken(after, 1) == [None]
