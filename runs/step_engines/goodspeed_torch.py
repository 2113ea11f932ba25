"""Worker with GoodSpeed's torch engine: python goodspeed_torch.py MODEL THREADS NUM_DRAFT DEVICE [DTYPE]."""

import sys
import time

import torch
from worker import StepCase, prompt, serve

from goodspeed.decoding.sampling import Sampling
from goodspeed.engine.interface import Prefill, StreamSpec, Verify
from goodspeed.engine.target_config import TargetConfig
from goodspeed.engine.torch.loading import load_target
from goodspeed.engine.torch.shaped_pair import SHAPES, shaped_target

WRONG = 17
"""A draft token that is practically never accepted, so that every step commits one token, as in plain decoding."""


def main() -> None:
    model, threads, num_draft, device = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    dtype = sys.argv[5] if len(sys.argv) > 5 else "bf16"
    config = TargetConfig(model=model, dtype=dtype, device=device, threads=threads, kv_memory_mb=2048)
    engine = shaped_target(config, 0) if model in SHAPES else load_target(config)

    def measure(case: StepCase) -> list[float]:
        streams = range(case["streams"])
        for stream in streams:
            tokens = tuple(prompt(case, stream))
            engine.open(stream, StreamSpec(tokens, Sampling(), len(tokens) + case["steps"] * (num_draft + 1)))
            engine.step([Prefill(stream, len(tokens))])
        steps_s = []
        for _ in range(case["steps"]):
            start_s = time.perf_counter()
            engine.step([Verify(stream, (WRONG,) * num_draft) for stream in streams])
            if device == "cuda":
                torch.cuda.synchronize()
            steps_s.append(time.perf_counter() - start_s)
        for stream in streams:
            engine.close(stream)
        return steps_s

    serve(measure)


main()
