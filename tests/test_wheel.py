"""What an edge device installs: the wheel is small, needs no torch, and its drafter answers."""

import contextlib
import json
import os
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[1]
MAX_WHEEL_BYTES = 4_500_000
START_TIMEOUT_S = 120.0


def pip(*arguments: str) -> None:
    """Run pip in a process of its own, with this project's constraints."""
    constraints = ("-c", str(ROOT / "scripts" / "constraints.txt"))
    subprocess.run([*arguments[:1], "-m", "pip", "--quiet", *arguments[1:2], *constraints, *arguments[2:]], check=True)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    pip(sys.executable, "wheel", "--no-deps", "--wheel-dir", str(folder), str(ROOT))
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def command(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`goodspeed` of an environment in which only the wheel is installed."""
    folder = tmp_path_factory.mktemp("edge")
    venv.create(folder, with_pip=True)
    pip(str(folder / "bin" / "python"), "install", str(wheel))
    return folder / "bin" / "goodspeed"


@contextlib.contextmanager
def serving(command: Path, folder: Path, *arguments: str) -> Iterator[int]:
    """A server of that environment, as a process; yields its port."""
    ready_file = folder / f"{arguments[0]}.json"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with subprocess.Popen([command, *arguments, "--ready-file", ready_file], env=environment) as process:
        try:
            deadline = time.monotonic() + START_TIMEOUT_S
            while not ready_file.exists() and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.05)
            yield json.loads(ready_file.read_text())["port"]
        finally:
            process.terminate()


def test_wheel_is_small(wheel: Path) -> None:
    assert wheel.stat().st_size < MAX_WHEEL_BYTES


def test_drafter_answers_without_torch(command: Path, tmp_path: Path) -> None:
    python = command.with_name("python")
    assert subprocess.run([python, "-c", "import torch"], capture_output=True, check=False).returncode == 1
    with serving(command, tmp_path, "verifier", "--engine", "toy", "--grpc.port", "0", "--metrics-port", "0") as port:
        flags = ("--verifiers", f"127.0.0.1:{port}", "--tokenizer", "toy", "--draft.engine", "hybrid", "--port", "0")
        with serving(command, tmp_path, "drafter", *flags) as http_port:
            body = {"model": "toy", "prompt": "tell me more", "max_tokens": 24, "temperature": 0}
            url = f"http://127.0.0.1:{http_port}/v1/completions"
            answer = httpx.post(url, json=body, timeout=60.0).raise_for_status().json()
    assert answer["usage"]["completion_tokens"] == 24
    assert answer["choices"][0]["text"]
