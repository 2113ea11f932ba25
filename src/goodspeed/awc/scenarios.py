"""Random scenarios: one verifier and unlike clients, wide in every quantity on which the best window depends.

A scenario is a function of (seed, index), so a sweep can be stopped, continued and extended.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from goodspeed.config import config_dataclass, option
from goodspeed.protocol.link_config import LinkConfig
from goodspeed.simulator.acceptance.fixed import FixedConfig
from goodspeed.simulator.acceptance.markov import MarkovConfig
from goodspeed.simulator.acceptance.models import AcceptanceConfig
from goodspeed.simulator.acceptance.positional import PositionalConfig
from goodspeed.simulator.latency.aiconfigurator import AiconfiguratorConfig
from goodspeed.simulator.latency.latency_model import LatencyModel, StepShape
from goodspeed.simulator.latency.linear import LinearConfig
from goodspeed.simulator.latency.models import LatencyConfig
from goodspeed.simulator.scenario import DrafterTier, Scenario, VerifierTier
from goodspeed.simulator.workload.closed import ClosedConfig
from goodspeed.simulator.workload.lengths import LengthConfig, LognormalLength, UniformLength
from goodspeed.simulator.workload.workloads import WorkloadConfig

NUM_CLIENTS: Final = (2, 24)
RTT_MS: Final = (0.3, 100.0)
DRAFTING_MS: Final = (0.05, 25.0)
ACCEPTANCE: Final = (0.2, 0.95)
STEP_BASE_S: Final = (0.005, 0.060)
KNEE_TOKENS: Final = (8.0, 500.0)
"""Tokens that double the time of a step."""
THINK_S: Final = (0.1, 5.0)
CO_LOCATED_ACCEPTANCE: Final = (0.1, 0.6)
NO_THINK_SHARE, NO_CO_LOCATED_SHARE = 0.4, 0.5
KV_CAPACITY, PREFILL_CHUNK = 1_000_000, 512
CO_LOCATED_TOKENS, CONTEXT = 8, 200
MIN_ANSWERS, MAX_ANSWERS = 1.5, 8.0
"""Answers of a client for which a run is long enough in target-only mode."""

MEASURED: Final = (
    AiconfiguratorConfig("llama-3.1-8b", "h100_sxm"),
    AiconfiguratorConfig("llama-3.1-8b", "l40s"),
    AiconfiguratorConfig("llama-3.1-70b", "h200_sxm", weights="fp8"),
)
"""Verifiers whose steps take the time of measured kernels."""


@dataclass(frozen=True, slots=True)
class DatasetLengths:
    """The lengths of a data set's prompts and answers."""

    prompt: LengthConfig
    answer: LengthConfig
    mean_prompt: float
    mean_answer: float

    def answer_s(self, latency: LatencyModel, num_clients: int) -> float:
        """About the time of an answer in target-only mode if all clients are busy, prompts of the others included."""
        step_s = latency.step_s(StepShape(num_clients, num_clients, 0, CONTEXT * num_clients))
        with_prompt = StepShape(num_clients + 1, num_clients + PREFILL_CHUNK, PREFILL_CHUNK, CONTEXT * num_clients)
        prompt_s = self.mean_prompt / PREFILL_CHUNK * max(0.0, latency.step_s(with_prompt) - step_s)
        return self.mean_answer * step_s + num_clients * prompt_s


def _lognormal(mean: float, cv: float) -> LengthConfig:
    return LengthConfig("lognormal", lognormal=LognormalLength(mean, cv))


DATASETS: Mapping[str, DatasetLengths] = {
    # configs/scenarios/dsd_600.toml
    "gsm8k": DatasetLengths(
        _lognormal(72.5, 0.4), LengthConfig("uniform", uniform=UniformLength(80, 195)), 72.5, 137.5
    ),
    # See, Liu and Manning 2017 (arXiv 1704.04368): articles of 781 tokens, summaries of 56; the spread is assumed.
    "cnn_dailymail": DatasetLengths(_lognormal(781.0, 0.5), _lognormal(56.0, 0.4), 781.0, 56.0),
    # Assumed: a docstring with examples, and a function.
    "humaneval": DatasetLengths(_lognormal(150.0, 0.4), _lognormal(110.0, 0.6), 150.0, 110.0),
}


@config_dataclass
class SamplingConfig:
    """The random scenarios."""

    seed: int = option(0, "seed of the scenarios and of their runs", ge=0)
    measured_share: float = option(
        0.2, "share of scenarios whose verifier has measured step times (needs the extra gpu-tables)", ge=0.0, le=1.0
    )
    num_rounds: int = option(
        800, "rounds of a run, if that is enough for 1.5 answers of each client in target-only mode", ge=1
    )


