import json
import threading
from collections.abc import Sequence

import pytest
from tests.engine.grammar.vocabulary import END_TOKEN, VOCAB_SIZE, compiler, encode, grammar, regex, schema, tokenizer

from goodspeed.decoding.constraint import MAX_CONSTRAINT_BYTES, MAX_CONSTRAINT_LINES, Constraint, ConstraintKind
from goodspeed.engine.grammar.compiler import MAX_CACHED, MAX_REFERENCES, GrammarCompiler
from goodspeed.errors import RequestError


def error_of(constraint: Constraint) -> RequestError:
    with pytest.raises(RequestError) as caught:
        compiler().check(constraint)
    return caught.value


@pytest.mark.parametrize(
    ("value", "path", "words"),
    [
        ({"type": "objekt"}, "", "objekt"),
        ({"type": "object", "properties": {"age": {"type": "int"}}}, "properties.age", "int"),
        (
            {"items": {"properties": {"a": {"anyOf": [{"type": "null"}, {"type": "string", "pattern": "("}]}}}},
            "items.properties.a.anyOf.1",
            "regex",
        ),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"properties": {"b": {"not": {}}}}}}, "$defs.a.properties.b", "not"),
        ({"prefixItems": [{}, {"enum": []}], "minItems": 2, "type": "array"}, "prefixItems.1", "Unsatisfiable"),
        ({"$ref": "#"}, "", "no answer"),
        ({"$ref": "#/$defs/missing"}, "", "missing"),
        ({"$ref": "https://example.com/schema.json"}, "", "example.com"),
        ([], "", "an object or a boolean"),
        (False, "", "Unsatisfiable"),
    ],
)
def test_a_wrong_schema_is_refused_with_the_path_of_what_is_wrong(value: object, path: str, words: str) -> None:
    error = error_of(schema(value))
    assert error.field == path
    assert words in str(error)


@pytest.mark.parametrize(
    "value",
    [
        {"type": "array", "uniqueItems": True},
        {"type": "array", "contains": {"type": "integer"}},
        {"type": "object", "dependentRequired": {"a": ["b"]}},
        {"if": {"type": "string"}, "then": {"maxLength": 2}},
        {"type": "object", "propertyNames": {"pattern": "^a"}},
        {"type": "object", "unevaluatedProperties": False},
        {"type": "string", "format": "a-format-that-nobody-knows"},
        {"oneOf": [{"type": "string"}, {"maxLength": 3}]},
        {"x-guidance": {"lenient": True}, "uniqueItems": True},
    ],
)
def test_a_keyword_that_is_not_supported_is_refused_and_not_ignored(value: dict[str, object]) -> None:
    assert error_of(schema(value))


@pytest.mark.parametrize("text", ["[", "(?=a)b", r"(a)\1", "a{5,2}", "*"])
def test_a_wrong_regular_expression_is_refused(text: str) -> None:
    assert "regex is wrong" in str(error_of(regex(text)))


@pytest.mark.parametrize(
    "text", ["", 'root ::= "', 'start: "a" | other', "root ::= root", "root ::= " + "(" * 5000 + '"a"' + ")" * 5000]
)
def test_a_wrong_grammar_is_refused(text: str) -> None:
    assert "grammar is wrong" in str(error_of(grammar(text)))


def test_text_that_is_no_json_is_refused() -> None:
    assert "not JSON" in str(error_of(Constraint(ConstraintKind.JSON_SCHEMA, "{'type': 'object'}")))


def nested(depth: int) -> str:
    return '{"items":' * depth + "{}" + "}" * depth


def chain(length: int) -> str:
    definitions: dict[str, object] = {f"d{i}": {"$ref": f"#/$defs/d{i + 1}"} for i in range(length)}
    return json.dumps({"$ref": "#/$defs/d0", "$defs": {**definitions, f"d{length}": {"type": "string"}}})


@pytest.mark.parametrize(
    "text",
    [nested(200), nested(10_000), chain(MAX_REFERENCES), chain(MAX_REFERENCES).replace("$ref", "\\u0024ref")],
    ids=["nested", "deeply nested", "references", "escaped references"],
)
def test_a_schema_that_would_exhaust_the_stack_is_refused(text: str) -> None:
    assert error_of(Constraint(ConstraintKind.JSON_SCHEMA, text))


def test_the_longest_chain_of_references_compiles_and_is_used_in_a_thread_with_a_small_stack() -> None:
    """As a thread of macOS has; the compiler recurses once for each reference."""
    found: list[Sequence[int]] = []

    def use() -> None:
        constraint = Constraint(ConstraintKind.JSON_SCHEMA, chain(MAX_REFERENCES - 1))
        found.append(compiler().matcher(constraint, (END_TOKEN,)).allowed().nonzero()[0].tolist())

    before = threading.stack_size(2**19)
    try:
        thread = threading.Thread(target=use)
        thread.start()
    finally:
        threading.stack_size(before)
    thread.join()
    assert found[0]
    assert encode('"')[0] in found[0]


def test_constraints_are_bounded_in_length() -> None:
    with pytest.raises(RequestError, match="bytes"):
        regex("a" * (MAX_CONSTRAINT_BYTES + 1))
    with pytest.raises(RequestError, match="lines"):
        grammar("\n" * MAX_CONSTRAINT_LINES)
    with pytest.raises(RequestError, match="surrogate"):
        regex("\ud800")


def test_an_object_of_many_optional_properties_is_served() -> None:
    compiler().check(schema({"type": "object", "properties": {f"p{i}": {"type": "string"} for i in range(1000)}}))


def test_only_the_latest_grammars_are_kept() -> None:
    own = GrammarCompiler(tokenizer().to_str(), VOCAB_SIZE, (END_TOKEN,))
    for i in range(MAX_CACHED + 3):
        own.check(regex(f"a{{{i}}}"))
    assert own.num_cached == MAX_CACHED


def test_an_answer_that_violates_its_constraint_has_failed() -> None:
    assert not compiler().matcher(regex("yes|no"), (END_TOKEN,), encode("ye")).failure
    assert compiler().matcher(regex("yes|no"), (END_TOKEN,), encode("maybe")).failure


def test_a_prepared_compiler_has_read_its_vocabulary() -> None:
    own = GrammarCompiler(tokenizer().to_str(), VOCAB_SIZE, (END_TOKEN,))
    own.prepare()
    assert "_tokenizer" in vars(own)
