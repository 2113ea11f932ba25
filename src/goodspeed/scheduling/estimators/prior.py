"""What is assumed of a client before its first verdict, and the range that no evidence leaves."""

INITIAL_ACCEPTANCE_RATE = 0.5
PRIOR_TOKENS = 4.0  # how many judged tokens the initial acceptance rate is worth
INITIAL_GOODPUT = 1.0  # what a round without draft tokens commits
LOWEST, HIGHEST = 0.01, 0.99


def within_bounds(acceptance_rate: float) -> float:
    """mu(a, S) needs a < 1, and a client at 0 would never be granted a token to prove otherwise."""
    return min(HIGHEST, max(LOWEST, acceptance_rate))
