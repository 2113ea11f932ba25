"""Servers as processes."""

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

COMMAND = [sys.executable, "-m", "goodspeed"]


@contextlib.contextmanager
def server(folder: Path, name: str, *flags: str) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, int]]]:
    """A server with its log in the folder, and its ports, once it is ready."""
    ready = folder / f"{name}.ready"
    files = ["--ready-file", str(ready), "--event-log", str(folder / f"{name}.jsonl"), "--log-level", "DEBUG"]
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen([*COMMAND, name, *flags, *files], stdout=log, stderr=log)
        try:
            while process.poll() is None and not (ready.exists() and ready.read_text()):
                time.sleep(0.02)
            yield process, json.loads(ready.read_text())
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
