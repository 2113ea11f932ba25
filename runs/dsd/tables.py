"""The tables of cells: arms beside target-only mode, the oracle, the stack of policies, fused against distributed."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise

import numpy as np
from runs.dsd.arms import ARMS, STATIC_4, STATIC_WINDOWS, TARGET_ONLY
from runs.dsd.cells import Cell

from goodspeed.stats.intervals import interval
from goodspeed.stats.summary import jain_index, ratio

BySeed = Mapping[int, Cell]
STATICS = tuple(f"static {window}" for window in STATIC_WINDOWS)
ORACLE = "oracle static"


def print_tables(cells: Sequence[Cell]) -> None:
    """All tables of the families that occur."""
    for family in dict.fromkeys(cell.family for cell in cells):
        setups = grouped(cell for cell in cells if cell.family == family)
        print(f"\n## {family}: tokens/s beside target-only\n")
        print_ratios(setups, lambda cell: cell.tokens_per_s)
        print(f"\n## {family}: geometric mean of clients' goodputs beside target-only\n")
        print_ratios(setups, mean_goodput)
        print(f"\n## {family}: every arm\n")
        print_arms(setups)
    crossings = crossover(grouped(cell for cell in cells if cell.family in {"configurations", "round_trips"}))
    print(f"\nRound trip at which {STATIC_4} has the tokens/s of {TARGET_ONLY}, GSM8K with 600 drafters: {crossings}")


def grouped(cells: Iterable[Cell]) -> dict[str, dict[str, dict[int, Cell]]]:
    """By set-up, arm and seed."""
    setups: dict[str, dict[str, dict[int, Cell]]] = {}
    for cell in cells:
        setups.setdefault(cell.setup, {}).setdefault(cell.arm, {})[cell.seed] = cell
    for arms in setups.values():
        if oracle := oracle_static(arms):
            arms[ORACLE] = oracle
    return setups


def oracle_static(arms: Mapping[str, BySeed]) -> dict[int, Cell]:
    """For each seed the constant window that is best on the other seeds; empty without other seeds."""
    statics = {arm: arms[arm] for arm in STATICS if arm in arms}
    chosen: dict[int, Cell] = {}
    for seed in set.intersection(*(set(found) for found in statics.values())) if statics else ():

        def of_others(arm: str, seed: int = seed) -> float:
            return sum(math.log(cell.tokens_per_s) for other, cell in statics[arm].items() if other != seed)

        if len(next(iter(statics.values()))) > 1:
            chosen[seed] = statics[max(statics, key=of_others)][seed]
    return chosen


def mean_goodput(cell: Cell) -> float:
    """Geometric mean over the clients."""
    return math.exp(float(np.mean(np.log(list(cell.goodputs.values())))))


def poorest(cells: BySeed, base: BySeed) -> float:
    """The lowest ratio of a tier's goodput to its own in target-only mode: geometric mean over clients and seeds."""
    logs: dict[str, list[float]] = {}
    for seed in cells.keys() & base.keys():
        for client in cells[seed].goodputs.keys() & base[seed].goodputs.keys():
            value = math.log(cells[seed].goodputs[client] / base[seed].goodputs[client])
            logs.setdefault(client.rpartition("-")[0], []).append(value)
    return math.exp(min(float(np.mean(values)) for values in logs.values()))


def logs_beside(cells: BySeed, base: BySeed, of: Callable[[Cell], float]) -> list[float]:
    """Logarithms of ratios by common seed."""
    return [math.log(of(cells[seed]) / of(base[seed])) for seed in sorted(cells.keys() & base.keys())]


def ratio_text(logs: Sequence[float]) -> str:
    """Geometric mean with the 95% interval of Student's t, which needs two seeds."""
    if not logs:
        return ""
    found = interval(logs)
    mean = math.exp(found.mean)
    return f"{mean:.3f}" if len(logs) == 1 else f"{mean:.3f} ± {mean * (found.high - found.mean):.3f}"


def print_ratios(setups: Mapping[str, Mapping[str, BySeed]], of: Callable[[Cell], float]) -> None:
    """A row for each arm, a column for each set-up."""
    arms = list(dict.fromkeys(arm for found in setups.values() for arm in (*ARMS, *found) if arm in found))
    print("| arm | " + " | ".join(setups) + " |")
    print("|---|" + "---|" * len(setups))
    for arm in arms:
        texts = [
            ratio_text(logs_beside(found[arm], found[base_of(found)], of)) if arm in found else ""
            for found in setups.values()
        ]
        print(f"| {arm} | " + " | ".join(texts) + " |")


