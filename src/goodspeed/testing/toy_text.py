"""What the toy target writes without drafts."""

import numpy as np

from goodspeed.decoding.logits_processor import processed
from goodspeed.decoding.rules import choose
from goodspeed.engine.interface import StreamSpec
from goodspeed.engine.logits_processors import logits_processors
from goodspeed.engine.toy_model import ToyModel


def toy_answer(spec: StreamSpec) -> list[int]:
    """The answer to the prompt `spec.tokens`, as long as the capacity allows. It takes no constraint."""
    model, tokens = ToyModel(), list(spec.tokens)
    processors = logits_processors(spec)
    while len(tokens) < spec.capacity:
        row = processed(model.row(tokens)[np.newaxis], (), processors)
        tokens.append(int(choose(row, spec.sampling, len(tokens))[0]))
        for processor in processors:
            processor.commit(tokens[-1:])
        if tokens[-1] in spec.end_tokens:
            break
    return tokens[len(spec.tokens) :]
