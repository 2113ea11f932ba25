"""Worker with GoodSpeed's llama.cpp engine: python goodspeed_llama.py GGUF THREADS NUM_DRAFT DEVICE."""

import sys
import time

from worker import StepCase, prompt, serve

from goodspeed.decoding.sampling import Sampling
from goodspeed.engine.interface import Prefill, StreamSpec, Verify
from goodspeed.engine.llama_cpp.loading import load_target
from goodspeed.engine.target_config import TargetConfig

WRONG = 17
"""A draft token that is practically never accepted, so that every step commits one token, as in plain decoding."""


def main() -> None:
    model, threads, num_draft, device = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    engine = load_target(TargetConfig(model=model, device=device, threads=threads, kv_memory_mb=512))
    keys = iter(range(10**9))

    def measure(case: StepCase) -> list[float]:
        streams = [next(keys) for _ in range(case["streams"])]
        for place, stream in enumerate(streams):
            tokens = tuple(prompt(case, place))
            engine.open(stream, StreamSpec(tokens, Sampling(), len(tokens) + case["steps"] * (num_draft + 1)))
            engine.step([Prefill(stream, len(tokens))])
        steps_s = []
        for _ in range(case["steps"]):
            start_s = time.perf_counter()
            engine.step([Verify(stream, (WRONG,) * num_draft) for stream in streams])
            steps_s.append(time.perf_counter() - start_s)
        for stream in streams:
            engine.close(stream)
        return steps_s

    serve(measure)


main()
