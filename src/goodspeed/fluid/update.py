"""The step of the fluid path and of the stochastic recursion: X <- X + share (x - X) (eq. 4)."""

from collections.abc import Callable

from goodspeed.fluid.problem import Floats

Update = Callable[[Floats, Floats, float], Floats]
"""(smoothed goodputs X, goodputs x of the latest round, share) -> X of the next round. All shapes are the same."""


def ewma_update(goodputs: Floats, latest: Floats, share: float) -> Floats:
    """Eq. 4."""
    return goodputs + share * (latest - goodputs)
