"""Time to encode and decode one frame of 64 proposals and one of 64 verdicts: the protocol's share of a round.

A few seconds; needs nothing else.

    python -m runs.codec_speed
"""

import argparse
import time
from collections.abc import Callable

import numpy as np

from goodspeed.protocol.codec import decode_drafter_frame, decode_verifier_frame, encode_frame
from goodspeed.protocol.messages import Propose, Verdict

NUM_STREAMS = 64
NUM_CALLS = 50  # calls of one timing


def proposals(rng: np.random.Generator) -> list[Propose]:
    """Greedy proposals of four tokens."""
    return [
        Propose(
            stream=stream,
            epoch=0,
            round=100,
            committed_length=300,
            committed_crc32=int(rng.integers(2**32)),
            tokens=tuple(rng.integers(49152, size=4).tolist()),
            confidences=tuple(rng.integers(256, size=4).tolist()),
            drafting_us=9_500,
        )
        for stream in range(NUM_STREAMS)
    ]


def verdicts(rng: np.random.Generator) -> list[Verdict]:
    """Verdicts on these proposals."""
    return [
        Verdict(stream, 0, 100, 3, int(rng.integers(49152)), 304, 5, queue_us=8_000, verify_us=85_000)
        for stream in range(NUM_STREAMS)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=50)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    proposal_messages, verdict_messages = proposals(rng), verdicts(rng)
    up, down = encode_frame(proposal_messages), encode_frame(verdict_messages)
    steps: dict[str, Callable[[], object]] = {
        "encode 64 proposals": lambda: encode_frame(proposal_messages),
        "decode 64 proposals": lambda: decode_drafter_frame(up),
        "encode 64 verdicts": lambda: encode_frame(verdict_messages),
        "decode 64 verdicts": lambda: decode_verifier_frame(down),
    }
    print("| step | median, ms | p95, ms |")
    print("|---|---|---|")
    samples = {name: np.array([timed(step) for _ in range(args.repetitions)]) for name, step in steps.items()}
    samples["total"] = np.sum(list(samples.values()), axis=0)
    for name, times_ms in samples.items():
        print(f"| {name} | {np.median(times_ms):.3f} | {np.quantile(times_ms, 0.95):.3f} |")


def timed(step: Callable[[], object]) -> float:
    """Milliseconds per call, averaged over NUM_CALLS."""
    start_s = time.perf_counter()
    for _ in range(NUM_CALLS):
        step()
    return (time.perf_counter() - start_s) * 1000 / NUM_CALLS


if __name__ == "__main__":
    main()
