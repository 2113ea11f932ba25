"""The logits processors of a stream: the same for all engines that give logits."""

from goodspeed.decoding.logit_changer import LogitChanger
from goodspeed.decoding.logits_processor import LogitsProcessor
from goodspeed.engine.interface import StreamSpec

Processors = tuple[LogitsProcessor, ...]


def logits_processors(spec: StreamSpec) -> Processors:
    """Those of a stream that begins with the prefix of `spec`; none for a request that changes no logits."""
    changes = spec.sampling.logit_changes
    if changes is None:
        return ()
    prompt, answer = spec.tokens[: spec.num_prompt], spec.tokens[spec.num_prompt :]
    return (LogitChanger(changes, prompt, answer, spec.end_tokens),)
