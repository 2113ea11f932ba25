"""Answers of every kind of tokenizer satisfy the pattern as the detokenizer writes them."""

import re
from pathlib import Path

import numpy as np
import pytest

from goodspeed.decoding.constraint import Constraint, ConstraintKind
from goodspeed.engine.grammar.compiler import GrammarCompiler
from goodspeed.engine.toy_tokenizer import toy_tokenizer
from goodspeed.models.tokenizer import Tokenizer

PATTERNS = ["(ab|a b|c){2,4}é!", " ?[a-c ]{3,9}世", r'\{"a": (1|2|null), "é": "[abc世 ]{0,4}"\}']


def text_of(tokenizer: Tokenizer, pattern: str, seed: int) -> str:
    """A random answer to a prompt."""
    (end,) = tokenizer.end_tokens
    compiler = GrammarCompiler(tokenizer.to_json(), tokenizer.vocab_size, (end,))
    matcher = compiler.matcher(Constraint(ConstraintKind.REGEX, pattern), (end,))
    rng = np.random.default_rng(seed)
    detokenizer = tokenizer.stream(tokenizer.encode("a b"))
    text = ""
    while (token := int(rng.choice(np.flatnonzero(matcher.allowed())))) != end:
        matcher.commit([token])
        text += detokenizer.push([token])
    return text + detokenizer.flush()


@pytest.mark.parametrize("pattern", PATTERNS)
def test_sentencepiece(sentencepiece: Path, pattern: str) -> None:
    tokenizer = Tokenizer.load(sentencepiece)
    for seed in range(20):
        assert re.fullmatch(pattern, text_of(tokenizer, pattern, seed))


@pytest.mark.parametrize("pattern", PATTERNS)
def test_bytes(tmp_path: Path, pattern: str) -> None:
    toy_tokenizer(tmp_path)
    tokenizer = Tokenizer.load(tmp_path)
    for seed in range(20):
        assert re.fullmatch(pattern, text_of(tokenizer, pattern, seed))
