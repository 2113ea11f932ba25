"""Values survive their JSON form; what does not fit is a DataError."""

import json
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt
import pytest

from goodspeed.errors import DataError
from goodspeed.records.json_values import from_json_value, to_json_value


class Colour(IntEnum):
    """An enum, which becomes its number."""

    RED = 3


@dataclass(frozen=True)
class Sample:
    """One of each kind of field."""

    colour: Colour
    numbers: tuple[int, ...]
    array: npt.NDArray[np.uint16]
    name: str | None = None


def test_values_survive_their_json_form() -> None:
    sample = Sample(Colour.RED, (1, 2), np.array([3, 65_535], dtype=np.uint16))
    value = to_json_value(sample)
    assert json.dumps(value) == '{"colour": 3, "numbers": [1, 2], "array": [3, 65535], "name": null}'
    again = from_json_value(json.loads(json.dumps(value)), Sample)
    assert (again.colour, again.numbers, again.name) == (Colour.RED, (1, 2), None)
    assert again.array.dtype == np.uint16
    assert again.array.tolist() == [3, 65_535]


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ({"colour": 3, "numbers": [1]}, "no Sample: .*`array`"),
        ({"colour": 4, "numbers": [], "array": []}, "no Sample: .*4"),
        ([], "no Sample: Expected `object`"),
    ],
)
def test_a_value_that_does_not_fit_is_a_data_error(value: object, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        from_json_value(value, Sample)


def test_an_object_without_a_json_form_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="object has no JSON form"):
        to_json_value(object())
