"""vLLM's greedy texts: python vllm_texts.py FOLDER DTYPE MAX_TOKENS [DRAFT NUM_DRAFT].

Prompts in tokens come in as one line of JSON; out goes {"texts": [[tokens], ..], "counts": {..}}: what was accepted of
DRAFT, a checkpoint that vLLM itself drafts with, is in the counts. This file runs in the interpreter that has vLLM.
"""

import json
import os
import sys

ANSWERS = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # before vLLM is there, since what it prints is no answer

from vllm import LLM, SamplingParams  # noqa: E402


def main() -> None:
    folder, dtype, max_tokens = sys.argv[1], sys.argv[2], int(sys.argv[3])
    drafts = None
    if len(sys.argv) > 4:
        drafts = {"method": "draft_model", "model": sys.argv[4], "num_speculative_tokens": int(sys.argv[5])}
    engine = LLM(
        folder,
        dtype=dtype,
        enforce_eager=True,
        max_model_len=1024,
        max_num_seqs=8,
        enable_prefix_caching=False,
        disable_log_stats=False,
        speculative_config=drafts,
    )
    sampling = SamplingParams(temperature=0, max_tokens=max_tokens)
    prompts = [{"prompt_token_ids": tokens} for tokens in json.loads(sys.stdin.readline())]
    said = engine.generate(prompts, sampling, use_tqdm=False)
    texts = [list(one.outputs[0].token_ids) for one in said]
    counts = {
        one.name: one.value for one in engine.get_metrics() if "spec_decode" in one.name and hasattr(one, "value")
    }
    print(json.dumps({"texts": texts, "counts": counts}), file=ANSWERS, flush=True)


if __name__ == "__main__":
    main()
