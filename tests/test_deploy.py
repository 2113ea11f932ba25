"""The examples of services run commands that exist, with the configurations that `goodspeed init` makes."""

import configparser
import json
import plistlib
import re
import shlex
from pathlib import Path

import pytest

from goodspeed.commands.parser import command_parser

DEPLOY = Path(__file__).parents[1] / "configs" / "deploy"
UNITS = sorted(path.name for path in DEPLOY.glob("*.service"))


def check_command(words: list[str]) -> None:
    program, *arguments = words
    assert program.rpartition("/")[2] == "goodspeed"
    assert command_parser(arguments).parse_args(arguments).config.suffix == ".toml"


@pytest.mark.parametrize("name", UNITS)
def test_unit_starts_a_server_and_waits_for_its_answers(name: str) -> None:
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    text = (DEPLOY / name).read_text(encoding="utf-8")
    unit.read_string(text)
    assert text.startswith(f"# /etc/systemd/system/{name}\n")
    check_command(shlex.split(unit["Service"]["ExecStart"]))
    assert int(unit["Service"]["TimeoutStopSec"]) > 5


def test_launch_agent_starts_a_drafter() -> None:
    agent = plistlib.loads((DEPLOY / "net.goodspeed.drafter.plist").read_bytes())
    check_command(agent["ProgramArguments"])


def test_container_starts_a_verifier() -> None:
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    entry, command = (json.loads(found) for found in re.findall(r"^(?:ENTRYPOINT|CMD) (.*)$", text, re.MULTILINE))
    check_command([*entry, *command])
    assert "dockerfile: configs/deploy/Dockerfile" in (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
