"""Examples of the toy target, as a collection would store them."""

import numpy as np

from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.engine.toy_model import TOY_VOCAB_SIZE, ToyModel
from goodspeed.tuning.data.example import Example, Origin

TOP_K = 64


def toy_example(number: int, num_tokens: int = 60, temperature: float = 0.0, category: str = "letters") -> Example:
    """An answer to a prompt that `number` determines; if it is sampled, it is coupled to the seed `number`."""
    model, rng = ToyModel(), np.random.default_rng(number)
    prompt = [int(token) for token in rng.integers(97, 123, 12)]
    sampling = Sampling(temperature, seed=number, rule=Rule.COUPLED if temperature else Rule.GREEDY)
    tokens, rows = list(prompt), []
    for _ in range(num_tokens):
        rows.append(model.row(tokens).astype(np.float64))
        tokens.append(model.choice(tokens, sampling))
    logprobs = np.stack(rows) - np.log(np.exp(np.stack(rows)).sum(axis=1, keepdims=True))
    top = np.argsort(-logprobs, axis=1)[:, :TOP_K]
    return Example(
        Origin(f"toy#{number}", "toy", category, temperature, number if temperature else 0),
        np.array(prompt, dtype=np.int32),
        np.array(tokens[len(prompt) :], dtype=np.int32),
        top.astype(np.int32),
        np.take_along_axis(logprobs, top, axis=1).astype(np.float16),
    )


VOCAB_SIZE = TOY_VOCAB_SIZE
