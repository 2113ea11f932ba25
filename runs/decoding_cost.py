"""CPU time of the decoding rules per row of logits; a forward pass takes tens of milliseconds.

Logits are normal with deviation 3, and twenty tokens are raised by 12: as in a language model at temperature 1, few
tokens have most of the mass. "flat" has deviation 0.1, the worst case of top-p. 10 s; needs nothing else.

    python -m runs.decoding_cost
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from goodspeed.decoding.noise import gumbel_row
from goodspeed.decoding.rules import choose, draft_probs_of, draw, reject
from goodspeed.decoding.sampling import Rule, Sampling

VOCAB_SIZES = (49_152, 151_936)
GREEDY = Sampling()
COUPLED = Sampling(1.0, seed=1, rule=Rule.COUPLED)
REJECTION = Sampling(1.0, seed=1, rule=Rule.REJECTION)
POSITION = 1000


@dataclass(frozen=True, slots=True)
class Cost:
    """Milliseconds of one operation on one row."""

    operation: str
    vocab_size: int
    p10_ms: float
    median_ms: float
    p90_ms: float


def logits(vocab_size: int, deviation: float = 3.0, raised: float = 12.0) -> npt.NDArray[np.float32]:
    """[1, vocab_size]"""
    row = np.random.default_rng(0).normal(0.0, deviation, (1, vocab_size)).astype(np.float32)
    row[0, :20] += raised
    return row


def operations(vocab_size: int) -> dict[str, Callable[[], object]]:
    row, flat = logits(vocab_size), logits(vocab_size, 0.1, 0.0)
    two_rows = np.repeat(row, 2, axis=0)
    probs = draft_probs_of(row[0], REJECTION, 64)
    token = draw(probs, REJECTION, POSITION, POSITION)
    top_k, top_p = (Sampling(1.0, k, p, 1, Rule.COUPLED) for k, p in ((50, 1.0), (0, 0.95)))
    both = Sampling(0.7, 50, 0.9, 1, Rule.COUPLED)
    return {
        "greedy choice": lambda: choose(row, GREEDY, POSITION),
        "coupled choice": lambda: choose(row, COUPLED, POSITION),
        "coupled choice, top-k 50": lambda: choose(row, top_k, POSITION),
        "coupled choice, top-p 0.95": lambda: choose(row, top_p, POSITION),
        "coupled choice, top-k 50 and top-p 0.9 at 0.7": lambda: choose(row, both, POSITION),
        "coupled choice, top-p 0.95, flat": lambda: choose(flat, top_p, POSITION),
        "of which Gumbel noise": lambda: gumbel_row(1, POSITION, vocab_size),
        "draw (rejection, no draft)": lambda: choose(row, REJECTION, POSITION),
        "reject one draft token, q of 64": lambda: reject(two_rows, (token,), (probs,), REJECTION, POSITION),
        "drafter: quantise to 64": lambda: draft_probs_of(row[0], REJECTION, 64),
        "drafter: draw": lambda: draw(probs, REJECTION, POSITION, POSITION),
    }


def measure(operation: Callable[[], object], repetitions: int) -> tuple[float, float, float]:
    """Percentiles 10, 50 and 90 in milliseconds."""
    times = []
    for _ in range(repetitions):
        start = time.perf_counter()
        operation()
        times.append(1e3 * (time.perf_counter() - start))
    p10, median, p90 = np.percentile(times, (10, 50, 90)).tolist()
    return p10, median, p90


def _raise_malloc_threshold() -> None:
    """Free a large array, after which glibc keeps memory of that size, as in any process that runs a model."""
    np.zeros(4_000_000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=300)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    _raise_malloc_threshold()
    costs = [
        Cost(name, vocab_size, *measure(operation, args.repetitions))
        for vocab_size in VOCAB_SIZES
        for name, operation in operations(vocab_size).items()
    ]
    if args.json:
        print(json.dumps([asdict(cost) for cost in costs], indent=2))
        return
    print(f"{'operation':48} {'vocabulary':>10} {'p10 ms':>8} {'median':>8} {'p90':>8}")
    for cost in costs:
        times_text = f"{cost.p10_ms:8.3f} {cost.median_ms:8.3f} {cost.p90_ms:8.3f}"
        print(f"{cost.operation:48} {cost.vocab_size:10,} {times_text}")


if __name__ == "__main__":
    main()
