"""Check that your own pair of target and draft keeps the target's text, from Python.

python examples/verify_lossless.py                                       # the toy pair, in a second
python examples/verify_lossless.py torch smollm2-135m-instruct hybrid    # engine, target model, draft engine
"""

import sys

from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.engine.drafts import DraftConfig, draft_engine
from goodspeed.engine.reference import ReferenceRequest
from goodspeed.engine.target_config import TargetConfig
from goodspeed.engine.targets import target_engine
from goodspeed.lossless.checks import check_texts
from goodspeed.lossless.pair import DraftSchedule, EnginePair

PROMPTS = [(1, 2, 3), (5, 8, 13, 21), (4, 4, 4)]  # token ids; a real check uses prompts of your users
SAMPLINGS = {
    "greedy": Sampling(temperature=0.0, seed=1, rule=Rule.GREEDY),
    "temperature 0.7": Sampling(temperature=0.7, seed=1, rule=Rule.COUPLED),
}


def main(engine: str, model: str, draft: str) -> int:
    target = target_engine(engine, TargetConfig(model=model))
    pair = EnginePair(target, draft_engine(DraftConfig(engine=draft), target.info.vocab_size))
    schedule = DraftSchedule((0, 2, 4, 8), 3)  # draft tokens per round, streams per batch
    is_lossless = True
    for name, sampling in SAMPLINGS.items():
        requests = [ReferenceRequest(prompt, 64, sampling, target.info.end_tokens) for prompt in PROMPTS]
        check = check_texts(pair, requests, schedule)
        print(f"{name}: {check.num_texts} texts, {len(check.differences)} differ, {check.acceptance_rate:.2f} accepted")
        is_lossless = is_lossless and check.is_lossless
    return 0 if is_lossless else 1


if __name__ == "__main__":
    sys.exit(main(*(sys.argv[1:] or ["toy", "smollm2-135m-instruct", "toy"])))
