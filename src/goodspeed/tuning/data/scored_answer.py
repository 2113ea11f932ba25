"""An answer of the target with the probability of every token: what drafts are evaluated on.

On a text that the target sampled from its own distribution, the rejection rule accepts the draft token at a position
with probability min(1, q / p). Here p and q are the probabilities that target and draft give to the answer's token.
Speculative sampling emits token x in two ways (accepted: min(p, q); recovered: p - min(p, q)), and this is the share of
the first. Stored answers therefore suffice, and evaluation samples nothing.
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
    """The target's answer to a prompt."""

    prompt: tuple[int, ...]
    tokens: tuple[int, ...]
    sampling: Sampling
    category: str = ""
    target_probs: tuple[float, ...] = ()
    """[tokens], for the rejection rule only. A token outside the target's top k gets the smallest of the top k."""


def scored_answers(examples: Iterable[Example], temperature: float, rule: Rule) -> list[ScoredAnswer]:
    """The examples sampled at this temperature whose answers have two or more tokens."""
    return [
        scored_answer(example, rule)
        for example in examples
        if example.origin.temperature == temperature and len(example.answer) > 1
    ]


def scored_answer(example: Example, rule: Rule) -> ScoredAnswer:
    """The example's answer under a rule."""
    origin = example.origin
    return ScoredAnswer(
        tuple(example.prompt.tolist()),
        tuple(example.answer.tolist()),
        Sampling(origin.temperature, seed=origin.seed, rule=rule),
        origin.category or origin.source,
        tuple(_target_probs(example)) if rule is Rule.REJECTION else (),
    )


def _target_probs(example: Example) -> list[float]:
    """[tokens]. At other temperatures than 1 the top k is normalised by itself: the mass beyond it is unknown."""
    logprobs = example.top_logprobs.astype(np.float64) / example.origin.temperature
    if example.origin.temperature != 1.0:
        logprobs -= np.log(np.exp(logprobs).sum(axis=1, keepdims=True))
    is_answer = example.top_tokens == example.answer[:, np.newaxis]
    columns = np.where(is_answer.any(axis=1), is_answer.argmax(axis=1), logprobs.shape[1] - 1)
    probs: list[float] = np.exp(logprobs[np.arange(len(columns)), columns]).tolist()
    return probs
