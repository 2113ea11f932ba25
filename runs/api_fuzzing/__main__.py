"""API fuzzing: schemathesis sends what the OpenAPI document allows, and what it does not, to a live drafter.

The run fails if a response has a status of 500 or more, or is not as documented. schemathesis is installed into an
environment of its own in the output folder. 3 minutes; needs a package index the first time.

    python -m runs.api_fuzzing --output results/api_fuzzing
"""

import argparse
import asyncio
import os
import subprocess
import sys
from pathlib import Path

from runs.clients.scripted_model import answer_to

from goodspeed.testing.text_service import text_service

CHECKS = "not_a_server_error,response_schema_conformance,content_type_conformance,status_code_conformance"


def main() -> None:
    args = _parser().parse_args()
    sys.exit(asyncio.run(_run(args.output, args.examples, args.seed)))


async def _run(output: Path, num_examples: int, seed: int) -> int:
    async with text_service(answer_to) as url:
        return await asyncio.to_thread(_fuzz, output, f"{url}/openapi.json", num_examples, seed)


def _fuzz(output: Path, document: str, num_examples: int, seed: int) -> int:
    """The exit status of schemathesis."""
    output = output.resolve()
    python = output / "venv" / "bin" / "python"
    if not python.exists():
        output.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-m", "venv", str(output / "venv")], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", "schemathesis"], check=True)
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": str(Path(__file__).parent)}
    options = ["--checks", CHECKS, "--max-examples", str(num_examples), "--seed", str(seed), "--request-timeout", "60"]
    command = [str(python.with_name("schemathesis")), "run", document, *options]
    return subprocess.run(command, env=environment, cwd=output, check=False).returncode


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("results/api_fuzzing"), help="folder of the environment")
    parser.add_argument("--examples", type=int, default=100, help="bodies per operation")
    parser.add_argument("--seed", type=int, default=0, help="seed of the bodies")
    return parser


if __name__ == "__main__":
    main()
