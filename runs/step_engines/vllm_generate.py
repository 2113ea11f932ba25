"""Worker with vLLM alone: python vllm_generate.py FOLDER DTYPE NUM_DRAFT. NUM_DRAFT > 0: with its n-gram speculation.

A case is a list of prompts that are answered at once; the answer is its seconds and its texts. This file runs in the
interpreter that has vLLM.
"""

import json
import os
import sys
import time

ANSWERS = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # before the import, so that output of vLLM does not mix with the answers

from vllm import LLM, SamplingParams  # noqa: E402


def main() -> None:
    folder, dtype, num_draft = sys.argv[1], sys.argv[2], int(sys.argv[3])
    ngram = {
        "method": "ngram",
        "num_speculative_tokens": num_draft,
        "prompt_lookup_max": 4,
        "prompt_lookup_min": 2,
    }
    engine = LLM(
        folder,
        dtype=dtype,
        enforce_eager=True,
        max_model_len=2048,
        max_num_seqs=16,
        enable_prefix_caching=False,
        speculative_config=ngram if num_draft else None,
    )
    print("ready", file=ANSWERS, flush=True)
    for line in sys.stdin:
        case = json.loads(line)
        sampling = SamplingParams(temperature=0, max_tokens=case["tokens"], ignore_eos=True)
        start_s = time.perf_counter()
        outputs = engine.generate([{"prompt_token_ids": each} for each in case["prompts"]], sampling, use_tqdm=False)
        seconds = time.perf_counter() - start_s
        texts = [list(output.outputs[0].token_ids) for output in outputs]
        print(json.dumps({"seconds": seconds, "texts": texts}), file=ANSWERS, flush=True)


if __name__ == "__main__":
    main()
