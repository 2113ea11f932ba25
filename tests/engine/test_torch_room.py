"""The door to PyTorch: a user's own OpenMP setting stays, and what is missing is said."""

import os

import pytest

from goodspeed.engine.torch_room import SPIN_COUNT, import_torch_room
from goodspeed.errors import ConfigError


def test_waiting_threads_soon_leave_their_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    import_torch_room("goodspeed.engine.base")
    assert os.environ["GOMP_SPINCOUNT"] == SPIN_COUNT


def test_a_users_own_setting_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    import_torch_room("goodspeed.engine.base")
    assert os.environ["GOMP_SPINCOUNT"] == "7"


def test_a_missing_library_is_a_user_error() -> None:
    with pytest.raises(ConfigError, match=r"goodspeed\[torch\].*no_such_library"):
        import_torch_room("no_such_library")
