"""The configuration of the live page."""

from pathlib import Path

from goodspeed.config import config_dataclass, option
from goodspeed.errors import ConfigError
from goodspeed.logs import LOG_LEVELS

LOOPBACK = ("127.0.0.1", "::1", "localhost")


@config_dataclass
class DashboardConfig:
    """The configuration of `goodspeed dashboard`."""

    verifiers: tuple[str, ...] = option(
        ("http://127.0.0.1:7701",), "addresses of the verifiers' metrics", is_required=True
    )
    drafters: tuple[str, ...] = option((), "addresses of the drafters' HTTP API: for text, round-trip times and races")
    host: str = option("127.0.0.1", "address of the page; 0.0.0.0 for every interface (then with a password)")
    port: int = option(7702, "port of the page; 0: any free port", ge=0, le=65535)
    password_file: str = option("", "file that holds the password of the page; required beyond this machine")
    api_key_file: str = option("", "file that holds the API key of the drafters")
    log_level: str = option("INFO", "lowest severity that is logged", choices=LOG_LEVELS)

    def __post_init__(self) -> None:
        for name in ("verifiers", "drafters"):
            for url in getattr(self, name):
                if not url.startswith(("http://", "https://")):
                    raise ConfigError(f"{name} has {url!r}, expected http://HOST:PORT or https://HOST:PORT")
        if self.host not in LOOPBACK and not self.password_file:
            raise ConfigError(f"password_file is empty, but host is {self.host}: the page shows what users read")

    @property
    def password(self) -> str:
        """The password; empty: none. Raises ConfigError if the file cannot be read or is empty."""
        return _secret(self.password_file)

    @property
    def api_key(self) -> str:
        """The drafters' API key; empty: none. Raises ConfigError if the file cannot be read or is empty."""
        return _secret(self.api_key_file)


def _secret(path: str) -> str:
    if not path:
        return ""
    try:
        secret = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    if not secret:
        raise ConfigError(f"{path} is empty, expected a secret")
    return secret
