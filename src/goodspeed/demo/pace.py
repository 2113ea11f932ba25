"""How long the demo's answers are: as long as the machine can write them in the time that the demo has."""

MIN_TOKENS, MAX_TOKENS = 16, 96
OVERHEAD_S = 0.7
"""Of a run: prompts, and answers that end after the first client's."""


def answer_length(tokens_per_s: float, num_runs: int, seconds: float) -> int:
    """Tokens of an answer such that `num_runs` runs of one answer per client take about `seconds`.

    `tokens_per_s` is the speed of one client beside the others in target-only mode; a run with drafts takes less.
    """
    per_run_s = seconds / num_runs - OVERHEAD_S
    return max(MIN_TOKENS, min(MAX_TOKENS, round(tokens_per_s * per_run_s)))
