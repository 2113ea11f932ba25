"""Length-aware batching: step time of the real engine with streams of similar context in one batch.

There are twice as many streams as a step holds, with contexts drawn uniformly from a range. fifo verifies them in two
steps in order of arrival, length_aware in two steps in the policy's order. They alternate, and so does the one that
goes first. A minute on two cores; needs the target model.

    python -m runs.length_aware_batching --json results/length_aware_batching.json
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from goodspeed.decoding.sampling import Sampling
from goodspeed.engine.interface import Prefill, StreamSpec, TargetEngine, Verify
from goodspeed.engine.target_config import TargetConfig
from goodspeed.engine.torch.loading import load_target
from goodspeed.stats.summary import quantile
from goodspeed.verifier.core.batching.length_aware import LengthAware
from goodspeed.verifier.core.batching.ordering import OrderingCandidate

CHUNK = 256
DRAFT = (200, 201, 202, 203)


def open_stream(target: TargetEngine, key: int, num_prompt: int, max_new_tokens: int) -> None:
    """Open and prefill a stream with random text."""
    rng = np.random.default_rng(key)
    tokens = tuple(int(token) for token in rng.integers(100, 1000, num_prompt))
    target.open(key, StreamSpec(tokens, Sampling(), num_prompt + max_new_tokens))
    for start in range(0, num_prompt, CHUNK):
        target.step([Prefill(key, min(CHUNK, num_prompt - start))])


def step_s(target: TargetEngine, keys: Sequence[int]) -> float:
    """Seconds of a verification step of these streams."""
    start_s = time.perf_counter()
    target.step([Verify(key, DRAFT) for key in keys])
    return time.perf_counter() - start_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--streams", type=int, default=8, help="streams per step")
    parser.add_argument("--contexts", type=int, nargs=2, default=[32, 900])
    parser.add_argument("--bucket", type=int, default=128)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    target = load_target(TargetConfig(model=args.model, threads=2))
    low, high = args.contexts
    contexts = np.random.default_rng(0).integers(low, high, 2 * args.streams).tolist()
    for key, context in enumerate(contexts):
        open_stream(target, key, context, (len(DRAFT) + 1) * (2 * args.pairs + 1))
    order = LengthAware(args.bucket).order([OrderingCandidate(context, 0.0) for context in contexts])
    orders = {"fifo": range(2 * args.streams), "length_aware": order}
    times: dict[str, list[float]] = {name: [] for name in orders}
    for i in range(args.pairs):
        for name in sorted(orders, reverse=i % 2 == 1):
            halves = orders[name][: args.streams], orders[name][args.streams :]
            times[name].append(sum(step_s(target, keys) for keys in halves))
    ratios = [length_aware / fifo for length_aware, fifo in zip(times["length_aware"], times["fifo"], strict=True)]
    result = {f"{name}_ms": 1e3 * quantile(seconds, 0.5) for name, seconds in times.items()}
    result |= {f"length_aware_over_fifo_{share}": quantile(ratios, share) for share in (0.25, 0.5, 0.75)}
    print(json.dumps({key: round(value, 3) for key, value in result.items()}))
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps({"arguments": vars(args) | {"json": str(args.json)}, "result": result}))


if __name__ == "__main__":
    main()
