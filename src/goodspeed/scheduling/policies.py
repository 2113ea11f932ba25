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
"""Steeper utilities chase the noise in the smoothed goodputs, and give the poorest less (docs/scheduling.md)."""

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
)

BASELINES = frozenset({"fixed", "random", "proportional", "tiers"})
"""What others do; a comparison runs them as published, without late binding."""

PER_BATCH = frozenset({"price", "time_aware"})
"""Schedulers that share the budget among those who hear their grant now, not among all who draft: the verifier asks
them for the clients of the step that has just ended, and only those count."""

ESTIMATORS: Registry[Callable[[float, float], Estimator]] = Registry(
    "estimator",
    {
        "adaptive": adaptive_estimator,
        "adaptive_survival": adaptive_survival_estimator,
        "censored": censored_estimator,
        "survival": survival_estimator,
        "paper": PaperEstimator,
    },
)
"""Each takes beta (goodput) and eta (acceptance), the newest round's weights, 0..1; the adaptive ones need neither."""
