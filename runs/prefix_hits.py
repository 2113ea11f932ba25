"""Hit rate of the prefix cache on a trace of conversations, beside what the trace's hash ids say.

Mooncake's conversation trace names every 512 tokens of a prompt by a hash id: equal ids, equal text. With memory for
all of it, a prompt's longest run of first blocks that came before is what a cache can have. The simulator runs the live
verifier core over the same prompts, with answers cut to a few tokens, for several sizes of KV memory.

    python -m runs.prefix_hits --trace FILE --requests 2000
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from goodspeed.config import from_mapping
from goodspeed.errors import ConfigError
from goodspeed.simulator.scenario import Scenario
from goodspeed.simulator.workload.arrival_trace import TraceArrival, read_arrivals
from goodspeed.simulator.workload.workload import TEXT_BLOCK
from goodspeed.simulator.world import simulate

TRACE = "../shared/data/traces/mooncake_conversation.jsonl"
MAX_ANSWER = 4
CAPACITIES = (10**9, 3_000_000, 1_000_000)
"""KV tokens. The first holds everything."""


def possible_hits(arrivals: Sequence[TraceArrival]) -> float:
    """Share of prompt tokens in first blocks that an earlier prompt began with: all but the last token at most."""
    known: set[tuple[int, ...]] = set()
    num_known = num_tokens = 0
    for arrival in arrivals:
        prefixes = [arrival.blocks[:end] for end in range(1, len(arrival.blocks) + 1)]
        num_blocks = next((i for i, prefix in enumerate(prefixes) if prefix not in known), len(prefixes))
        num_known += min(num_blocks * TEXT_BLOCK, arrival.num_prompt_tokens - 1)
        num_tokens += arrival.num_prompt_tokens
        known.update(prefixes)
    return num_known / num_tokens


def simulated_hits(trace: Path, kv_capacity: int) -> tuple[float, int]:
    """(share of prompt tokens that the cache had, evictions) over all answers."""
    scenario: Scenario = from_mapping(
        Scenario,
        {
            "duration_s": 10_000.0,
            "mode": "target_only",
            "verifiers": [
                {
                    "kv_capacity": kv_capacity,
                    "max_context": 200_000,
                    "latency": {"kind": "linear", "linear": {"base_s": 0.005, "token_s": 1e-6}},
                    "core": {"prefix_sharing": "all", "prefill_chunk": 65_536, "max_streams": 10**6},
                }
            ],
            "drafters": [
                {
                    "workload": {
                        "arrivals": "trace",
                        "trace": {"file": str(trace), "format": "mooncake", "max_answer": MAX_ANSWER},
                    }
                }
            ],
        },
    )
    result = simulate(scenario)
    num_prompt = sum(answer.num_prompt_tokens for answer in result.answers)
    (verifier,) = result.verifiers
    return sum(answer.num_cached_tokens for answer in result.answers) / num_prompt, verifier.num_evictions


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trace", type=Path, default=Path(TRACE), help="Mooncake's conversation trace")
    parser.add_argument("--requests", type=int, default=2000, help="first requests of it")
    args = parser.parse_args()
    try:
        compare(args.trace, args.requests)
    except (ConfigError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def compare(trace: Path, num_requests: int) -> None:
    lines = trace.read_text().splitlines()[:num_requests]
    with TemporaryDirectory() as folder:
        part = Path(folder) / "trace.jsonl"
        part.write_text("\n".join(lines) + "\n")
        arrivals = read_arrivals(part, "mooncake")
        num_tokens = sum(json.loads(line)["input_length"] for line in lines)
        table = Table(
            "KV tokens", "prompt tokens cached", "evictions", title=f"{len(lines)} prompts, {num_tokens} tokens"
        )
        table.add_row("hash ids say", f"{possible_hits(arrivals):.2%}", "")
        for capacity in CAPACITIES:
            share, num_evictions = simulated_hits(part, capacity)
            table.add_row(f"{capacity}", f"{share:.2%}", f"{num_evictions}")
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
