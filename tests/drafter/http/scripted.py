"""A target that writes a given answer."""

from collections.abc import Sequence

from goodspeed.engine.toy_model import CONTEXT, ToyModel
from goodspeed.engine.toy_target import ToyTarget, toy_info


class ScriptedModel(ToyModel):
    """After the prompt its most likely tokens are those of the answer, whose runs of four tokens must be distinct."""

    def __init__(self, prompt: Sequence[int], answer: Sequence[int]) -> None:
        super().__init__()
        tokens = [*prompt, *answer]
        starts = range(len(prompt), len(tokens))
        self._next = {tuple(tokens[max(0, i - CONTEXT) : i]): tokens[i] for i in starts}
        assert len(self._next) == len(answer)

    def top(self, tokens: Sequence[int]) -> int:
        return self._next.get(tuple(tokens[-CONTEXT:]), super().top(tokens))


def scripted_target(fingerprint: str, prompt: Sequence[int], answer: Sequence[int]) -> ToyTarget:
    """A toy target with a drafter's tokenizer; use it at temperature 0."""
    target = ToyTarget(toy_info(fingerprint))
    target.model = ScriptedModel(prompt, answer)
    return target
