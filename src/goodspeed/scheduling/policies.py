"""The schedulers and estimators by name."""

from collections.abc import Callable

from goodspeed.registry import Registry
from goodspeed.scheduling.estimators.adaptive import adaptive_estimator, adaptive_survival_estimator
from goodspeed.scheduling.estimators.decaying import censored_estimator, survival_estimator
from goodspeed.scheduling.estimators.paper import PaperEstimator
from goodspeed.scheduling.fixed import FixedScheduler
from goodspeed.scheduling.gradient import GradientScheduler
from goodspeed.scheduling.price import PriceScheduler
from goodspeed.scheduling.proportional import ProportionalScheduler
from goodspeed.scheduling.random import RandomScheduler
from goodspeed.scheduling.scheduler import Estimator, Scheduler
from goodspeed.scheduling.tiers import TiersScheduler
from goodspeed.scheduling.time_aware import TimeAwareScheduler

MAX_MIN_FAIRNESS = 8.0
"""Steeper utilities follow the noise in the smoothed goodputs, and the client with the least gets even less
(docs/measurements/schedulers.md)."""

SCHEDULERS: Registry[Callable[[], Scheduler]] = Registry(
    "scheduler",
    {
        "gradient": GradientScheduler,
        "max_throughput": lambda: GradientScheduler(fairness=0.0),
        "min_potential_delay": lambda: GradientScheduler(fairness=2.0),
        "max_min": lambda: GradientScheduler(fairness=MAX_MIN_FAIRNESS),
        "price": PriceScheduler,
        "fixed": FixedScheduler,
        "proportional": ProportionalScheduler,
        "tiers": TiersScheduler,
        "random": RandomScheduler,
        "time_aware": TimeAwareScheduler,
    },
    group="goodspeed.scheduler",
)

BASELINES = frozenset({"fixed", "random", "proportional", "tiers"})
"""Policies of other systems; a comparison runs them as published, with draft selection by arrival."""

PER_BATCH = frozenset({"price", "time_aware"})
"""Schedulers that allocate to the clients of the step that has just ended, not to all clients that draft."""

COUNTS_TIME = frozenset({"time_aware"})
"""Schedulers that can tell whether waiting for a client's proposal would pay at a better acceptance."""

ESTIMATORS: Registry[Callable[[float, float], Estimator]] = Registry(
    "estimator",
    {
        "adaptive": adaptive_estimator,
        "adaptive_survival": adaptive_survival_estimator,
        "censored": censored_estimator,
        "survival": survival_estimator,
        "paper": PaperEstimator,
    },
    group="goodspeed.estimator",
)
"""Each takes beta (goodput) and eta (acceptance), the weights of the latest round, 0..1; adaptive ones ignore both."""
