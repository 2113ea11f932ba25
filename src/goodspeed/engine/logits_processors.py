"""The logits processors of a stream: the same for all engines that give logits."""

from goodspeed.decoding.logit_changer import LogitChanger
from goodspeed.decoding.logits_processor import LogitsProcessor
from goodspeed.engine.grammar.grammars import Grammars
from goodspeed.engine.interface import StreamSpec

Processors = tuple[LogitsProcessor, ...]


def logits_processors(spec: StreamSpec, grammars: Grammars | None = None) -> Processors:
    """Those of a stream that begins with the prefix of `spec`; none for a request that changes no logits.

    The constraint comes first. Exclusions after it have no effect where they would leave no token, so it always holds.
    """
    changes, constraint = spec.sampling.logit_changes, spec.sampling.constraint
    if changes is None and constraint is None:
        return ()
    prompt, answer = spec.tokens[: spec.num_prompt], spec.tokens[spec.num_prompt :]
    processors: list[LogitsProcessor] = []
    if constraint is not None:
        assert grammars is not None, "a constrained stream at an engine that takes no constraints"
        processors.append(grammars.matcher(constraint, spec.end_tokens, answer))
    if changes is not None:
        processors.append(LogitChanger(changes, prompt, answer, spec.end_tokens))
    return tuple(processors)


def failure_of(processors: Processors) -> str:
    """Why the stream cannot go on; empty: it can."""
    return next((failure for processor in processors if (failure := processor.failure)), "")
