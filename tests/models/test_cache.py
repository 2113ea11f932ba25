"""The cache: whole folders or none, digests that notice a change."""

import hashlib
import json
from pathlib import Path

import pytest

from goodspeed.errors import CheckpointError
from goodspeed.models.cache import cache_folder, file_digest, fill


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GOODSPEED_CACHE", str(tmp_path / "cache"))


def test_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOODSPEED_CACHE", "/a")
    monkeypatch.setenv("XDG_CACHE_HOME", "/b")
    monkeypatch.setenv("HOME", "/c")
    assert cache_folder() == Path("/a")
    monkeypatch.delenv("GOODSPEED_CACHE")
    assert cache_folder() == Path("/b/goodspeed")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path("/c/.cache/goodspeed")


def test_folder_appears_whole(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "made"

    def write(empty: Path) -> None:
        (empty / "one").write_text("1")
        assert not folder.exists()

    fill(folder, write)
    assert (folder / "one").read_text() == "1"
    assert list(folder.parent.iterdir()) == [folder]


def test_failure_leaves_nothing(tmp_path: Path) -> None:
    def write(empty: Path) -> None:
        (empty / "one").write_text("1")
        raise CheckpointError("bad file")

    with pytest.raises(CheckpointError, match="bad file"):
        fill(tmp_path / "deep" / "made", write)
    assert list((tmp_path / "deep").iterdir()) == []


def test_of_two_at_once_the_first_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / "made"

    def first(empty: Path) -> None:
        (empty / "writer").write_text("first")

    def second(empty: Path) -> None:
        (empty / "writer").write_text("second")
        fill(folder, first)

    fill(folder, second)
    assert (folder / "writer").read_text() == "first"


def test_disk_that_refuses_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CheckpointError, match=r"cannot write .*made"):
        fill(tmp_path / "file" / "made", lambda _: None)


def test_digest_is_remembered_until_the_file_changes(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"one")
    assert file_digest(path) == hashlib.sha256(b"one").hexdigest()
    digests = cache_folder() / "digests.json"
    remembered = json.loads(digests.read_text())
    remembered[str(path)][3] = "from memory"
    digests.write_text(json.dumps(remembered))
    assert file_digest(path) == "from memory"
    path.write_bytes(b"three")
    assert file_digest(path) == hashlib.sha256(b"three").hexdigest()


@pytest.mark.parametrize("content", ["", "[]", '{"a": 1', '{"x": ["short"]}'])
def test_broken_memory_only_costs_time(tmp_path: Path, content: str) -> None:
    cache_folder().mkdir()
    (cache_folder() / "digests.json").write_text(content)
    (tmp_path / "weights").write_bytes(b"one")
    assert file_digest(tmp_path / "weights") == hashlib.sha256(b"one").hexdigest()


def test_cache_that_cannot_be_written_only_costs_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"one")
    monkeypatch.setenv("GOODSPEED_CACHE", str(tmp_path / "weights" / "below-a-file"))
    assert file_digest(tmp_path / "weights") == hashlib.sha256(b"one").hexdigest()


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"cannot read .*nothing"):
        file_digest(tmp_path / "nothing")
