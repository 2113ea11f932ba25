"""`goodspeed verifier` as a process."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from goodspeed.verifier.event_log_replay import replay

COMMAND = "from goodspeed.cli import main; raise SystemExit(main())"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serves_until_a_signal_and_shuts_down_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    ready_file, event_log = tmp_path / "ready.json", tmp_path / "events.jsonl"
    flags = ["--engine", "toy", "--grpc.port", "0", "--metrics-port", "0", "--core.budget", "8"]
    files = ["--ready-file", str(ready_file), "--event-log", str(event_log)]
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND, "verifier", *flags, *files], stderr=subprocess.PIPE
    ) as process:
        while process.poll() is None and not (ready_file.exists() and ready_file.read_text()):
            time.sleep(0.02)
        ports = json.loads(ready_file.read_text())
        process.send_signal(number)
        _, log = process.communicate(timeout=30)
    assert process.returncode == 0
    assert ports["port"] > 0
    assert f"serving port={ports['port']} metrics_port={ports['metrics_port']} model=toy" in log.decode()
    lines = event_log.read_text().splitlines()
    assert json.loads(lines[0])["config"]["budget"] == 8
    assert replay(lines) is None
