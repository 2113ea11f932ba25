"""Dataclasses, structs and arrays as JSON values, and back."""

from typing import Any, get_args

import msgspec
import numpy as np

from goodspeed.errors import DataError


def to_json_value(value: object) -> Any:
    """Dataclasses and structs become dicts, enums numbers, arrays lists."""
    return msgspec.to_builtins(value, enc_hook=_array_to_list)


def from_json_value(value: object, value_class: type[Any]) -> Any:
    """The object of this class that to_json_value has converted. Raises DataError if the value does not fit."""
    try:
        return msgspec.convert(value, value_class, dec_hook=_array_from_list)
    except msgspec.ValidationError as error:
        raise DataError(f"no {value_class.__name__}: {error}") from error


def _array_to_list(value: object) -> object:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _array_from_list(array_class: type[Any], value: object) -> object:
    _, dtype = get_args(array_class)  # NDArray[np.uint32] is ndarray[shape, dtype[np.uint32]]
    return np.asarray(value, dtype=get_args(dtype)[0])
