"""What drafters report of their tokens: noisy, but calibrated."""

import math

import numpy as np
from numpy.typing import NDArray

from goodspeed.config import config_dataclass, option

LEAST = 1e-6  # a Beta distribution needs positive parameters


@config_dataclass
class ConfidenceConfig:
    """How well a drafter knows which of its tokens are right."""

    concentration: float = option(
        2.2,
        "reported confidences are Beta distributed around the true rate, with this concentration: near 0 the drafter "
        "knows right from wrong, inf: it reports the rate itself",
        gt=0.0,
        le=math.inf,
    )


def reports(
    chances: NDArray[np.float64],  # [n] Pr(right), as the generator knows it
    bits: NDArray[np.bool_],  # [n] what came out
    concentration: float,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Confidences, float64 [n], of which a share c is right among those that say c.

    Were the report drawn first, c ~ Beta(k p, k (1 - p)), and the bit then with chance c, reports would be calibrated
    and bits right with chance p. The bit being known, Bayes' rule gives the same pair: c ~ Beta(k p + bit, k (1 - p) +
    1 - bit). So bits do not depend on whether anybody asks for reports.
    """
    if np.isinf(concentration):
        return chances
    bounded = np.clip(chances, LEAST, 1.0 - LEAST)
    return rng.beta(concentration * bounded + bits, concentration * (1.0 - bounded) + ~bits)
