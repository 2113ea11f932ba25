"""The step that both the fluid path and the stochastic recursion take: X <- X + share (x - X) (eq. 4)."""

from collections.abc import Callable

from goodspeed.fluid.problem import Floats

Update = Callable[[Floats, Floats, float], Floats]
"""(smoothed goodputs X, goodputs x of the newest round, share) -> X of the next round. All shapes alike."""


def towards(goodputs: Floats, newest: Floats, share: float) -> Floats:
    """Eq. 4."""
    return goodputs + share * (newest - goodputs)
