"""`goodspeed up` as a process."""

import json
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

FREE = ("--port", "0", "--verifier-port", "0", "--metrics-port", "0", "--page-port", "0")


def test_background_job_of_a_script_is_stopped_by_an_interrupt(tmp_path: Path) -> None:
    """A shell starts such a job with SIGINT ignored. The drafters' file chooses the engine."""
    drafters = tmp_path / "drafters.toml"
    drafters.write_text('tokenizer = "toy"\n[draft]\nengine = "none"\n')
    verifiers = tmp_path / "verifiers.toml"
    verifiers.write_text('engine = "toy"\n')
    files = ("--drafter-config", str(drafters), "--verifier-config", str(verifiers))
    command = [sys.executable, "-m", "goodspeed", "up", "--clients", "1", *FREE, *files, "--json"]
    script = "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    with subprocess.Popen([sys.executable, "-c", script, *command], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        addresses = json.loads(process.stdout.readline())
        (url,) = addresses["endpoints"]
        with urllib.request.urlopen(f"{url}/admin/draft", timeout=30) as reply:
            assert json.load(reply)["draft"] == "none"
        with urllib.request.urlopen(addresses["page"], timeout=30) as reply:
            assert b"<title>GoodSpeed</title>" in reply.read()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0


def test_page_is_left_out_on_request() -> None:
    command = [sys.executable, "-m", "goodspeed", "up", "--pair", "toy", "--clients", "1", *FREE, "--no-page", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["page"] == ""
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
