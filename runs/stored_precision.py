"""Loss of precision by storing a converted GGUF in bfloat16, measured on the model's own answers.

The model with unrounded weights answers fixed prompts greedily (float32, transformers). Both versions then score these
answers, position by position. The result is deterministic. A few minutes; needs the target's GGUF and transformers.

    python -m runs.stored_precision
"""

import argparse
import json
import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
import transformers

from goodspeed.models.catalog import CATALOG, locate
from goodspeed.models.gguf import GgufFile
from goodspeed.models.tokenizer import Tokenizer

MODEL = "smollm2-135m-instruct"
PROMPTS = (
    "What is the capital of France, and why is it famous?",
    "Explain in three sentences how a bicycle stays upright.",
    "Write a short poem about the sea in winter.",
    "A train travels 120 km in 1.5 hours. What is its speed?",
    "Write a Python function that reverses a list in place.",
    "Summarise why the Roman Empire declined.",
    "Translate into French: The weather is nice today.",
    "Give me five tips for learning a language.",
    "What is the difference between a virus and a bacterium?",
    "Write an email that asks a colleague for a meeting on Tuesday.",
    "List the planets of the solar system with one fact each.",
    "Why do leaves change their colour in autumn?",
)


@dataclass(frozen=True, slots=True)
class PrecisionLoss:
    """Results over all positions of all answers."""

    num_tokens: int
    same_argmax: float
    """Share of positions at which both versions have the same argmax."""
    mean_divergence: float
    """KL(unrounded || rounded), nats per token."""
    perplexity_unrounded: float
    perplexity_rounded: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=64, help="longest answer")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args()
    torch.manual_seed(0)
    result = compare(args.tokens)
    print(json.dumps(asdict(result), indent=2) if args.json else result)


@torch.no_grad()
def compare(max_tokens: int) -> PrecisionLoss:
    """Generate the answers and score them with both versions."""
    folder = locate(MODEL)
    tokenizer = Tokenizer.load(folder)
    rounded: Any = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    unrounded: Any = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    _put_unrounded_weights(unrounded)
    exact, stored, answers = [], [], []
    for prompt in PROMPTS:
        start = tokenizer.encode_chat([{"role": "user", "content": prompt}])
        tokens = unrounded.generate(torch.tensor([start]), max_new_tokens=max_tokens, do_sample=False)
        exact.append(unrounded(tokens).logits[0, len(start) - 1 : -1].log_softmax(-1))
        stored.append(rounded(tokens).logits[0, len(start) - 1 : -1].log_softmax(-1))
        answers.append(tokens[0, len(start) :])
    return _result(torch.cat(exact), torch.cat(stored), torch.cat(answers))


def _put_unrounded_weights(model: Any) -> None:
    file = GgufFile(CATALOG[MODEL].path())
    state = model.state_dict()
    for name, weight in file.tensors(file.config()):
        state[name].copy_(torch.from_numpy(weight))


def _result(
    exact: torch.Tensor,  # [tokens, vocab] log-probabilities
    stored: torch.Tensor,  # [tokens, vocab] log-probabilities
    answer: torch.Tensor,  # [tokens]
) -> PrecisionLoss:
    return PrecisionLoss(
        num_tokens=len(answer),
        same_argmax=float((exact.argmax(-1) == stored.argmax(-1)).float().mean()),
        mean_divergence=float((exact.exp() * (exact - stored)).sum(-1).mean()),
        perplexity_unrounded=_perplexity(exact, answer),
        perplexity_rounded=_perplexity(stored, answer),
    )


def _perplexity(log_probs: torch.Tensor, answer: torch.Tensor) -> float:
    return math.exp(-float(log_probs.gather(1, answer[:, None]).mean()))


if __name__ == "__main__":
    main()
