"""The schedulers and estimators by name."""

from collections.abc import Callable

from goodspeed.registry import Registry
from goodspeed.scheduling.base import Estimator, Scheduler
from goodspeed.scheduling.estimators import CensoredEstimator, PaperEstimator
from goodspeed.scheduling.fixed import FixedScheduler
from goodspeed.scheduling.gradient import GradientScheduler
from goodspeed.scheduling.random import RandomScheduler

SCHEDULERS: Registry[Callable[[], Scheduler]] = Registry(
    "scheduler",
    {
        "gradient": GradientScheduler,
        "max_throughput": lambda: GradientScheduler(fairness=0.0),
        "fixed": FixedScheduler,
        "random": RandomScheduler,
    },
)

ESTIMATORS: Registry[Callable[[float, float], Estimator]] = Registry(
    "estimator",
    {
        "censored": CensoredEstimator,
        "paper": PaperEstimator,
    },
)
"""Each takes beta (goodput) and eta (acceptance), the weights of the newest round, 0..1."""
