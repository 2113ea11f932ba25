"""Bounds of numbers that llguidance 1.9 reads wrongly, in a form that it reads rightly.

Of {"exclusiveMinimum": 0, "maximum": 0.5} it allows 0: a whole exclusive bound is lost where the other bound is not
whole and no further than 1 away.
"""

from typing import Any

BOUND_MARGIN = 1e-9
"""So much further inside is the inclusive bound that takes the place of an exclusive one."""
VALUES = ("enum", "const", "default", "examples")
"""Keywords whose values are not schemas."""


def with_inclusive_bounds(schema: Any) -> Any:
    """The schema with inclusive bounds of numbers in place of those exclusive ones, in all its parts."""
    if isinstance(schema, list):
        return [with_inclusive_bounds(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    changed = {name: part if name in VALUES else with_inclusive_bounds(part) for name, part in schema.items()}
    return _inclusive(changed) if changed.get("type") != "integer" else changed


def _inclusive(schema: dict[str, Any]) -> dict[str, Any]:
    lower, upper = _exclusive(schema, "minimum"), _exclusive(schema, "maximum")
    least, most = _number(schema, "minimum"), _number(schema, "maximum")
    if lower is not None and _is_lost(lower, upper if most is None else most):
        schema = {**schema, "minimum": lower + BOUND_MARGIN, "exclusiveMinimum": False}
    if upper is not None and _is_lost(upper, lower if least is None else least):
        schema = {**schema, "maximum": upper - BOUND_MARGIN, "exclusiveMaximum": False}
    return schema


def _is_lost(bound: float, other: float | None) -> bool:
    return other is not None and bound == int(bound) and abs(bound - other) <= 1


def _exclusive(schema: dict[str, Any], name: str) -> float | None:
    """The exclusive bound; in draft 4 that is the inclusive one beside `true`."""
    exclusive = f"exclusive{name.capitalize()}"
    return _number(schema, name if schema.get(exclusive) is True else exclusive)


def _number(schema: dict[str, Any], name: str) -> float | None:
    """The bound of that name, if it is one and not a property of that name."""
    value = schema.get(name)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
