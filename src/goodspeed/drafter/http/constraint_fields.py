"""The fields of a request that constrain its answer: those of OpenAI, vLLM, SGLang and llama.cpp."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from goodspeed.decoding.constraint import ANY_JSON_OBJECT, Constraint, ConstraintKind
from goodspeed.drafter.http.errors import ApiError
from goodspeed.engine.grammar.grammars import Grammars, check_constraint
from goodspeed.errors import RequestError

Schema = dict[str, Any] | bool
COMPACT = {"whitespace_pattern": None, "whitespace_flexible": False, "item_separator": ",", "key_separator": ":"}
"""llguidance's options for JSON without white space."""


class NamedSchema(msgspec.Struct, forbid_unknown_fields=True):
    """OpenAI's json_schema. The schema holds whether or not it is `strict`."""

    schema: Schema
    name: str | None = None
    description: str | None = None
    strict: bool | None = None


class ResponseFormat(msgspec.Struct, forbid_unknown_fields=True):
    """OpenAI's response_format; `schema` is llama.cpp's."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: NamedSchema | None = None
    schema: Schema | None = None


class StructuredOutputs(msgspec.Struct, forbid_unknown_fields=True):
    """vLLM's structured_outputs."""

    json: Schema | str | None = None
    regex: str | None = None
    choice: list[str] | None = None
    grammar: str | None = None
    json_object: bool | None = None
    disable_fallback: bool | None = None
    disable_any_whitespace: bool | None = None
    disable_additional_properties: Literal[False] | None = None


class ConstraintBody(msgspec.Struct, kw_only=True):
    """The constraining fields of both kinds of request; at most one may be set."""

    response_format: ResponseFormat | None = None
    structured_outputs: StructuredOutputs | None = None
    guided_json: Schema | str | None = None
    guided_regex: str | None = None
    guided_choice: list[str] | None = None
    guided_grammar: str | None = None
    json_schema: Schema | str | None = None
    regex: str | None = None
    ebnf: str | None = None
    grammar: str | None = None


@dataclass(frozen=True, slots=True)
class FieldConstraint:
    """A constraint and the path of the field that it comes from, such as response_format.json_schema.schema."""

    field: str
    constraint: Constraint

    def check(self, grammars: Grammars | None) -> None:
        """Compile it, which may take a second. Raises ApiError, which says where it is wrong."""
        try:
            check_constraint(grammars, self.constraint)
        except RequestError as error:
            path = f"{self.field}.{error.field}" if error.field else self.field
            raise ApiError(400, f"{self.field}: {error}", path, "invalid_value") from error


def field_constraint(body: ConstraintBody) -> FieldConstraint | None:
    """What constrains the answer; None: nothing. Raises ApiError, before anything is compiled."""
    set_fields = list(_set_fields(body))
    if len(set_fields) > 1:
        names = " and ".join(field.field for field in set_fields[:2])
        raise ApiError(400, f"{names} are both set, expected one constraint at most", set_fields[1].field)
    return set_fields[0] if set_fields else None


def _set_fields(body: ConstraintBody) -> Iterator[FieldConstraint]:
    """An empty text or list requests nothing."""
    if body.response_format:
        yield from _response_format(body.response_format)
    if body.structured_outputs:
        yield from _structured_outputs(body.structured_outputs)
    for name, schema in (("guided_json", body.guided_json), ("json_schema", body.json_schema)):
        if schema is not None and schema != "":
            yield _json_schema(name, schema)
    for name, pattern in (("guided_regex", body.guided_regex), ("regex", body.regex)):
        if pattern:
            yield _constraint(name, ConstraintKind.REGEX, pattern)
    if body.guided_choice:
        yield _choice("guided_choice", body.guided_choice)
    for name, grammar in (
        ("guided_grammar", body.guided_grammar),
        ("ebnf", body.ebnf),
        ("grammar", body.grammar),
    ):
        if grammar:
            yield _constraint(name, ConstraintKind.GRAMMAR, grammar)


def _response_format(given: ResponseFormat) -> Iterator[FieldConstraint]:
    if given.type == "text":
        return
    if given.json_schema is not None:
        yield _json_schema("response_format.json_schema.schema", given.json_schema.schema)
    elif given.schema is not None:
        yield _json_schema("response_format.schema", given.schema)
    elif given.type == "json_object":
        yield FieldConstraint("response_format", ANY_JSON_OBJECT)
    else:
        field = "response_format.json_schema"
        raise ApiError(400, f"{field} is missing", field, "missing_required_parameter")


def _structured_outputs(given: StructuredOutputs) -> Iterator[FieldConstraint]:
    if given.json is not None and given.json != "":
        yield _json_schema("structured_outputs.json", given.json, is_compact=bool(given.disable_any_whitespace))
    if given.json_object:
        yield FieldConstraint("structured_outputs.json_object", ANY_JSON_OBJECT)
    if given.regex:
        yield _constraint("structured_outputs.regex", ConstraintKind.REGEX, given.regex)
    if given.choice:
        yield _choice("structured_outputs.choice", given.choice)
    if given.grammar:
        yield _constraint("structured_outputs.grammar", ConstraintKind.GRAMMAR, given.grammar)


def _json_schema(field: str, schema: object, *, is_compact: bool = False) -> FieldConstraint:
    """`is_compact`: without white space between the tokens of JSON."""
    if is_compact and isinstance(schema, dict):
        schema = {**schema, "x-guidance": COMPACT}
    text = schema if isinstance(schema, str) else msgspec.json.encode(schema).decode()
    return _constraint(field, ConstraintKind.JSON_SCHEMA, text)


def _choice(field: str, choices: list[str]) -> FieldConstraint:
    return _constraint(field, ConstraintKind.REGEX, "|".join(map(re.escape, choices)))


def _constraint(field: str, kind: ConstraintKind, text: str) -> FieldConstraint:
    try:
        return FieldConstraint(field, Constraint(kind, text))
    except RequestError as error:
        raise ApiError(400, f"{field}: {error}", field, "invalid_value") from error
