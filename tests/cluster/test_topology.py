"""The flags of a cluster's servers."""

from pathlib import Path

import pytest

from goodspeed.cluster.topology import ServerOptions
from goodspeed.errors import ConfigError


def test_configuration_files_are_validated_before_a_server_starts(tmp_path: Path) -> None:
    path = tmp_path / "server.toml"
    path.write_text("[core]\nbudget = -1\n")
    with pytest.raises(ConfigError, match=r"server.toml: core.budget is -1, expected 0 or more"):
        ServerOptions("toy", 0.8, verifier_config=str(path)).verifier_flags("gradient")
    path.write_text("[window]\nmax_token = 4\n")
    with pytest.raises(ConfigError, match=r"server.toml: .*window.max_token"):
        ServerOptions("toy", 0.8, drafter_config=str(path)).drafter_flags()


def test_configuration_file_becomes_a_flag(tmp_path: Path) -> None:
    path = tmp_path / "server.toml"
    path.write_text("[core]\nbudget = 8\n")
    assert ServerOptions("toy", 0.8, verifier_config=str(path)).verifier_flags("gradient")[:2] == (
        "--config",
        str(path),
    )