def random_scenario(config: SamplingConfig, index: int) -> Scenario:
    """The scenario of this index. Raises ConfigError if it needs tables that are not installed."""
    rng = np.random.default_rng(np.random.SeedSequence(config.seed, spawn_key=(index,)))
    num_clients = round(_log_uniform(rng, *NUM_CLIENTS))
    latency = _latency(rng, config.measured_share)
    name = str(rng.choice(list(DATASETS)))
    think_s = 0.0 if rng.random() < NO_THINK_SHARE else _log_uniform(rng, *THINK_S)
    clients = _Clients(rng)
    dataset = DATASETS[name]
    workload = WorkloadConfig(closed=ClosedConfig(think_s), prompt=dataset.prompt, answer=dataset.answer)
    num_answers = config.num_rounds / (num_clients * dataset.mean_answer)
    answer_s = think_s + dataset.answer_s(latency.model(), num_clients)
    return Scenario(
        name=f"{name}-{index}",
        duration_s=min(MAX_ANSWERS, max(MIN_ANSWERS, num_answers)) * answer_s,
        seed=int(rng.integers(2**31)),
        verifiers=(VerifierTier(kv_capacity=KV_CAPACITY, latency=latency),),
        drafters=tuple(clients.tier(number, workload) for number in range(num_clients)),
    )


def check_measured() -> None:
    """Raises ConfigError if the tables of measured step times are not installed."""
    for config in MEASURED:
        config.model()


class _Clients:
    """The clients of a scenario: each differs from the scenario's own centre."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._rtt_ms = _log_uniform(rng, *RTT_MS)
        self._drafting_ms = _log_uniform(rng, *DRAFTING_MS)
        self._acceptance = float(rng.uniform(*ACCEPTANCE))
        self._spread = float(rng.uniform(0.0, 0.8))
        self._jitter = float(rng.uniform(0.0, 0.4))
        self._model = str(rng.choice(["fixed", "positional", "markov"]))
        self._co_located = None if rng.random() < NO_CO_LOCATED_SHARE else float(rng.uniform(*CO_LOCATED_ACCEPTANCE))

    def tier(self, number: int, workload: WorkloadConfig) -> DrafterTier:
        rng = self._rng
        rtt_ms, drafting_ms = self._near(self._rtt_ms, RTT_MS), self._near(self._drafting_ms, DRAFTING_MS)
        rate = float(np.clip(self._acceptance + 0.25 * self._spread * rng.standard_normal(), *ACCEPTANCE))
        co_located = None
        if self._co_located is not None:
            spread = 0.1 * self._spread * rng.standard_normal()
            its_rate = float(np.clip(self._co_located + spread, *CO_LOCATED_ACCEPTANCE))
            co_located = AcceptanceConfig("fixed", FixedConfig(its_rate))
        return DrafterTier(
            name=f"client{number:02}",
            latency=LatencyConfig("linear", linear=LinearConfig(base_s=drafting_ms / 1e3, token_s=0.0)),
            link=LinkConfig(rtt_ms, self._jitter),
            workload=workload,
            acceptance=_acceptance(self._model, rate, rng),
            co_located_acceptance=co_located,
        )

    def _near(self, centre: float, limits: tuple[float, float]) -> float:
        return float(np.clip(centre * math.exp(self._spread * self._rng.standard_normal()), *limits))


def _acceptance(model: str, rate: float, rng: np.random.Generator) -> AcceptanceConfig:
    """A model whose mean rate is about `rate`."""
    if model == "fixed":
        return AcceptanceConfig("fixed", fixed=FixedConfig(rate))
    if model == "positional":
        slope = float(rng.uniform(-0.03, 0.05))
        rates = tuple(float(np.clip(rate + slope * (depth - 2), 0.02, 0.98)) for depth in range(8))
        return AcceptanceConfig("positional", positional=PositionalConfig(rates))
    distance = float(rng.uniform(0.1, 0.5)) * min(rate, 1.0 - rate) * 2.0  # of the states' rates from the mean
    leaving = float(rng.uniform(0.03, 0.2))
    easy, hard = min(0.99, rate + distance), max(0.01, rate - distance)
    return AcceptanceConfig("markov", markov=MarkovConfig(easy, hard, leaving, leaving))


def _latency(rng: np.random.Generator, measured_share: float) -> LatencyConfig:
    base_s, knee = _log_uniform(rng, *STEP_BASE_S), _log_uniform(rng, *KNEE_TOKENS)
    measured = MEASURED[int(rng.integers(len(MEASURED)))]
    if rng.random() < measured_share:
        return LatencyConfig("aiconfigurator", aiconfigurator=measured)
    return LatencyConfig("linear", linear=LinearConfig(base_s=base_s, token_s=base_s / knee))


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return math.exp(float(rng.uniform(math.log(low), math.log(high))))
