"""Finds the part of a JSON schema that is at fault, for error messages."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

OF_NAMES = ("properties", "patternProperties", "$defs", "definitions")
OF_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems", "items")
OF_SCHEMAS = ("items", "additionalProperties", "additionalItems", "not")
DEFINITIONS = ("$defs", "definitions")
MAX_ATTEMPTS = 500
MAX_SEARCH_S = 1.0
"""Others wait for the compiler: a search that takes longer ends with the part that it has reached."""

Path = tuple[str, ...]


def locate(schema: object, error_of: Callable[[object], str]) -> tuple[Path, str]:
    """The path of the innermost part of the schema that is wrong by itself, and its error.

    `error_of` says what is wrong with a schema, "" if nothing is; it is called at most MAX_ATTEMPTS times, and no more
    after MAX_SEARCH_S.
    """
    return _Search(schema, error_of).descend((), schema, error_of(schema))


class _Search:
    def __init__(self, root: object, error_of: Callable[[object], str]) -> None:
        self._definitions = {name: root[name] for name in DEFINITIONS if isinstance(root, dict) and name in root}
        self._error_of = error_of
        self._num_left = MAX_ATTEMPTS
        self._until = time.monotonic() + MAX_SEARCH_S
        self._visited: set[Path] = set()

    def descend(self, path: Path, schema: object, error: str) -> tuple[Path, str]:
        for name, part in self._parts(path, schema):
            if name in self._visited:
                continue
            if self._num_left == 0 or time.monotonic() > self._until:
                break
            self._num_left -= 1
            self._visited.add(name)
            found = self._error_of({**self._definitions, **part} if isinstance(part, dict) else part)
            if found:
                return self.descend(name, part, found)
        return path, error

    def _parts(self, path: Path, schema: object) -> Iterator[tuple[Path, object]]:
        if not isinstance(schema, dict):
            return
        reference = schema.get("$ref")
        if isinstance(reference, str) and reference.startswith("#/"):
            yield from self._definition(tuple(reference[2:].split("/")))
        for key in OF_NAMES:
            if isinstance(schema.get(key), dict):
                yield from (((*path, key, str(name)), part) for name, part in schema[key].items())
        for key in OF_LISTS:
            if isinstance(schema.get(key), list):
                yield from (((*path, key, str(i)), part) for i, part in enumerate(schema[key]))
        for key in OF_SCHEMAS:
            if isinstance(schema.get(key), dict):
                yield (*path, key), schema[key]

    def _definition(self, path: Path) -> Iterator[tuple[Path, object]]:
        part: Any = self._definitions
        for name in path:
            part = part.get(name) if isinstance(part, Mapping) else None
        if part is not None:
            yield path, part
