"""The rounds of an answer at a fixed window, from its acceptance trace alone."""

from collections.abc import Iterator

from goodspeed.simulator.acceptance.acceptance_model import AcceptanceTrace


def accepted_by_round(trace: AcceptanceTrace, num_tokens: int, window: int) -> Iterator[int]:
    """The number of draft tokens that each round of an answer of `num_tokens` accepts.

    The first token comes with the prompt. A round drafts at most the remaining tokens less the target's own one.
    """
    position = 1
    while position < num_tokens:
        max_drafted, depth = min(window, num_tokens - position - 1), 0
        while depth < max_drafted and trace.is_right(position + depth, depth):
            depth += 1
        yield depth
        position += depth + 1
