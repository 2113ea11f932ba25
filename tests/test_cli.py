"""The `goodspeed` command itself: help, exit codes and refusals."""

import subprocess
import sys

import pytest

from goodspeed.cli import main
from goodspeed.commands.parser import COMMANDS


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["verifer"], "unknown command 'verifer'; did you mean 'verifier'?"),
        (
            ["verifier", "--core.buget", "3"],
            "goodspeed verifier: unknown flag --core.buget; did you mean '--core.budget'?",
        ),
        (["verifier", "--core.buget=3"], "unknown flag --core.buget; did you mean '--core.budget'?"),
        (["models", "list", "--jsn"], "goodspeed models list: unknown flag --jsn; did you mean '--json'?"),
        (["tune", "collect", "--promts", "x"], "unknown flag --promts; did you mean '--prompts'?"),
        (["tune", "weigh"], "goodspeed tune: unknown verb 'weigh'; did you mean 'weight'?"),
        (["simulate"], "the following arguments are required: SCENARIO.toml"),
    ],
)
def test_wrong_usage_exits_with_2_and_a_hint(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 2, "the usage of a hundred flags would hide it"


def test_help_lists_commands_and_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    shown = capsys.readouterr().out
    assert all(name.replace("_", "-") in shown for name in COMMANDS)
    assert "130  interrupted" in shown


@pytest.mark.parametrize("argument", ["--version", "--help", "verifer"])
def test_what_needs_no_command_imports_none(argument: str) -> None:
    """Importing all of them takes a second."""
    script = (
        "import atexit, sys; from goodspeed.cli import main; "
        "atexit.register(lambda: print('imported', [m for m in sys.modules if m.startswith('goodspeed.commands.')])); "
        f"main([{argument!r}])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.endswith("imported ['goodspeed.commands.parser']\n")


def test_interrupt_exits_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("goodspeed.commands.models.list_models", interrupt)
    assert main(["models", "list"]) == 130
