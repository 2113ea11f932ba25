"""Clients: agents' libraries make a tool call and get a structured answer from a live drafter, as their users would.

Each library is installed into an environment of its own in the output folder (pip, or npm for the Vercel SDK), where
its script runs against a drafter whose target writes given texts. The run prints what each library got. 5 minutes the
first time; needs a package index, and node for the Vercel SDK.

    python -m runs.clients --output results/clients
    python -m runs.clients --output results/clients --only instructor vercel
"""

import argparse
import asyncio
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runs.clients.scripted_model import answer_to

from goodspeed.testing.text_service import text_service

SCRIPTS = Path(__file__).parent / "scripts"
TIMEOUT_S = 300.0


@dataclass(frozen=True, slots=True)
class Client:
    """A library and the packages that its script needs."""

    packages: tuple[str, ...]
    script: str


CLIENTS = {
    "openai": Client(("openai",), "openai_client.py"),
    "agents": Client(("openai-agents",), "agents_client.py"),
    "langchain": Client(("langchain-openai",), "langchain_client.py"),
    "pydantic_ai": Client(("pydantic-ai-slim[openai]",), "pydantic_ai_client.py"),
    "instructor": Client(("instructor",), "instructor_client.py"),
    "vercel": Client(("ai", "@ai-sdk/openai-compatible", "@ai-sdk/openai", "zod"), "vercel_client.mjs"),
}


def main() -> None:
    args = _parser().parse_args()
    results = asyncio.run(_run(args.output, args.only or list(CLIENTS)))
    for name, result in results.items():
        print(f"## {name}: {'ok' if result.returncode == 0 else 'FAILED'}\n{result.stdout}{result.stderr[-3000:]}")
    sys.exit(any(result.returncode for result in results.values()))


async def _run(output: Path, names: Sequence[str]) -> dict[str, subprocess.CompletedProcess[str]]:
    results = {}
    async with text_service(answer_to) as url:
        for name in names:
            results[name] = await asyncio.to_thread(_run_client, output / name, CLIENTS[name], f"{url}/v1")
    return results


def _run_client(folder: Path, client: Client, url: str) -> subprocess.CompletedProcess[str]:
    """Install the library unless it is there, and run its script."""
    folder.mkdir(parents=True, exist_ok=True)
    script = SCRIPTS / client.script
    if script.suffix == ".mjs":
        if not (folder / "node_modules").exists():
            subprocess.run(["npm", "install", "--silent", "--prefix", str(folder), *client.packages], check=True)
        copied = shutil.copy(script, folder)  # node looks for packages beside the script
        command = ["node", str(copied), url]
    else:
        python = folder / "venv" / "bin" / "python"
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
            subprocess.run([str(python), "-m", "pip", "install", "--quiet", *client.packages], check=True)
        command = [str(python), str(script), url]
    return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("results/clients"), help="folder of the environments")
    parser.add_argument("--only", nargs="+", choices=CLIENTS, help="run these alone")
    return parser


if __name__ == "__main__":
    main()
