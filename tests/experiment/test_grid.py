"""Grids over a scenario's keys."""

from typing import Any

import pytest

from goodspeed.errors import ConfigError
from goodspeed.experiment.grid import Axis, GridCell, cells

SCENARIO: dict[str, Any] = {
    "duration_s": 60.0,
    "drafters": [{"name": "phone", "link": {"rtt_ms": 60.0}}, {"name": "laptop", "link": {"rtt_ms": 5.0}}],
}


def _with(path: str, value: Any) -> dict[str, Any]:
    return GridCell(((path, value),)).applied_to(SCENARIO)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a=1,2.5", (1, 2.5)),
        ("a=fixed,gradient", ("fixed", "gradient")),
        ("a=true,false", (True, False)),
        ("a='x,y',\"z\"", ("x,y", "z")),
        ("a=[1,2],[3]", ([1, 2], [3])),
        ("a=5,off", (5, "off")),
    ],
)
def test_values_are_toml_and_bare_words_are_strings(text: str, values: tuple[Any, ...]) -> None:
    assert Axis.parse(text) == Axis("a", values)


@pytest.mark.parametrize("text", ["a", "a=", "=1", "a=1,1"])
def test_text_that_is_not_an_axis_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="set is"):
        Axis.parse(text)


def test_cells_are_all_combinations_and_the_last_axis_varies_fastest() -> None:
    grid = cells([Axis("a", (1, 2)), Axis("b", ("x", "y"))])
    assert [cell.name for cell in grid] == ["a=1, b=x", "a=1, b=y", "a=2, b=x", "a=2, b=y"]
    assert [cell.name for cell in cells([])] == ["as written"]


def test_a_cell_is_named_after_the_last_parts_of_its_paths() -> None:
    assert cells([Axis("a.b.rate", (1,)), Axis("a.count", (2,))])[0].name == "rate=1, count=2"
    assert cells([Axis("a.rate", (1,)), Axis("b.rate", (2,))])[0].name == "a.rate=1, b.rate=2"


def test_an_axis_that_occurs_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="a is set twice"):
        cells([Axis("a", (1,)), Axis("a", (2,))])


def test_a_value_is_set_at_its_path() -> None:
    assert _with("duration_s", 5.0)["duration_s"] == 5.0
    assert _with("drafters.1.link.rtt_ms", 9)["drafters"][1] == {"name": "laptop", "link": {"rtt_ms": 9}}
    assert _with("drafters.phone.link.rtt_ms", 9)["drafters"][0]["link"] == {"rtt_ms": 9}
    assert [tier["link"]["rtt_ms"] for tier in _with("drafters.*.link.rtt_ms", 9)["drafters"]] == [9, 9]
    assert _with("drafters.0.window.policy", "fixed")["drafters"][0]["window"] == {"policy": "fixed"}


def test_the_original_scenario_is_not_changed() -> None:
    _with("drafters.0.link.rtt_ms", 9)
    assert SCENARIO["drafters"][0]["link"]["rtt_ms"] == 60.0


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("drafters.phon.link.rtt_ms", "no entry 'phon'; did you mean 'phone'"),
        ("drafters.2.link.rtt_ms", "no entry '2'"),
        ("drafters.0", "ends at an entry of a list"),
        ("duration_s.x", "continues below 60.0"),
    ],
)
def test_a_path_that_does_not_exist_is_refused(path: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _with(path, 1)
