"""Named choices: built-in ones, and those of other distributions."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from goodspeed.errors import ConfigError
from goodspeed.registry import Registry, _entry_points

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


def test_the_test_for_an_unknown_name_raises_nothing() -> None:
    assert "gradient" in REGISTRY
    assert "gradent" not in REGISTRY


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str, str], None]]:
    """Installs a distribution that has a module and entry points: install(name, source, entry points)."""

    def write(name: str, source: str, points: str) -> None:
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(points)
        (tmp_path / f"{name}.py").write_text(source)

    monkeypatch.syspath_prepend(tmp_path)
    _entry_points.cache_clear()
    yield write
    _entry_points.cache_clear()


def registry_with_plugins() -> Registry[int]:
    """The registry above, open to entry points."""
    return Registry("scheduler", dict(REGISTRY), group="goodspeed.scheduler")


def test_an_entry_point_is_a_choice(install: Callable[[str, str, str], None]) -> None:
    install("acme_one", "NUMBER = 7", "[goodspeed.scheduler]\nacme = acme_one:NUMBER\n")
    registry = registry_with_plugins()
    assert list(registry) == ["gradient", "fixed", "acme"]
    assert len(registry) == 3
    assert "acme_one" not in sys.modules  # listing the names loads nothing
    assert "acme" in registry
    assert registry["acme"] == 7
    with pytest.raises(ConfigError, match="unknown scheduler 'acmee'; did you mean 'acme'"):
        registry["acmee"]
    assert "acme" not in REGISTRY  # it has no group


def test_a_built_in_choice_wins_over_an_entry_point(install: Callable[[str, str, str], None]) -> None:
    install("acme_two", "raise RuntimeError", "[goodspeed.scheduler]\nfixed = acme_two:NUMBER\n")
    registry = registry_with_plugins()
    assert registry["fixed"] == 2
    assert list(registry) == ["gradient", "fixed"]


def test_an_entry_point_that_cannot_be_loaded_is_named(install: Callable[[str, str, str], None]) -> None:
    install("acme_three", "import no_such_module", "[goodspeed.scheduler]\nacme = acme_three:NUMBER\n")
    complaint = "cannot load scheduler 'acme', 'acme_three:NUMBER' of acme_three: ModuleNotFoundError.*no_such_module"
    with pytest.raises(ConfigError, match=complaint):
        registry_with_plugins()["acme"]


def test_two_entry_points_of_one_name_are_refused(install: Callable[[str, str, str], None]) -> None:
    for name in ("acme_four", "acme_five"):
        install(name, "NUMBER = 7", f"[goodspeed.scheduler]\nacme = {name}:NUMBER\n")
    with pytest.raises(ConfigError, match=r"scheduler 'acme' is defined twice: 'acme_.*' of acme_.* and 'acme_"):
        registry_with_plugins()["acme"]


def test_a_third_partys_policies_are_used_without_a_fork(install: Callable[[str, str, str], None]) -> None:
    """In a process of its own: the registries of the package keep what they have loaded."""
    install(
        "acme_policies",
        "from goodspeed.routing.failover import Failover\nfrom goodspeed.scheduling.fixed import FixedScheduler\n"
        "from goodspeed.windows.fixed import FixedWindow\n\n"
        "class MyScheduler(FixedScheduler):\n    pass\n\n"
        "class MyRouting(Failover):\n    pass\n\n"
        "def my_window(config):\n    return FixedWindow(config.max_tokens)\n",
        "[goodspeed.scheduler]\nmine = acme_policies:MyScheduler\n[goodspeed.routing]\nmine = acme_policies:MyRouting\n"
        "[goodspeed.window]\nmine = acme_policies:my_window\n",
    )
    program = """
from goodspeed.config import from_mapping
from goodspeed.drafter.core.core_config import DrafterCoreConfig
from goodspeed.routing.policies import ROUTINGS
from goodspeed.scheduling.policies import SCHEDULERS
from goodspeed.verifier.core.core_config import VerifierCoreConfig
from goodspeed.windows.policies import WINDOWS, WindowConfig, window_policy

from_mapping(VerifierCoreConfig, {"scheduler": "mine"})
from_mapping(DrafterCoreConfig, {"routing": "mine", "window": {"policy": "mine"}})
assert type(SCHEDULERS["mine"]()).__name__ == "MyScheduler"
assert type(ROUTINGS["mine"]()).__name__ == "MyRouting"
assert type(window_policy(WindowConfig("mine"))).__name__ == "FixedWindow"
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)
