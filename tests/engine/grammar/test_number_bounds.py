import pytest
from tests.engine.grammar.vocabulary import END_TOKEN, compiler, encode, schema

from goodspeed.engine.grammar.number_bounds import with_inclusive_bounds


def is_answer(value: object, text: str) -> bool:
    matcher = compiler().matcher(schema(value), (END_TOKEN,), encode(text))
    return not matcher.failure and bool(matcher.allowed()[END_TOKEN])


@pytest.mark.parametrize(
    ("bounds", "inside", "outside"),
    [
        ({"exclusiveMinimum": 0, "maximum": 0.5}, ["0.1", "0.5"], ["0", "0.0", "0.51"]),
        ({"exclusiveMinimum": 3.0, "exclusiveMaximum": 3.4}, ["3.1", "3.39"], ["3", "3.0", "3.4"]),
        ({"minimum": -10.5, "exclusiveMaximum": -10}, ["-10.5", "-10.2"], ["-10", "-10.0", "-11"]),
        ({"minimum": -0.5, "exclusiveMaximum": 0}, ["-0.1", "-0.5"], ["0", "-0.0", "1"]),
        ({"exclusiveMinimum": 2.5, "exclusiveMaximum": 7}, ["2.6", "6"], ["2.5", "2.50", "7", "7.0"]),
        ({"minimum": 0, "exclusiveMinimum": True, "maximum": 0.5}, ["0.1", "0.5"], ["0", "0.0", "0.51"]),
        ({"exclusiveMinimum": 3}, ["3.1", "4"], ["3", "3.0", "2"]),
        ({"minimum": 3, "maximum": 3.4}, ["3", "3.0", "3.4"], ["2", "3.5"]),
    ],
)
def test_numbers_are_within_their_bounds(bounds: dict[str, float], inside: list[str], outside: list[str]) -> None:
    for text in inside:
        assert is_answer({"type": "number", **bounds}, text), text
        assert is_answer({"type": "array", "items": {"type": "number", **bounds}}, f"[{text}]"), text
    for text in outside:
        assert not is_answer({"type": "number", **bounds}, text), text


def test_values_and_names_that_look_like_bounds_stay() -> None:
    value = {
        "properties": {
            "exclusiveMinimum": {"type": "string"},
            "maximum": {"const": {"exclusiveMinimum": 0, "maximum": 1}},
        },
        "type": "object",
    }
    assert with_inclusive_bounds(value) == value


def test_whole_numbers_keep_exclusive_bounds() -> None:
    value = {"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 5}
    assert with_inclusive_bounds(value) == value
