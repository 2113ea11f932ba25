"""Time-aware scheduling: goodput per second of time_aware, fixed and gradient over different links, in virtual time.

The verifier's core serves toy drafters with round trips of 5, 20, 50 and 80 ms and 20% jitter. One drafter (the nearest
or the farthest) takes `--slow-ms` per draft token, the others 0.1 ms. Acceptance rates come in four orders. Goodput is
committed tokens per second after a warm-up, as geometric mean over clients and cases relative to `fixed`, with 95%
intervals over seeds. `--varying`: confidences vary from token to token. `--optimum` searches the constant grants with
the highest utility. Five minutes, much longer with `--optimum`; no model.

    python -m runs.time_aware --engine cpu
    python -m runs.time_aware --engine gpu --optimum
"""

import argparse
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from goodspeed.stats.intervals import interval
from goodspeed.testing.varying_draft import VaryingDraft
from goodspeed.testing.virtual_verifier import VirtualDrafter, VirtualVerifier, open_request, unlimited_info
from goodspeed.verifier.core.core_config import ClientConfig, VerifierCoreConfig

RTTS_MS = (5.0, 20.0, 50.0, 80.0)
ORDERS = ((0.9, 0.75, 0.6, 0.5), (0.5, 0.6, 0.75, 0.9), (0.75, 0.5, 0.9, 0.6), (0.6, 0.9, 0.5, 0.75))
JITTER = 0.2
FAST_MS = 0.1
WARM_UP_S, MEASURED_S = 15.0, 40.0
SEARCH_S = 20.0
MAX_GRANT = 16
STEPS = (1, -1, 3, -3)
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class EngineCost:
    """A step takes base_ms + token_ms per token."""

    base_ms: float
    token_ms: float

    def step_s(self, num_tokens: int) -> float:
        return (self.base_ms + self.token_ms * num_tokens) / 1e3


ENGINES = {"cpu": EngineCost(14.0, 0.85), "gpu": EngineCost(20.0, 0.05)}


@dataclass(frozen=True)
class TimeAwareCase:
    """An engine, and one drafter for each acceptance rate; the round trips repeat."""

    engine: EngineCost
    acceptance_rates: tuple[float, ...]
    slow: int  # index of the slow drafter
    slow_ms: float
    is_varying: bool

    def verifier(self, config: VerifierCoreConfig, seed: int) -> tuple[VirtualVerifier, list[VirtualDrafter]]:
        """A verifier and its drafters with endless streams."""
        rng = np.random.default_rng(seed)
        verifier = VirtualVerifier(config, unlimited_info(), self.engine.step_s)
        drafters = []
        for i, rate in enumerate(self.acceptance_rates):
            turnaround_s = jittered(RTTS_MS[i % len(RTTS_MS)] / 1e3, rng)
            drafting_s = (self.slow_ms if i == self.slow else FAST_MS) / 1e3
            drafts = VaryingDraft(rate, 100 * seed + i) if self.is_varying else rate
            drafters.append(VirtualDrafter(verifier, f"drafter {i}", drafts, turnaround_s, drafting_s))
            drafters[-1].open(open_request(1, prompt=(i, seed % 250, 2), max_tokens=500_000))
        return verifier, drafters


def jittered(turnaround_s: float, rng: np.random.Generator) -> Callable[[], float]:
    """Log-normal samples with this mean."""
    sigma = math.sqrt(math.log1p(JITTER**2))
    return lambda: turnaround_s * math.exp(sigma * float(rng.standard_normal()) - sigma * sigma / 2)


def goodputs(case: TimeAwareCase, config: VerifierCoreConfig, seed: int) -> Floats:
    """[clients]: committed tokens per second."""
    verifier, drafters = case.verifier(config, seed)
    verifier.run(WARM_UP_S)
    before = np.array([drafter.num_committed for drafter in drafters])
    verifier.run(MEASURED_S)
    found: Floats = (np.array([drafter.num_committed for drafter in drafters]) - before) / MEASURED_S
    return found


def stationary(grants: Sequence[int], budget: int) -> VerifierCoreConfig:
    """A config with constant grants; a batch holds the budget."""
    clients = tuple(ClientConfig(f"drafter {i}", 1.0, grant, grant) for i, grant in enumerate(grants))
    return VerifierCoreConfig(
        scheduler="gradient", draft_selection="arrival", budget=budget, overcommit=float(len(grants)), clients=clients
    )


