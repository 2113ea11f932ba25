import numpy as np
import numpy.typing as npt
import pytest
from tests.engine.grammar.vocabulary import (
    END_TOKEN,
    OTHER_END_TOKEN,
    VOCAB_SIZE,
    compiler,
    decode,
    encode,
    grammar,
    regex,
    schema,
)

from goodspeed.decoding.constraint import Constraint
from goodspeed.engine.grammar.matcher import Matcher

PERSON = schema(
    {
        "type": "object",
        "properties": {"name": {"type": "string"}, "age": {"type": "integer"}, "kind": {"enum": ["yes", "yesterday"]}},
        "required": ["name", "age", "kind"],
        "additionalProperties": False,
    }
)
CONSTRAINTS = [
    PERSON,
    schema({"type": "object"}),
    schema({"type": "array", "items": {"type": ["number", "null"]}, "minItems": 1, "maxItems": 3}),
    regex(r"(yes|no|maybe), the name is [a-z]{0,10}\."),
    grammar('start: "The answer is " NUMBER " engines" [" and the address"]\nNUMBER: /[0-9]+/'),
    grammar('root ::= "yes" | "the " root'),
]


def matcher(constraint: Constraint, answer: str = "", end_tokens: tuple[int, ...] = (END_TOKEN,)) -> Matcher:
    return compiler().matcher(constraint, end_tokens, encode(answer))


def allowed_after(constraint: Constraint, answer: str) -> list[int]:
    return np.flatnonzero(matcher(constraint, answer).allowed()).tolist()


def random_logits(rng: np.random.Generator, num_rows: int = 1) -> npt.NDArray[np.float32]:
    return rng.standard_normal((num_rows, VOCAB_SIZE), dtype=np.float32)


def test_padding_is_never_allowed() -> None:
    assert not matcher(regex(".*")).allowed()[600:].any()


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_what_is_allowed_does_not_depend_on_the_way_to_the_committed_text(constraint: Constraint) -> None:
    rng = np.random.default_rng(1)
    tried, tokens = matcher(constraint), list[int]()
    for _ in range(60):
        for _ in range(int(rng.integers(4))):  # drafts of valid and of other tokens, which are rolled back
            candidates = np.flatnonzero(tried.allowed()) if rng.random() < 0.8 else np.arange(VOCAB_SIZE)
            drafted = [int(token) for token in rng.choice(candidates, 3)]
            tried.apply(random_logits(rng, 4), drafted)
        fresh = compiler().matcher(constraint, (END_TOKEN,), tokens)
        allowed = fresh.allowed()
        assert np.array_equal(tried.allowed(), allowed)
        assert tried.forced() == fresh.forced()
        token = int(rng.choice(np.flatnonzero(allowed)))
        if token == END_TOKEN:
            return
        tried.commit([token])
        tokens.append(token)


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_forced_tokens_are_the_only_ones_allowed(constraint: Constraint) -> None:
    rng = np.random.default_rng(2)
    num_forced = 0
    for _ in range(20):
        tried = matcher(constraint)
        for _ in range(40):
            for token in tried.forced():
                assert np.flatnonzero(tried.allowed()).tolist() == [token]
                num_forced += 1
                tried.commit([token])
            token = int(rng.choice(np.flatnonzero(tried.allowed())))
            tried.commit([token])
            if token == END_TOKEN:
                break
    assert num_forced > 0 or constraint is CONSTRAINTS[1]


def test_each_row_is_masked_for_the_text_before_it() -> None:
    draft = encode('{"name": "Ada"')
    logits = random_logits(np.random.default_rng(3), len(draft) + 1)
    matcher(PERSON).apply(logits, draft)
    for i, row in enumerate(logits):
        expected = compiler().matcher(PERSON, (END_TOKEN,), draft[:i]).allowed()
        assert np.array_equal(np.isfinite(row), expected)


def test_a_draft_token_that_is_not_allowed_is_rejected_at_its_row() -> None:
    wrong = encode("wrong")[0]
    logits = random_logits(np.random.default_rng(4), 3)
    tried = matcher(PERSON)
    tried.apply(logits, [wrong, wrong])
    assert not np.isfinite(logits[0, wrong])
    assert np.array_equal(tried.allowed(), matcher(PERSON).allowed())


def test_end_tokens_are_allowed_exactly_where_the_grammar_may_end() -> None:
    constraint = regex("yes( no)*")
    assert END_TOKEN not in allowed_after(constraint, "ye")
    assert END_TOKEN in allowed_after(constraint, "yes")
    assert END_TOKEN not in allowed_after(constraint, "yes n")
    assert END_TOKEN in allowed_after(constraint, "yes no")


def test_an_end_token_is_forced_where_the_grammar_must_end() -> None:
    ended = matcher(PERSON, '{"name": "Ada", "age": 36, "kind": "yesterday"}')
    assert np.flatnonzero(ended.allowed()).tolist() == [END_TOKEN]
    assert ended.forced() == [END_TOKEN]


def test_of_several_end_tokens_none_is_forced() -> None:
    assert matcher(regex("yes"), "yes", (END_TOKEN, OTHER_END_TOKEN)).forced() == []


def test_what_follows_an_end_token_is_not_constrained() -> None:
    logits = random_logits(np.random.default_rng(5), 3)
    matcher(regex("yes"), "yes").apply(logits, [END_TOKEN, 7])
    assert np.isfinite(logits[1:]).all()
    assert not np.isfinite(logits[0]).all()


def test_a_text_token_that_ends_the_answer_is_allowed_where_the_grammar_has_it() -> None:
    quote = encode('"')[0]
    assert matcher(schema({"type": "string"}), "", (END_TOKEN, quote)).allowed()[quote]


def test_whitespace_between_json_tokens_is_bounded() -> None:
    constraint = schema({"type": "object"})
    space, newline = encode(" ")[0], encode("\n")[0]
    assert space in allowed_after(constraint, "{")
    assert space not in allowed_after(constraint, "{ ")
    assert newline not in allowed_after(constraint, "{\n")
    assert space in allowed_after(constraint, "{\n" + " " * 31)
    assert space not in allowed_after(constraint, "{\n" + " " * 32)
    assert not {space, newline} & set(allowed_after(constraint, '{"name": 1}'))
    assert not {space, newline} & set(allowed_after(constraint, ""))


def test_a_committed_token_outside_the_grammar_is_a_failure_and_masks_nothing_more() -> None:
    broken = matcher(PERSON, "wrong")
    assert "grammar" in broken.failure
    logits = random_logits(np.random.default_rng(6))
    broken.apply(logits, [])
    assert np.isfinite(logits).all()


def test_a_resumed_answer_continues_where_it_was() -> None:
    answer = '{"name": "Ada", '
    resumed, continued = matcher(PERSON, answer), matcher(PERSON)
    continued.commit(encode(answer))
    assert np.array_equal(resumed.allowed(), continued.allowed())
    assert decode(resumed.forced()).startswith('"age')
