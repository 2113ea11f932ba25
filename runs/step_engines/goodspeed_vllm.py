"""Worker with GoodSpeed's engine vllm: python goodspeed_vllm.py MODEL DTYPE NUM_DRAFT. NUM_DRAFT > 0: with drafts.

Cases and answers as in vllm_generate.py. The drafts are the default of a drafter, computed in this process. This file
runs in the interpreter that has vLLM, with goodspeed on its path.
"""

import json
import os
import sys
import time

ANSWERS = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # before the import, so that output of vLLM does not mix with the answers

from goodspeed.engine.drafts import DraftConfig, draft_engine  # noqa: E402
from goodspeed.engine.null_draft import NullDraft  # noqa: E402
from goodspeed.engine.reference import ReferenceRequest  # noqa: E402
from goodspeed.engine.target_config import TargetConfig  # noqa: E402
from goodspeed.engine.targets import target_engine  # noqa: E402
from goodspeed.lossless.pair import DraftSchedule, EnginePair  # noqa: E402

DTYPES = {"bfloat16": "bf16", "float32": "fp32"}


def main() -> None:
    model, dtype, num_draft = sys.argv[1], DTYPES[sys.argv[2]], int(sys.argv[3])
    options = {"max_num_seqs": 16, "enable_prefix_caching": False}
    config = TargetConfig(model=model, dtype=dtype, kv_memory_mb=1024, max_context=2047, vllm=options)
    target = target_engine("vllm", config)
    drafts = draft_engine(DraftConfig(engine="hybrid"), target.info.num_tokens) if num_draft else NullDraft()
    pair = EnginePair(target, drafts)
    print("ready", file=ANSWERS, flush=True)
    for line in sys.stdin:
        case = json.loads(line)
        requests = [ReferenceRequest(tuple(prompt), case["tokens"]) for prompt in case["prompts"]]
        start_s = time.perf_counter()
        texts = pair.generate(requests, DraftSchedule((num_draft,), len(requests)))
        seconds = time.perf_counter() - start_s
        print(json.dumps({"seconds": seconds, "texts": [text.tokens for text in texts]}), file=ANSWERS, flush=True)


if __name__ == "__main__":
    main()
