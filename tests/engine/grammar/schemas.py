"""Random JSON schemas of the keywords that users write, every one of which some answer satisfies."""

import random
from collections.abc import Callable
from typing import Any

Schema = dict[str, Any]
NAMES = ("name", "age", "is_active", "tags", "address", "city", "score", 'a "quoted" name', "größe", "")
PATTERNS = ("^[a-z]{2,5}$", "^(yes|no)-[0-9]+$", "[A-Z]", r"^\d{4}-\d{2}$")
FORMATS = ("date", "time", "date-time", "uuid", "email", "ipv4")
MAX_DEPTH = 3


def random_schema(seed: int) -> Schema:
    """The schema of this number; an object at its top, mostly."""
    rng = random.Random(seed)
    is_object = rng.random() < 0.8
    schema = _object(rng, 0) if is_object else _any(rng, 0)
    if is_object and rng.random() < 0.2:
        schema = {**schema, "$defs": {"node": _recursive(rng)}}
        schema["properties"]["child"] = {"$ref": "#/$defs/node"}
    return schema


def _any(rng: random.Random, depth: int) -> Schema:
    kinds: list[Callable[[random.Random, int], Schema]] = [_string, _number, _integer, _literal, _boolean]
    if depth < MAX_DEPTH:
        kinds += [_object, _array, _union, _all]
    return rng.choice(kinds)(rng, depth)


def _object(rng: random.Random, depth: int) -> Schema:
    names = rng.sample(NAMES, rng.randint(0, 4))
    schema: Schema = {
        "type": "object",
        "properties": {name: _any(rng, depth + 1) for name in names},
        "required": [name for name in names if rng.random() < 0.7],
    }
    extra = rng.random()
    if extra < 0.6:
        schema["additionalProperties"] = False
    elif extra < 0.7:
        schema["additionalProperties"] = _any(rng, depth + 1)
    if rng.random() < 0.1:
        schema["patternProperties"] = {"^x_[a-z]{1,3}$": {"type": "integer"}}
    return schema


def _array(rng: random.Random, depth: int) -> Schema:
    least = rng.randint(0, 2)
    schema: Schema = {"type": "array", "items": _any(rng, depth + 1), "minItems": least}
    if rng.random() < 0.7:
        schema["maxItems"] = least + rng.randint(0, 3)
    if rng.random() < 0.2:
        schema["prefixItems"] = [_any(rng, depth + 1)]
    return schema


def _union(rng: random.Random, depth: int) -> Schema:
    if rng.random() < 0.5:
        return {"type": rng.sample(["string", "null", "boolean", "integer"], 2)}
    return {"anyOf": [_any(rng, depth + 1) for _ in range(rng.randint(1, 3))]}


def _all(rng: random.Random, _depth: int) -> Schema:
    return {"allOf": [{"type": "string", "minLength": rng.randint(0, 3)}, {"maxLength": rng.randint(4, 9)}]}


def _string(rng: random.Random, _depth: int) -> Schema:
    kind = rng.random()
    if kind < 0.2:
        return {"type": "string", "pattern": rng.choice(PATTERNS)}
    if kind < 0.35:
        return {"type": "string", "format": rng.choice(FORMATS)}
    least = rng.randint(0, 5)
    return {"type": "string", "minLength": least, "maxLength": least + rng.randint(0, 12)}


def _number(rng: random.Random, _depth: int) -> Schema:
    least = rng.choice([-10.5, 0, 0.25, 3])
    schema: Schema = {"type": "number", rng.choice(["minimum", "exclusiveMinimum"]): least}
    if rng.random() < 0.6:
        schema[rng.choice(["maximum", "exclusiveMaximum"])] = least + rng.choice([0.5, 7, 1000])
    return schema


def _integer(rng: random.Random, _depth: int) -> Schema:
    least = rng.randint(-1000, 1000)
    schema: Schema = {"type": "integer", "minimum": least, "maximum": least + rng.randint(0, 5000)}
    if rng.random() < 0.2:
        schema = {"type": "integer", "multipleOf": rng.choice([2, 5, 10])}
    return schema


def _literal(rng: random.Random, _depth: int) -> Schema:
    known: list[object] = ["yes", "no", 3, 2.5, None, True, ["a", 1], {"b": {}}, 'with "quotes"\n', "größe", ""]
    values = rng.sample(known, 3)
    return {"enum": values} if rng.random() < 0.7 else {"const": values[0]}


def _boolean(_rng: random.Random, _depth: int) -> Schema:
    return {"type": "boolean"}


def _recursive(rng: random.Random) -> Schema:
    children = {"type": "array", "items": {"$ref": "#/$defs/node"}, "maxItems": 2}
    return {
        "type": "object",
        "properties": {"value": _string(rng, 0), "children": children},
        "required": ["value"],
        "additionalProperties": False,
    }