def base_of(arms: Mapping[str, BySeed]) -> str:
    """What an arm of this set-up is compared with."""
    return next(arm for arm in arms if arm.startswith(TARGET_ONLY))


def print_arms(setups: Mapping[str, Mapping[str, BySeed]]) -> None:
    """One row per set-up and arm."""
    print(
        "| set-up | arm | seeds | tokens/s | time per token, mean / p95 / p99, ms | first token p95, ms | poorest tier "
        "| Jain | remote: accepted, proposed per accepted | rounds: remote / co-located / target-only, % "
        "| tokens per step | busy, % |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|---|")
    for setup, arms in setups.items():
        for arm, found in arms.items():
            print(f"| {setup} | {arm} | " + " | ".join(arm_figures(list(found.values()), found, arms)) + " |")


def arm_figures(cells: Sequence[Cell], found: BySeed, arms: Mapping[str, BySeed]) -> list[str]:
    """The figures of an arm, over all its seeds."""
    tpots_ms = 1e3 * np.concatenate([cell.tpots_s for cell in cells])
    ttfts_ms = 1e3 * np.concatenate([cell.ttfts_s for cell in cells])
    proposed, accepted = (
        sum(values) for values in zip(*[(c.num_proposed, c.num_accepted) for c in cells], strict=True)
    )
    rounds = " / ".join(f"{100 * share:.0f}" for share in np.mean([cell.rounds for cell in cells], axis=0))
    tokens_per_s = interval([cell.tokens_per_s for cell in cells])
    spread = f" ± {tokens_per_s.high - tokens_per_s.mean:.0f}" if len(cells) > 1 else ""
    return [
        str(len(cells)),
        f"{tokens_per_s.mean:.0f}{spread}",
        f"{tpots_ms.mean():.1f} / {np.quantile(tpots_ms, 0.95):.1f} / {np.quantile(tpots_ms, 0.99):.1f}",
        f"{np.quantile(ttfts_ms, 0.95):.0f}",
        f"{poorest(found, arms[base_of(arms)]):.3f}",
        f"{np.mean([jain_index(list(cell.goodputs.values())) for cell in cells]):.3f}",
        f"{ratio(accepted, proposed):.2f}, {ratio(proposed, accepted):.2f}" if proposed else "",
        rounds,
        f"{np.mean([cell.tokens_per_step for cell in cells]):.1f}",
        f"{100 * np.mean([cell.busy for cell in cells]):.0f}",
    ]


def crossover(setups: Mapping[str, Mapping[str, BySeed]]) -> str:
    """The round trip at which static 4 falls below target-only mode, by linear interpolation, with its interval."""
    by_rtt = {rtt_ms: setups[name] for name in setups if (rtt_ms := rtt_ms_of(name)) is not None}
    seeds = [set(arms.get(STATIC_4, {})) & set(arms[TARGET_ONLY]) for arms in by_rtt.values()]
    common = sorted(set.intersection(*seeds)) if seeds else []
    crossings = [crossing for seed in common if (crossing := _crossing(by_rtt, seed)) is not None]
    if len(crossings) < max(2, len(common)):
        return f"none from {min(by_rtt, default=0.0):g} ms on in {len(common) - len(crossings)} of {len(common)} seeds"
    found = interval(crossings)
    return f"{found.mean:.1f} ± {found.high - found.mean:.1f} ms"


def _crossing(by_rtt: Mapping[float, Mapping[str, BySeed]], seed: int) -> float | None:
    """Of one seed; None: static 4 is not above target-only mode, or not below it anywhere."""
    points = [
        (rtt_ms, math.log(arms[STATIC_4][seed].tokens_per_s / arms[TARGET_ONLY][seed].tokens_per_s))
        for rtt_ms, arms in sorted(by_rtt.items())
    ]
    for (low, above), (high, below) in pairwise(points):
        if above >= 0.0 > below:
            return low + (high - low) * above / (above - below)
    return None


def rtt_ms_of(name: str) -> float | None:
    """The round trip of a set-up of GSM8K with 600 drafters; None of others."""
    dataset, drafters, rtt, *change = name.split(", ")
    if (dataset, drafters) != ("GSM8K", "600 drafters") or change:
        return None
    return float(rtt.removesuffix(" ms"))
