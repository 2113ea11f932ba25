"""The confidences that drafters report: noisy but calibrated."""

import math

import numpy as np
from numpy.typing import NDArray

from goodspeed.config import config_dataclass, option

MIN_PROBABILITY = 1e-6  # a Beta distribution needs positive parameters


@config_dataclass
class ConfidenceConfig:
    """How well a drafter knows which of its tokens are right."""

    concentration: float = option(
        2.2,
        "reported confidences are Beta distributed around the true rate, with this concentration: near 0 the drafter "
        "knows right from wrong, inf: it draw_confidences the rate itself",
        gt=0.0,
        le=math.inf,
    )
    is_exact: bool = option(
        False, "the drafter knows which tokens are right, and neither drafts nor proposes others, in every model"
    )


def draw_confidences(
    probabilities: NDArray[np.float64],  # [n] Pr(right)
    bits: NDArray[np.bool_],  # [n] outcomes
    concentration: float,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Calibrated confidences, float64 [n]: among tokens with confidence c, a share c is right.

    If the confidence were drawn first, c ~ Beta(k p, k (1 - p)), and then the bit with probability c, confidences would
    be calibrated and bits right with probability p. Given the bit, Bayes' rule yields the same joint distribution with
    c ~ Beta(k p + bit, k (1 - p) + 1 - bit). Bits therefore do not depend on whether confidences are drawn.
    """
    if np.isinf(concentration):
        return probabilities
    bounded = np.clip(probabilities, MIN_PROBABILITY, 1.0 - MIN_PROBABILITY)
    return rng.beta(concentration * bounded + bits, concentration * (1.0 - bounded) + ~bits)
