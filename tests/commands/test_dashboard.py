"""`goodspeed dashboard`: what is wrong is found before anything is served."""

from pathlib import Path

import pytest

from goodspeed.dashboard.dashboard_config import DashboardConfig
from goodspeed.errors import ConfigError


def test_page_beyond_this_machine_needs_a_password() -> None:
    with pytest.raises(ConfigError, match=r"password_file is empty, but host is 0\.0\.0\.0"):
        DashboardConfig(host="0.0.0.0")


@pytest.mark.parametrize("url", ["127.0.0.1:7701", "ftp://host"])
def test_address_without_a_scheme_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="expected http://HOST:PORT"):
        DashboardConfig(verifiers=(url,))


def test_secrets_are_read_from_files(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("opensesame\n")
    assert DashboardConfig(password_file=str(path)).password == "opensesame"
    path.write_text("\n")
    with pytest.raises(ConfigError, match="is empty"):
        _ = DashboardConfig(password_file=str(path)).password
    with pytest.raises(ConfigError, match="cannot read"):
        _ = DashboardConfig(api_key_file=str(tmp_path / "missing")).api_key
