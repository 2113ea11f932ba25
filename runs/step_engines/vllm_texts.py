"""Greedy texts of vLLM: python vllm_texts.py FOLDER DTYPE MAX_TOKENS [DRAFT NUM_DRAFT].

Reads prompts in tokens as one line of JSON and writes {"texts": [[tokens], ..], "counts": {..}}. DRAFT is a checkpoint
that vLLM drafts with; the counts include its accepted tokens. This file runs in the interpreter that has vLLM.
"""

import json
import os
import sys

ANSWERS = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # before the import, so that output of vLLM does not mix with the answers

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
    outputs = engine.generate(prompts, sampling, use_tqdm=False)
    texts = [list(output.outputs[0].token_ids) for output in outputs]
    counts = {
        metric.name: metric.value
        for metric in engine.get_metrics()
        if "spec_decode" in metric.name and hasattr(metric, "value")
    }
    print(json.dumps({"texts": texts, "counts": counts}), file=ANSWERS, flush=True)


if __name__ == "__main__":
    main()
