"""Two network namespaces stand for two machines, with the commands of docs/start/two_machines.md.

They need root and the tool `ip`. The drafter shapes its link, because not every kernel has netem.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

BOX, LAPTOP = "goodspeed-box", "goodspeed-laptop"
BOX_IP, LAPTOP_IP = "10.77.41.1", "10.77.41.2"
TOY_VERIFIER = ("--engine", "toy", "--core.scheduler", "fixed")
TOY_DRAFTER = ("--draft.engine", "toy", "--tokenizer", "toy", "--grpc.link.rtt-ms", "20")
BODY = {"model": "default", "prompt": "the quick brown", "max_tokens": 400, "temperature": 0, "stream": True}
READER = """
import json, sys, urllib.request
request = urllib.request.Request(sys.argv[1], sys.argv[2].encode(), {"content-type": "application/json"})
for line in urllib.request.urlopen(request, timeout=60):
    print(line.decode().strip(), flush=True)
"""


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


def can_make_namespaces() -> bool:
    if os.geteuid() != 0 or not shutil.which("ip"):
        return False
    made = subprocess.run(["ip", "netns", "add", "goodspeed-trial"], capture_output=True, check=False).returncode == 0
    return made and subprocess.run(["ip", "netns", "del", "goodspeed-trial"], check=False).returncode == 0


pytestmark = pytest.mark.skipif(not can_make_namespaces(), reason="network namespaces need root and ip")


@pytest.fixture
def _machines() -> Iterator[None]:
    """Two namespaces, with a cable between them."""
    try:
        for name in (BOX, LAPTOP):
            ip("netns", "add", name)
        ip("link", "add", "gs0", "netns", BOX, "type", "veth", "peer", "name", "gs0", "netns", LAPTOP)
        for name, address in ((BOX, BOX_IP), (LAPTOP, LAPTOP_IP)):
            ip("-n", name, "address", "add", f"{address}/24", "dev", "gs0")
            for device in ("lo", "gs0"):
                ip("-n", name, "link", "set", device, "up")
        yield
    finally:
        for name in (BOX, LAPTOP):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def on(machine: str, *command: str) -> list[str]:
    return ["ip", "netns", "exec", machine, *command]


def goodspeed(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "goodspeed", *arguments)


@contextmanager
def running(machine: str, folder: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A server on that machine, ready."""
    ready = folder / f"{machine}-{arguments[0]}.ready"
    ready.unlink(missing_ok=True)
    command = on(machine, *goodspeed(*arguments, "--ready-file", str(ready)))
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            while not ready.exists():
                assert process.poll() is None, command
                with_pause(process)
            yield process
        finally:
            process.kill()


def with_pause(process: subprocess.Popen[bytes]) -> None:
    """Wait a moment, or until the process ends."""
    try:
        process.wait(0.05)
    except subprocess.TimeoutExpired:
        return


@pytest.mark.usefixtures("_machines")
def test_newcomers_commands_give_an_answer_that_survives_a_killed_verifier(tmp_path: Path) -> None:
    box, laptop = tmp_path / "box", tmp_path / "laptop"
    init = goodspeed("init", "verifier", "--host", BOX_IP, "--drafters", "laptop", "--dir", str(box))
    invited = subprocess.run(on(BOX, *init), check=True, capture_output=True, text=True).stdout
    init = goodspeed("init", "drafter", "--dir", str(laptop))
    subprocess.run(on(LAPTOP, *init), input=invited.splitlines()[-1], check=True, capture_output=True, text=True)
    verifier = ("verifier", "--config", str(box / "verifier.toml"), *TOY_VERIFIER)
    drafter = ("drafter", "--config", str(laptop / "drafter.toml"), *TOY_DRAFTER)
    with running(BOX, tmp_path, *verifier) as first:
        doctor = goodspeed("doctor", *drafter, "--json")
        checks = json.loads(subprocess.run(on(LAPTOP, *doctor), check=True, capture_output=True, text=True).stdout)
        assert all(check["is_ok"] for check in checks), checks
        assert checks[-1]["name"] == f"verifier {BOX_IP}:7700"
        with running(LAPTOP, tmp_path, *drafter):
            url = "http://127.0.0.1:8000/v1/completions"
            command = on(LAPTOP, sys.executable, "-c", READER, url, json.dumps(BODY))
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as reading:
                assert reading.stdout is not None
                begun = [reading.stdout.readline() for _ in range(3)]
                first.kill()
                first.wait()
                with running(BOX, tmp_path, *verifier):
                    rest = reading.stdout.readlines()
                    again = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert len(text_of([*begun, *rest])) == BODY["max_tokens"]
    assert text_of([*begun, *rest]) == text_of(again)


def text_of(lines: list[str]) -> str:
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]
    return "".join(choice["text"] for chunk in chunks for choice in chunk["choices"])
