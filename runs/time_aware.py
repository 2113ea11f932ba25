"""What counting seconds brings: goodput of time_aware beside fixed and gradient, over unlike links, in virtual time.

    python -m runs.time_aware --engine cpu          (from the repository's root)
    python -m runs.time_aware --engine gpu --optimum

The verifier's core with toy drafters: round trips of 5, 20, 50 and 80 ms with 20% jitter, one of them (the nearest, or
the furthest) drafting at `--slow-ms` a token and the others at 0.1, acceptance rates in four orders. Goodput is
committed tokens per second after a warm-up; the figures are geometric means over clients and cases beside the fixed
split, with 95% intervals over seeds. `--varying`: confidences vary from token to token. `--optimum` searches, in the
same virtual host, the stationary grants with the most utility.
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
QUICK_MS = 0.1
WARM_UP_S, MEASURED_S = 15.0, 40.0
SEARCH_S = 20.0
LONGEST = 16
STEPS = (1, -1, 3, -3)
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Engine:
    """A step takes base_ms + token_ms a token."""

    base_ms: float
    token_ms: float

    def step_s(self, num_tokens: int) -> float:
        return (self.base_ms + self.token_ms * num_tokens) / 1e3


ENGINES = {"cpu": Engine(14.0, 0.85), "gpu": Engine(20.0, 0.05)}


@dataclass(frozen=True)
class Case:
    """An engine, and a drafter for each acceptance rate, the round trips going round."""

    engine: Engine
    acceptance_rates: tuple[float, ...]
    slow: int  # which drafter
    slow_ms: float
    is_varying: bool

    def verifier(self, config: VerifierCoreConfig, seed: int) -> tuple[VirtualVerifier, list[VirtualDrafter]]:
        """With endless streams."""
        rng = np.random.default_rng(seed)
        verifier = VirtualVerifier(config, unlimited_info(), self.engine.step_s)
        drafters = []
        for i, rate in enumerate(self.acceptance_rates):
            gap_s = jittered(RTTS_MS[i % len(RTTS_MS)] / 1e3, rng)
            drafting_s = (self.slow_ms if i == self.slow else QUICK_MS) / 1e3
            drafts = VaryingDraft(rate, 100 * seed + i) if self.is_varying else rate
            drafters.append(VirtualDrafter(verifier, f"drafter {i}", drafts, gap_s, drafting_s))
            drafters[-1].open(open_request(1, prompt=(i, seed % 250, 2), max_tokens=500_000))
        return verifier, drafters


def jittered(gap_s: float, rng: np.random.Generator) -> Callable[[], float]:
    """Log-normal, of mean gap_s."""
    sigma = math.sqrt(math.log1p(JITTER**2))
    return lambda: gap_s * math.exp(sigma * float(rng.standard_normal()) - sigma * sigma / 2)


def goodputs(case: Case, config: VerifierCoreConfig, seed: int) -> Floats:
    """[clients]: committed tokens per second."""
    verifier, drafters = case.verifier(config, seed)
    verifier.run(WARM_UP_S)
    before = np.array([drafter.num_committed for drafter in drafters])
    verifier.run(MEASURED_S)
    found: Floats = (np.array([drafter.num_committed for drafter in drafters]) - before) / MEASURED_S
    return found


def stationary(grants: Sequence[int], budget: int) -> VerifierCoreConfig:
    """Every client has the same grant always; a batch holds the budget."""
    clients = tuple(ClientConfig(f"drafter {i}", 1.0, grant, grant) for i, grant in enumerate(grants))
    return VerifierCoreConfig(
        scheduler="gradient", draft_selection="arrival", budget=budget, overcommit=float(len(grants)), clients=clients
    )


def stationary_utility(case: Case, grants: Sequence[int], budget: int) -> float:
    """Mean log of rounds per second * expected tokens per round: less noise than counting tokens."""
    verifier, _ = case.verifier(stationary(grants, budget), seed=1000)
    verifier.run(SEARCH_S)
    clients = verifier.core.stats().clients
    judged = [client.num_proposed / max(1, client.num_rounds) for client in clients]  # what the budget left of grants
    tokens = [(1 - a ** (s + 1)) / (1 - a) for a, s in zip(case.acceptance_rates, judged, strict=True)]
    return float(np.mean(np.log([c.num_rounds * mu / SEARCH_S for c, mu in zip(clients, tokens, strict=True)])))


def best_stationary(case: Case, budget: int, begin: Sequence[int]) -> tuple[int, ...]:
    """Coordinate search until no single grant can be improved."""
    best, utility = tuple(begin), stationary_utility(case, begin, budget)
    is_moving = True
    while is_moving:
        is_moving = False
        for i, step in itertools.product(range(len(best)), STEPS):
            tried = (*best[:i], best[i] + step, *best[i + 1 :])
            if 0 <= tried[i] <= LONGEST and (found := stationary_utility(case, tried, budget)) > utility:
                best, utility, is_moving = tried, found, True
    return best


def cases(args: argparse.Namespace) -> Iterator[Case]:
    for order, slow in itertools.product(ORDERS[: args.orders], (0, len(RTTS_MS) - 1)):
        yield Case(ENGINES[args.engine], order * (args.clients // len(order)), slow, args.slow_ms, args.varying)


def mean_grants(case: Case, budget: int) -> list[int]:
    """What time_aware grants, rounded: where the search begins."""
    verifier, _ = case.verifier(VerifierCoreConfig(draft_selection="arrival", budget=budget), seed=1000)
    verifier.run(SEARCH_S)
    return [round(client.num_proposed / client.num_rounds) for client in verifier.core.stats().clients]


def main() -> None:
    args = _parser().parse_args()
    kept = {"batching": args.batching, "estimator": args.estimator, "eta": args.eta, "budget": args.budget}
    plain = ("fixed", "gradient", "time_aware")
    configs = {name: VerifierCoreConfig(scheduler=name, draft_selection="arrival", **kept) for name in plain}
    configs["gradient, late"] = VerifierCoreConfig(scheduler="gradient", time_price=0.25, overcommit=1.5, **kept)
    for price in (0.0, 1.0):
        name = f"time_aware, late, price {price:g}"
        configs[name] = VerifierCoreConfig(time_price=price, **kept)
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
    """logs: [cases, seeds, clients] of each arm."""
    print("| scheduler | beside fixed | beside gradient | by case | worst client beside fixed |\n|---|---|---|---|---|")
    for name, values in logs.items():
        by_client = np.exp((values - logs["fixed"]).mean(axis=1))
        by_case = " ".join(f"{ratio:.2f}" for ratio in np.exp((values - logs["fixed"]).mean(axis=(1, 2))))
        beside = " | ".join(shown(values - logs[other]) for other in ("fixed", "gradient"))
        print(f"| {name} | {beside} | {by_case} | {by_client.min():.2f} |")


def shown(log_ratios: Floats) -> str:
    """[cases, seeds, clients] -> geometric mean and its 95% interval over seeds."""
    found = interval(log_ratios.mean(axis=(0, 2)).tolist())
    return f"{math.exp(found.mean):.3f} ({math.exp(found.low):.3f}-{math.exp(found.high):.3f})"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=list(ENGINES), default="cpu")
    parser.add_argument("--clients", type=int, default=4, help="a multiple of 4")
    parser.add_argument("--budget", type=int, default=24)
    parser.add_argument("--batching", default="deadline")
    parser.add_argument("--estimator", default="censored")
    parser.add_argument("--eta", type=float, default=0.02)
    parser.add_argument("--slow-ms", type=float, default=8.0)
    parser.add_argument("--orders", type=int, default=len(ORDERS), help="only the first so many orders of acceptance")
    parser.add_argument("--varying", action="store_true", help="confidences that vary from token to token")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--optimum", action="store_true")
    return parser


if __name__ == "__main__":
    main()
