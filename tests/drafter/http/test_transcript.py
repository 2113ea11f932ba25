"""What a user sees does not depend on how the tokens came."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodspeed.drafter.core.outbox import Round, TokensCommitted
from goodspeed.drafter.http.stop_cut import StopCut
from goodspeed.drafter.http.transcript import TextPiece, Transcript
from goodspeed.engine.toy_model import END_TOKEN
from goodspeed.models.tokenizer import Tokenizer
from goodspeed.protocol.messages import FinishReason

ROUND = Round(0, 0, 0, 0.0, 0.0)


def show(
    tokenizer: Tokenizer, rounds: Sequence[Sequence[int]], finish: FinishReason, stops: Sequence[str] = ()
) -> tuple[Transcript, list[TextPiece]]:
    """Push the rounds until the transcript has its finish."""
    transcript = Transcript(tokenizer.stream(), stops)
    pieces = []
    for i, tokens in enumerate(rounds):
        is_last = i == len(rounds) - 1
        logprobs = tuple(-float(token) for token in tokens)
        committed = TokensCommitted(1, tuple(tokens), logprobs, finish if is_last else FinishReason.NONE, ROUND, 0)
        pieces.append(transcript.push(committed))
        if transcript.finish:
            break
    return transcript, pieces


def text_of(pieces: Sequence[TextPiece]) -> str:
    return "".join(piece.text for piece in pieces)


def in_rounds(tokens: Sequence[int], sizes: Sequence[int]) -> list[Sequence[int]]:
    rounds = []
    for size in sizes:
        rounds.append(tokens[:size])
        tokens = tokens[size:]
    return [tokens for tokens in [*rounds, tokens] if tokens]


@given(
    text=st.text("abcé", min_size=1, max_size=40),
    stops=st.lists(st.text("abcé", min_size=1, max_size=4), max_size=4),
    sizes=st.lists(st.integers(1, 9), max_size=12),
)
def test_text_count_and_log_probabilities_do_not_depend_on_the_rounds(
    tokenizer: Tokenizer, text: str, stops: list[str], sizes: list[int]
) -> None:
    tokens = list(text.encode())
    whole, one_by_one = show(tokenizer, [[token] for token in tokens], FinishReason.LENGTH, stops)
    transcript, pieces = show(tokenizer, in_rounds(tokens, sizes), FinishReason.LENGTH, stops)
    assert text_of(pieces) == text_of(one_by_one)
    assert (transcript.num_tokens, transcript.finish) == (whole.num_tokens, whole.finish)
    assert [entry for piece in pieces for entry in piece.logprobs] == [
        entry for piece in one_by_one for entry in piece.logprobs
    ]


@given(
    text=st.text("ab", max_size=40),
    stops=st.lists(st.text("ab", min_size=1, max_size=4), max_size=4),
    size=st.integers(1, 9),
)
def test_cut_is_before_the_stop_string_that_is_complete_first(text: str, stops: list[str], size: int) -> None:
    cut = StopCut(stops)
    shown = ""
    for start in range(0, len(text), size):
        shown += cut.push(text[start : start + size])
        if cut.is_cut:
            break
    shown += cut.flush()
    assert cut.is_cut == any(stop in text for stop in stops)
    assert text.startswith(shown)
    if cut.is_cut:
        assert not any(stop in shown for stop in stops)
        assert any(text[len(shown) :].startswith(stop) for stop in stops)
    else:
        assert shown == text


def test_start_of_a_stop_string_is_held_back(tokenizer: Tokenizer) -> None:
    _, pieces = show(tokenizer, [b"one EN", b"D", b"E"], FinishReason.LENGTH, ["END!"])
    assert [piece.text for piece in pieces] == ["one ", "", "ENDE"]


def test_character_is_shown_when_it_is_whole(tokenizer: Tokenizer) -> None:
    first, second = "é".encode()
    transcript, pieces = show(tokenizer, [[first], [second, 33]], FinishReason.LENGTH)
    assert [piece.text for piece in pieces] == ["", "é!"]
    assert transcript.finish == "length"


def test_character_that_stays_incomplete_is_replaced_at_the_end(tokenizer: Tokenizer) -> None:
    _, pieces = show(tokenizer, [[65, "é".encode()[0]]], FinishReason.LENGTH)
    assert text_of(pieces) == "A\ufffd"
    assert len(pieces[-1].logprobs) == 2


def test_end_token_counts_and_is_not_shown(tokenizer: Tokenizer) -> None:
    transcript, pieces = show(tokenizer, [[65, 66, END_TOKEN]], FinishReason.STOP)
    assert (text_of(pieces), transcript.num_tokens, transcript.finish) == ("AB", 3, "stop")
    assert [(entry.token, entry.text) for entry in pieces[0].logprobs] == [(65, "A"), (66, "B"), (END_TOKEN, "")]


@pytest.mark.parametrize("finish", [FinishReason.STOP, FinishReason.LENGTH])
def test_log_probabilities_end_with_the_visible_text(tokenizer: Tokenizer, finish: FinishReason) -> None:
    transcript, pieces = show(tokenizer, [b"abcS", b"TOPmore"], finish, ["STOP"])
    entries = [entry for piece in pieces for entry in piece.logprobs]
    assert [(entry.token, entry.offset) for entry in entries] == [(97, 0), (98, 1), (99, 2)]
    assert transcript.num_tokens == 7
    assert transcript.finish == "stop"


@given(tokens=st.lists(st.integers(0, 269), max_size=20), prompt=st.sampled_from([(1,), (1, 264, 265), (1, 259)]))
def test_entries_of_a_sentencepiece_answer_are_its_text(
    sentencepiece: Path, prompt: tuple[int, ...], tokens: list[int]
) -> None:
    tokenizer = Tokenizer.load(sentencepiece)
    transcript = Transcript(tokenizer.stream(prompt), ())
    piece = transcript.push(TokensCommitted(1, tuple(tokens), (-1.0,) * len(tokens), FinishReason.LENGTH, ROUND, 0))
    assert tokenizer.decode(prompt) + piece.text == tokenizer.decode((*prompt, *tokens))
    assert "".join(entry.text for entry in piece.logprobs) == piece.text
    starts = [sum(len(entry.text) for entry in piece.logprobs[:i]) for i in range(len(tokens))]
    assert [entry.offset for entry in piece.logprobs] == starts
    if "\ufffd" not in piece.text and prompt != (1,):
        assert b"".join(entry.data or b"" for entry in piece.logprobs) == piece.text.encode()


def test_split_character_belongs_to_the_token_that_completes_it(tokenizer: Tokenizer) -> None:
    _, pieces = show(tokenizer, [list("aé".encode()), [END_TOKEN - 1]], FinishReason.LENGTH)
    entries = [entry for piece in pieces for entry in piece.logprobs]
    assert [entry.text for entry in entries] == ["a", "", "é", ""]
    assert [entry.data for entry in entries] == [b"a", b"\xc3", b"\xa9", None]


def test_stop_strings_count_after_the_first_tokens_of_an_answer(tokenizer: Tokenizer) -> None:
    transcript = Transcript(tokenizer.stream(), ["ab"], min_tokens=3)
    piece = transcript.push(TokensCommitted(1, tuple(b"ababab"), (), FinishReason.LENGTH, ROUND, 0))
    assert (piece.text, transcript.num_tokens, piece.finish) == ("abab", 6, "stop")
