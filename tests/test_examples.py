"""Every example runs as it is shown, each in a process of its own, and is short."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
PRINTED = {
    "my_scheduler.py": ["gradient {'good': ", "best_first {'good': "],
    "scenario.py": ["RTT", "80 ms"],
    "two_verifiers.py": ["answered by the first verifier", "the same text: True"],
    "verify_lossless.py": ["greedy: 3 texts, 0 differ", "temperature 0.7: 3 texts, 0 differ"],
}


def run(name: str, *arguments: str) -> str:
    """What the example prints."""
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("name", PRINTED)
def test_example_runs(name: str) -> None:
    printed = run(name)
    assert [text for text in PRINTED[name] if text not in printed] == []


@pytest.fixture
def drafter_url() -> Iterator[str]:
    """A drafter of the toy pair."""
    command = [sys.executable, "-m", "goodspeed", "up", "--pair", "toy", "--clients", "1", "--json"]
    ports = ["--port", "0", "--verifier-port", "0", "--metrics-port", "0"]
    with subprocess.Popen([*command, *ports], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["endpoints"][0].removesuffix("/v1")
        process.terminate()


def test_openai_client_streams_an_answer(drafter_url: str) -> None:
    assert " tokens in " in run("openai_client.py", drafter_url, "hello")


def test_every_example_is_tested_and_short() -> None:
    lengths = {file.name: len(file.read_text(encoding="utf-8").splitlines()) for file in EXAMPLES.glob("*.py")}
    assert set(lengths) == {*PRINTED, "openai_client.py"}
    assert max(lengths.values()) < 60
