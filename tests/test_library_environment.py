"""The CLI sets what libraries read from the environment; importing the package changes nothing."""

import os
import subprocess
import sys

import pytest

from goodspeed.cli import main
from goodspeed.library_environment import LIBRARY_ENVIRONMENT

MODULES = ("goodspeed.protocol.grpc_client", "goodspeed.protocol.grpc_server", "goodspeed.engine.torch_import")


@pytest.mark.parametrize("module", MODULES)
def test_an_import_changes_no_environment_variable(module: str) -> None:
    program = f"import os; before = dict(os.environ); import {module}; assert dict(os.environ) == before"
    environment = {name: value for name, value in os.environ.items() if name not in LIBRARY_ENVIRONMENT}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)


def test_the_cli_sets_what_the_user_has_not_set(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GRPC_VERBOSITY", "DEBUG")
    monkeypatch.setenv("GOMP_SPINCOUNT", "")  # restored afterwards
    monkeypatch.delenv("GOMP_SPINCOUNT")
    with pytest.raises(SystemExit):
        main(["--version"])
    assert os.environ["GRPC_VERBOSITY"] == "DEBUG"
    assert os.environ["GOMP_SPINCOUNT"] == "5000"
    capsys.readouterr()
