"""Dataclasses and arrays as JSON values and back."""

from typing import Any, get_args

import msgspec
import numpy as np


def to_json_value(value: object) -> Any:
    """Dataclasses become objects, enums numbers, tuples and arrays lists."""
    return msgspec.to_builtins(value, enc_hook=_array_to_plain)


def from_json_value(value: object, kind: type[Any]) -> Any:
    """The inverse for a known dataclass. Raises msgspec.ValidationError."""
    return msgspec.convert(value, kind, dec_hook=_array_from_plain)


def _array_to_plain(value: object) -> object:
    assert isinstance(value, np.ndarray | np.generic), f"{type(value).__name__} has no plain form"
    return value.tolist()


def _array_from_plain(kind: type[Any], value: object) -> object:
    _, dtype = get_args(kind)  # NDArray[np.uint32] is ndarray[shape, dtype[np.uint32]]
    return np.asarray(value, dtype=get_args(dtype)[0])
