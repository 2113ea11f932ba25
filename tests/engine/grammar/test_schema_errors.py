from goodspeed.engine.grammar.schema_errors import MAX_ATTEMPTS, locate


def is_bad(schema: object) -> str:
    """A schema is wrong if "bad" is anywhere in it."""
    return "bad" if "bad" in repr(schema) else ""


def test_the_innermost_wrong_part_is_found() -> None:
    schema = {"properties": {"a": {"type": "string"}, "b": {"items": {"anyOf": [{}, {"type": "bad"}]}}}}
    assert locate(schema, is_bad) == (("properties", "b", "items", "anyOf", "1"), "bad")
    assert locate({"type": "bad"}, is_bad) == ((), "bad")


def test_a_schema_that_refers_to_itself_ends_the_search() -> None:
    schema = {"$ref": "#/$defs/a", "$defs": {"a": {"items": {"$ref": "#/$defs/a"}, "type": "bad"}}}
    path, error = locate(schema, is_bad)
    assert path[:2] == ("$defs", "a")
    assert error == "bad"


def test_the_search_is_bounded() -> None:
    calls = []

    def error_of(schema: object) -> str:
        calls.append(schema)
        return "bad" if len(calls) == 1 else ""

    locate({"properties": {str(i): {} for i in range(10 * MAX_ATTEMPTS)}}, error_of)
    assert len(calls) == MAX_ATTEMPTS + 1
