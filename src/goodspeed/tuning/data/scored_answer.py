"""A recorded answer of the target, as drafts are judged by it: what was said, under which rule, and how likely it was.

On a path that the target drew from its own distribution, the draft token at a position is accepted with probability
min(1, q / p) under the rejection rule, p and q what target and draft gave to the token that was said: of speculative
sampling's two ways to say token x (accepted: min(p, q); recovered: p - min(p, q)) that is the share of the first. So
recorded answers suffice, and nothing has to be drawn.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.tuning.data.example import Example

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ScoredAnswer:
    """What the target said to a prompt."""

    prompt: tuple[int, ...]
    tokens: tuple[int, ...]
    sampling: Sampling
    category: str = ""
    target_probs: tuple[float, ...] = ()
    """Of each token; where it was not among the target's top k, the least that was. Only rejection needs them."""


def scored_answers(examples: Iterable[Example], temperature: float, rule: Rule) -> list[ScoredAnswer]:
    """Those of the examples that were said at this temperature, and are long enough to be drafted for."""
    return [
        scored_answer(one, rule) for one in examples if one.origin.temperature == temperature and len(one.answer) > 1
    ]


def scored_answer(example: Example, rule: Rule) -> ScoredAnswer:
    """One of them."""
    origin = example.origin
    return ScoredAnswer(
        tuple(example.prompt.tolist()),
        tuple(example.answer.tolist()),
        Sampling(origin.temperature, seed=origin.seed, rule=rule),
        origin.category or origin.source,
        tuple(_target_probs(example)) if rule is Rule.REJECTION else (),
    )


def _target_probs(example: Example) -> list[float]:
    """At another temperature than 1, of the top k alone: what they leave is not known."""
    logprobs = example.top_logprobs.astype(np.float64) / example.origin.temperature
    if example.origin.temperature != 1.0:
        logprobs -= np.log(np.exp(logprobs).sum(axis=1, keepdims=True))
    is_said = example.top_tokens == example.answer[:, np.newaxis]
    places = np.where(is_said.any(axis=1), is_said.argmax(axis=1), logprobs.shape[1] - 1)
    probs: list[float] = np.exp(logprobs[np.arange(len(places)), places]).tolist()
    return probs
