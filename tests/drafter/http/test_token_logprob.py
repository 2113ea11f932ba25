"""Names of likely tokens in the answers of completions."""

from goodspeed.decoding.logprobs import TopTokens
from goodspeed.drafter.http.token_logprob import Scored, token_logprob
from goodspeed.engine.toy_model import END_TOKEN
from goodspeed.models.tokenizer import Tokenizer


def test_likeliest_tokens_are_named_apart(tokenizer: Tokenizer) -> None:
    """The chosen token completes a character; others are bytes, a letter and a special token."""
    detokenizer = tokenizer.stream()
    detokenizer.push_token("é".encode()[0])
    chosen = "é".encode()[1]
    added = detokenizer.push_token(chosen)
    top = TopTokens((chosen, 0xC3, ord("a"), END_TOKEN), (-0.5, -1.0, -1.5, -2.0))
    entry = token_logprob(chosen, added, 0, Scored(-0.5, top), detokenizer)
    assert entry.by_text == {"é": -0.5, "bytes:\\xc3": -1.0, "a": -1.5, "<|im_end|>": -2.0}


def test_tokens_of_the_same_text_do_not_hide_each_other(tokenizer: Tokenizer) -> None:
    detokenizer = tokenizer.stream()
    added = detokenizer.push_token(ord("a"))
    entry = token_logprob(9999, added, 0, Scored(-0.5, TopTokens((ord("a"),), (-0.25,))), detokenizer)
    assert entry.by_text == {"a": -0.5, "bytes:\\x61": -0.25}
