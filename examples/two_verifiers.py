"""One drafter, two verifiers: the verifier of an answer is killed in mid-answer, and the text continues unchanged.

python examples/two_verifiers.py          (toy model, no weights, a few seconds)
"""

import json
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import httpx

REQUEST = {"model": "default", "prompt": "to be or not", "max_tokens": 200, "temperature": 0, "stream": True}
VERIFIER = ["verifier", "--engine", "toy", "--grpc.port", "0", "--metrics-port", "0"]
DRAFTER = ["drafter", "--tokenizer", "toy", "--draft.engine", "toy", "--port", "0", "--grpc.link.rtt-ms", "10"]


def start(stack: ExitStack, *arguments: str) -> tuple[subprocess.Popen[bytes], int]:
    """A server and its port, once it serves. It is stopped when the stack is left."""
    ready = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "ready.json"
    command = [sys.executable, "-m", "goodspeed", *arguments, "--log-level", "ERROR", "--ready-file", str(ready)]
    process = stack.enter_context(subprocess.Popen(command))
    stack.callback(process.terminate)
    while not ready.exists() or not ready.read_text():
        if process.poll() is not None:
            raise SystemExit(f"{arguments[0]} did not start")
        time.sleep(0.05)
    return process, int(json.loads(ready.read_text())["port"])


def answer(url: str, kill: subprocess.Popen[bytes] | None = None) -> tuple[str, str]:
    """The streamed text and the verifier that finished it; `kill` dies after the first pieces."""
    text = ""
    request = {**REQUEST, "stream_options": {"include_usage": True}}
    with httpx.stream("POST", f"{url}/v1/completions", json=request, timeout=60) as response:
        for line in response.iter_lines():
            if line.startswith("data: {"):
                chunk = json.loads(line.removeprefix("data: "))
                text += "".join(choice["text"] for choice in chunk["choices"])
            if kill and len(text) > 20:
                kill.kill()
                kill = None
    return text, chunk["goodspeed"]["verifier"]


with ExitStack() as stack:
    first, first_port = start(stack, *VERIFIER, "--core.name", "first")
    _, second_port = start(stack, *VERIFIER, "--core.name", "second")
    verifiers = [f"127.0.0.1:{first_port}", f"127.0.0.1:{second_port}"]
    _, port = start(stack, *DRAFTER, "--verifiers", *verifiers)
    expected, verifier = answer(f"http://127.0.0.1:{port}")
    print("answered by the", verifier, "verifier")
    text, verifier = answer(f"http://127.0.0.1:{port}", kill=first)
    print("answered by the", verifier, "verifier after a failover; the same text:", text == expected)