def stationary_utility(case: TimeAwareCase, grants: Sequence[int], budget: int) -> float:
    """Mean log of rounds per second * expected tokens per round, which has less noise than counted tokens."""
    verifier, _ = case.verifier(stationary(grants, budget), seed=1000)
    verifier.run(SEARCH_S)
    clients = verifier.core.stats().clients
    mean_proposed = [
        client.num_proposed / max(1, client.num_rounds) for client in clients
    ]  # grants as limited by the budget
    tokens = [(1 - a ** (s + 1)) / (1 - a) for a, s in zip(case.acceptance_rates, mean_proposed, strict=True)]
    return float(np.mean(np.log([c.num_rounds * mu / SEARCH_S for c, mu in zip(clients, tokens, strict=True)])))


def best_stationary(case: TimeAwareCase, budget: int, start: Sequence[int]) -> tuple[int, ...]:
    """Coordinate search until no change of a single grant increases the utility."""
    best, utility = tuple(start), stationary_utility(case, start, budget)
    is_improving = True
    while is_improving:
        is_improving = False
        for i, step in itertools.product(range(len(best)), STEPS):
            candidate = (*best[:i], best[i] + step, *best[i + 1 :])
            if 0 <= candidate[i] <= MAX_GRANT and (found := stationary_utility(case, candidate, budget)) > utility:
                best, utility, is_improving = candidate, found, True
    return best


def cases(args: argparse.Namespace) -> Iterator[TimeAwareCase]:
    for order, slow in itertools.product(ORDERS[: args.orders], (0, len(RTTS_MS) - 1)):
        yield TimeAwareCase(
            ENGINES[args.engine], order * (args.clients // len(order)), slow, args.slow_ms, args.varying
        )


def mean_grants(case: TimeAwareCase, budget: int) -> list[int]:
    """The mean grants of time_aware, rounded: the start of the search."""
    verifier, _ = case.verifier(VerifierCoreConfig(draft_selection="arrival", budget=budget), seed=1000)
    verifier.run(SEARCH_S)
    return [round(client.num_proposed / client.num_rounds) for client in verifier.core.stats().clients]


def main() -> None:
    args = _parser().parse_args()
    common = {"batching": args.batching, "estimator": args.estimator, "eta": args.eta, "budget": args.budget}
    schedulers = ("fixed", "gradient", "time_aware")
    configs = {name: VerifierCoreConfig(scheduler=name, draft_selection="arrival", **common) for name in schedulers}
    configs["gradient, by value"] = VerifierCoreConfig(scheduler="gradient", time_price=0.25, overcommit=1.5, **common)
    for price in (0.0, 1.0):
        name = f"time_aware, by value, price {price:g}"
        configs[name] = VerifierCoreConfig(time_price=price, **common)
    logs: dict[str, list[Floats]] = {name: [] for name in (*configs, "best stationary")}  # [cases][seeds, clients]
    for case in cases(args):
        arms = dict(configs)
        if args.optimum:
            found = best_stationary(case, args.budget, mean_grants(case, args.budget))
            arms["best stationary"] = stationary(found, args.budget)
            print(f"{case.acceptance_rates}, slow {case.slow}: best stationary grants {found}", flush=True)
        for name, config in arms.items():
            logs[name].append(np.log([goodputs(case, config, seed) for seed in range(args.seeds)]))
    report({name: np.array(found) for name, found in logs.items() if found})


def report(logs: dict[str, Floats]) -> None:
    """Print the table; logs: [cases, seeds, clients] of each arm."""
    print("| scheduler | relative to fixed | relative to gradient | by case | worst client |\n|---|---|---|---|---|")
    for name, values in logs.items():
        by_client = np.exp((values - logs["fixed"]).mean(axis=1))
        by_case = " ".join(f"{ratio:.2f}" for ratio in np.exp((values - logs["fixed"]).mean(axis=(1, 2))))
        ratios = " | ".join(shown(values - logs[other]) for other in ("fixed", "gradient"))
        print(f"| {name} | {ratios} | {by_case} | {by_client.min():.2f} |")


def shown(log_ratios: Floats) -> str:
    """[cases, seeds, clients] -> geometric mean and its 95% interval over seeds."""
    found = interval(log_ratios.mean(axis=(0, 2)).tolist())
    return f"{math.exp(found.mean):.3f} ({math.exp(found.low):.3f}-{math.exp(found.high):.3f})"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=list(ENGINES), default="cpu")
    parser.add_argument("--clients", type=int, default=4, help="number of clients, a multiple of 4")
    parser.add_argument("--budget", type=int, default=24)
    parser.add_argument("--batching", default="deadline")
    parser.add_argument("--estimator", default="censored")
    parser.add_argument("--eta", type=float, default=0.02)
    parser.add_argument("--slow-ms", type=float, default=8.0)
    parser.add_argument("--orders", type=int, default=len(ORDERS), help="number of orders of acceptance rates")
    parser.add_argument("--varying", action="store_true", help="confidences that vary from token to token")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--optimum", action="store_true")
    return parser


if __name__ == "__main__":
    main()
