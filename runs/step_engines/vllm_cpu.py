"""Worker with vLLM's CPU build, engine core in this process: python vllm_cpu.py FOLDER THREADS NUM_DRAFT.

A custom proposer (`custom_class`) proposes NUM_DRAFT wrong draft tokens per stream and step. The environment sets the
threads, as vLLM requires.
"""

import sys
import time

from vllm import LLM, SamplingParams
from worker import StepCase, prompt, serve

FOLDER, NUM_DRAFT = sys.argv[1], int(sys.argv[3])
WRONG = 17


class WrongDrafts:
    """Proposes NUM_DRAFT wrong tokens for every stream that has a new token."""

    def __init__(self, vllm_config: object) -> None:
        del vllm_config

    def load_model(self, *_args: object, **_kwargs: object) -> None:
        """Nothing to load."""

    def propose(self, sampled_token_ids: list[list[int]], *_args: object, **_kwargs: object) -> list[list[int]]:
        return [[WRONG] * NUM_DRAFT if tokens else [] for tokens in sampled_token_ids]


def main() -> None:
    drafts = {"method": "custom_class", "model": "vllm_cpu.WrongDrafts", "num_speculative_tokens": NUM_DRAFT}
    engine = LLM(
        FOLDER,
        dtype="bfloat16",
        enforce_eager=True,
        max_model_len=2048,
        max_num_seqs=16,
        enable_prefix_caching=False,
        speculative_config=drafts if NUM_DRAFT else None,
    ).llm_engine
    count = 0

    def measure(case: StepCase) -> list[float]:
        nonlocal count
        sampling = SamplingParams(temperature=0, max_tokens=case["steps"] + 8, ignore_eos=True)
        for stream in range(case["streams"]):
            count += 1
            engine.add_request(str(count), {"prompt_token_ids": prompt(case, stream)}, sampling)
        for _ in range(4):  # the prefill, and the first step with drafts
            engine.step()
        steps_s = []
        for _ in range(case["steps"]):
            start_s = time.perf_counter()
            engine.step()
            steps_s.append(time.perf_counter() - start_s)
        while engine.has_unfinished_requests():
            engine.step()
        return steps_s

    serve(measure)


if __name__ == "__main__":
    main()
