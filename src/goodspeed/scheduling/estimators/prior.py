"""What estimators assume of a client before its first verdict, and the bounds of every estimate."""

INITIAL_ACCEPTANCE_RATE = 0.5
PRIOR_TOKENS = 4.0  # how many verified tokens the initial acceptance rate weighs
INITIAL_GOODPUT = 1.0  # what a round without draft tokens commits
LOWEST, HIGHEST = 0.01, 0.99


def within_bounds(acceptance_rate: float) -> float:
    """mu(a, S) needs a < 1. A client at 0 would never be granted a token, and its estimate could not recover."""
    return min(HIGHEST, max(LOWEST, acceptance_rate))
