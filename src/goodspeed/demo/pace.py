"""How long the demo's answers are: as long as the machine can write them in the time that the demo has."""

from goodspeed.bench.comparison import WAKE_TOKENS

MIN_TOKENS, MAX_TOKENS = 24, 96


def answer_length(tokens_per_s: float, num_runs: int, seconds: float) -> int:
    """Tokens of an answer such that `num_runs` runs of one answer per client take about `seconds`.

    `tokens_per_s` is the speed of one client beside the others in target-only mode, prompts cached; a run with drafts
    takes less. WAKE_TOKENS come before each run.
    """
    return max(MIN_TOKENS, min(MAX_TOKENS, round(tokens_per_s * seconds / num_runs) - WAKE_TOKENS))
