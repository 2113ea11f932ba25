"""Named choices."""

import pytest

from goodspeed.errors import ConfigError
from goodspeed.registry import Registry

REGISTRY = Registry("scheduler", {"gradient": 1, "fixed": 2})


def test_known_name_is_found() -> None:
    assert REGISTRY["fixed"] == 2
    assert list(REGISTRY) == ["gradient", "fixed"]


def test_near_miss_gets_a_hint() -> None:
    with pytest.raises(ConfigError, match="unknown scheduler 'gradent'; did you mean 'gradient'"):
        REGISTRY["gradent"]


def test_far_miss_gets_the_list() -> None:
    with pytest.raises(ConfigError, match="known: fixed, gradient"):
        REGISTRY["zzz"]


def test_asking_whether_a_name_is_known_raises_nothing() -> None:
    assert "gradient" in REGISTRY
    assert "gradent" not in REGISTRY
