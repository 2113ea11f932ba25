"""An answer's rounds at a fixed window, without a simulator: what a trace alone decides."""

from collections.abc import Iterator

from goodspeed.simulator.acceptance.acceptance_model import AcceptanceTrace


def accepted_by_round(trace: AcceptanceTrace, num_tokens: int, window: int) -> Iterator[int]:
    """Draft tokens that each round of an answer of so many tokens accepts.

    The answer's first token comes with its prompt; a round drafts at most what is wanted less the target's own token.
    """
    position = 1
    while position < num_tokens:
        most, depth = min(window, num_tokens - position - 1), 0
        while depth < most and trace.is_right(position + depth, depth):
            depth += 1
        yield depth
        position += depth + 1
