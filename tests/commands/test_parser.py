"""Usage errors that are found before anything is loaded."""

from pathlib import Path

import pytest

from goodspeed.commands.parser import command_parser


@pytest.mark.parametrize("arguments", [["verifier", "--core.budg", "3"], ["drafter", "--verif", "a:1"]])
def test_an_abbreviated_flag_is_an_unknown_flag(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        command_parser(arguments).parse_args(arguments)
    assert f"unknown flag {arguments[1]}; did you mean" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["verifier", "drafter"])
def test_a_ready_file_in_a_missing_folder_is_a_usage_error(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [command, "--ready-file", str(tmp_path / "missing" / "ready.json")]
    with pytest.raises(SystemExit, match="2"):
        command_parser(arguments).parse_args(arguments)
    assert "missing is not a folder" in capsys.readouterr().err
