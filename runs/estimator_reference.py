"""The acceptance estimators on a synthetic problem with a known optimum.

Eight clients with acceptance .9 .8 .7 .6 .5 .85 .4 .75 share 20 draft tokens per round; utility is the sum of log mean
committed tokens per round. Three minutes for all six tables; no model.

    python -m runs.estimator_reference steady change

table    reference: eq. 3 to 5 of the paper exactly (mean ratio over all drafted positions), with acceptance known or
         estimated. 20 runs of 6,000 rounds with a warm-up of 2,000: with eta = .002 the estimates of clients with short
         grants converge slowly. Without the warm-up no length reproduces that row (E|X - x*| is .65 over rounds 0 to
         2,000 instead of .26), and the spread of the utility (.02) needs 4,000 rounds.
steady   utility of the running mean over rounds 100 to 300, 100 runs, from verdicts only, and with eq. 3's ratios.
goodput  smoothing the expected goodput instead of the realised one; acceptance known, rounds 100 to 300.
change   at round 300 the acceptance rates are permuted in reverse order. Recovery is the first round at which the mean
         *expected* goodput mu(true a, S_t) of the last 20 rounds, all after the change, has 99% of the optimum's
         utility (20 is the minimum). 60 runs. The last column is the utility over rounds 60 to 200 after the change.
shapes   acceptance by position as measured on a small draft model (.27 .41 .44 .54 .70 .78), raised to powers from .15
         to 1 for eight clients: expected goodput over rounds 100 to 300 and 300 to 600.
prompts  a new prompt every 25 rounds with acceptance Beta(10 a, 10 (1 - a)), or constant a; 20 runs, ± standard error.
"""

import argparse
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from runs.synthetic.acceptance_trace import ACCEPTANCE_RATES, BUDGET, Floats, SyntheticTrace, curve_trace, ratio_trace
from runs.synthetic.play import ExpectedGoodput, FromRatios, FromVerdicts, PlayedRounds, SyntheticPolicy, play

from goodspeed.scheduling.optimum import Optimum, long_run_optimum
from goodspeed.scheduling.scheduler import ClientView

MEASURED_RATES = (0.27, 0.41, 0.44, 0.54, 0.70, 0.78)
POWERS = (0.15, 0.2, 0.3, 0.5, 0.7, 0.25, 1.0, 0.4)
CHANGE_AT = 300
WINDOW = 20
ROUNDS_PER_PROMPT = 25


def utility(goodput: Floats | NDArray[np.int64]) -> float:
    """The sum over clients of the log of the mean goodput; `goodput` is [rounds, clients]."""
    return float(np.log(goodput.mean(axis=0)).sum())


def known(beta: float) -> SyntheticPolicy:
    return SyntheticPolicy(f"known, beta {beta:g}", lambda i: FromRatios(beta, None, ACCEPTANCE_RATES[i]))


def from_ratios(beta: float, eta: float) -> SyntheticPolicy:
    return SyntheticPolicy(f"eq. 3 on ratios, beta {beta:g}, eta {eta:g}", lambda _: FromRatios(beta, eta))


def from_verdicts(name: str, beta: float = 0.1, eta: float = 0.05) -> SyntheticPolicy:
    steps = "" if name.startswith("adaptive") else f", beta {beta:g}, eta {eta:g}"
    return SyntheticPolicy(f"{name}{steps}", lambda _: FromVerdicts(name, beta, eta), is_exploring=True)


LIVE = (
    from_verdicts("paper", 0.5, 0.1),
    from_verdicts("censored"),
    from_verdicts("survival"),
    from_verdicts("adaptive"),
    from_verdicts("adaptive_survival"),
)
REFERENCE = (
    (known(0.5), "6.919 ± .022", "1.64"),
    (known(0.1), "7.002 ± .019", ".565"),
    (known(0.02), "7.011 ± .009", ".251"),
    (from_ratios(0.5, 0.1), "6.906 ± .012", "1.68"),
    (from_ratios(0.5, 0.5), "6.436 ± .086", "2.13"),
    (from_ratios(0.02, 0.1), "6.984 ± .030", ".397"),
    (from_ratios(0.02, 0.002), "7.013 ± .010", ".261"),
)


def steady_rates(num_rounds: int) -> Floats:
    return np.tile(ACCEPTANCE_RATES, (num_rounds, 1))


def optimum() -> Optimum:
    return long_run_optimum([ClientView(rate, 1.0) for rate in ACCEPTANCE_RATES], BUDGET)


def show_table(num_runs: int = 20, num_rounds: int = 6000, warm_up: int = 2000) -> None:
    best = optimum()
    print(f"\noptimum: {best.utility:.3f}, x* = {np.round(best.goodputs, 3)}, gap {best.gap:.1e}")
    traces = (ratio_trace(steady_rates(num_rounds), seed) for seed in range(num_runs))
    utilities: list[list[float]] = [[] for _ in REFERENCE]
    distances: list[list[float]] = [[] for _ in REFERENCE]
    starved: list[list[float]] = [[] for _ in REFERENCE]
    for trace in traces:
        for row, (policy, _, _) in enumerate(REFERENCE):
            played = play(policy, trace)
            utilities[row].append(utility(played.committed[warm_up:]))
            distances[row].append(float(np.linalg.norm(played.smoothed[warm_up:] - best.goodputs, axis=1).mean()))
            starved[row].append(float((played.grants[warm_up:] == 0).mean()))
    print("\n| acceptance | U(mean x) | reference | E of the distance of X to x* | reference | S = 0 |")
    print("|---|---|---|---|---|---|")
    for row, (policy, u, distance) in enumerate(REFERENCE):
        print(
            f"| {policy.name} | {spread(utilities[row])} | {u} | {np.mean(distances[row]):.3f} | {distance} "
            f"| {100 * np.mean(starved[row]):.0f}% |"
        )


def show_steady(num_runs: int = 100) -> None:
    print(
        "\n| estimator | U of the running mean, rounds 100 to 300 | standard error | U of the mean expected goodput |"
    )
    print("|---|---|---|---|")
    traces = [ratio_trace(steady_rates(300), seed) for seed in range(num_runs)]
    for policy in (known(0.1), from_ratios(0.5, 0.1), *LIVE):
        played_rounds = [play(policy, trace) for trace in traces]
        realised = [utility(played.committed[100:]) for played in played_rounds]
        expected = [
            utility(expected_goodput(played, trace)[100:]) for played, trace in zip(played_rounds, traces, strict=True)
        ]
        print(f"| {policy.name} | {spread(realised)} | {standard_error(realised):.3f} | {spread(expected)} |")


def show_goodput(num_runs: int = 60) -> None:
    print(
        "\n| weight of the latest round | realised goodput (eq. 4): U of the mean expected goodput | expected goodput |"
    )
    print("|---|---|---|")
    traces = [ratio_trace(steady_rates(300), seed) for seed in range(num_runs)]
    for step in (0.5, 0.2, 0.1, 0.02):
        pair = known(step), SyntheticPolicy("", partial(_expected, step))
        cells = [[utility(expected_goodput(play(policy, trace), trace)[100:]) for trace in traces] for policy in pair]
        print(f"| {step} | {' | '.join(spread(cell) for cell in cells)} |")


def _expected(step: float, client: int) -> ExpectedGoodput:
    return ExpectedGoodput(step, ACCEPTANCE_RATES[client])


def show_change(num_runs: int = 60) -> None:
    rates = steady_rates(CHANGE_AT + 200)
    rates[CHANGE_AT:] = rates[CHANGE_AT:, ::-1]
    target = 0.99 * optimum().utility
    print(f"\nrecovery: utility of {target:.3f} or more over {WINDOW} rounds")
    print("\n| estimator | rounds to recovery: mean ± standard error | 95% of runs | U over rounds 60 to 200 after |")
    print("|---|---|---|---|")
    traces = [ratio_trace(rates, 10_000 + seed) for seed in range(num_runs)]
    for policy in (from_ratios(0.5, 0.1), *LIVE):
        after = [expected_goodput(play(policy, trace), trace)[CHANGE_AT:] for trace in traces]
        rounds = [rounds_to_recovery(goodput, target) for goodput in after]
        settled = [utility(goodput[60:]) for goodput in after]
        print(
            f"| {policy.name} | {np.mean(rounds):.1f} ± {standard_error(rounds):.1f} "
            f"| {np.quantile(rounds, 0.95):.0f} | {spread(settled)} |"
        )


def show_shapes(num_runs: int = 60) -> None:
    rates = np.array((*MEASURED_RATES, *[MEASURED_RATES[-1]] * (BUDGET - len(MEASURED_RATES))))
    curves = np.cumprod(rates[None, :] ** np.array(POWERS)[:, None], axis=1)  # [clients, BUDGET]
    best = long_run_optimum([ClientView(0.9, 1.0, survival=tuple(curve)) for curve in curves], BUDGET)
    print(f"\noptimum: {best.utility:.4f}")
    print("\n| estimator | rounds 100 to 300: below the optimum | rounds 300 to 600 |")
    print("|---|---|---|")
    traces = [curve_trace(np.tile(curves, (600, 1, 1)), seed) for seed in range(num_runs)]
    for policy in LIVE:
        goodputs = [expected_goodput(play(policy, trace), trace) for trace in traces]
        early, late = (
            [best.utility - utility(goodput[a:b]) for goodput in goodputs] for a, b in ((100, 300), (300, 600))
        )
        print(f"| {policy.name} | {spread(early, 4)} | {spread(late, 4)} |")


def show_prompts(num_runs: int = 20) -> None:
    varying = [prompt_trace(600, seed) for seed in range(num_runs)]
    equal = [ratio_trace(steady_rates(600), seed) for seed in range(num_runs)]
    print("\n| estimator | varying prompts, not notified | notified | equal prompts, not notified | notified |")
    print("|---|---|---|---|---|")
    for policy in (from_verdicts("censored"), *LIVE[-2:]):
        notified = replace(policy, rounds_per_prompt=ROUNDS_PER_PROMPT)
        cells = [
            [utility(expected_goodput(play(variant, trace), trace)[100:]) for trace in traces]
            for traces in (varying, equal)
            for variant in (policy, notified)
        ]
        print(
            f"| {policy.name} | {' | '.join(f'{np.mean(cell):.3f} ± {standard_error(cell):.3f}' for cell in cells)} |"
        )


def prompt_trace(num_rounds: int, seed: int) -> SyntheticTrace:
    rates = np.array(ACCEPTANCE_RATES)
    num_prompts = -(-num_rounds // ROUNDS_PER_PROMPT)
    drawn = np.random.default_rng(20_000 + seed).beta(10 * rates, 10 * (1 - rates), size=(num_prompts, len(rates)))
    return ratio_trace(np.repeat(drawn.clip(0.02, 0.98), ROUNDS_PER_PROMPT, axis=0)[:num_rounds], seed)


def expected_goodput(played: PlayedRounds, trace: SyntheticTrace) -> Floats:
    return trace.expected_tokens(played.grants)


def rounds_to_recovery(goodput: Floats, target: float) -> int:
    """See `change` above; the number of rounds if it never recovers."""
    for end in range(WINDOW, len(goodput) + 1):
        if utility(goodput[end - WINDOW : end]) >= target:
            return end
    return len(goodput)


def standard_error(values: list[float] | list[int]) -> float:
    return float(np.std(values, ddof=1) / np.sqrt(len(values)))


def spread(values: list[float], digits: int = 3) -> str:
    """Mean ± standard deviation over the runs."""
    return f"{np.mean(values):.{digits}f} ± {np.std(values, ddof=1):.{digits}f}"


TABLES = {
    "table": show_table,
    "steady": show_steady,
    "goodput": show_goodput,
    "change": show_change,
    "shapes": show_shapes,
    "prompts": show_prompts,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", default=list(TABLES), help=f"tables to compute: {', '.join(TABLES)}")
    for name in parser.parse_args().tables:
        print(f"\n== {name}", flush=True)
        TABLES[name]()


if __name__ == "__main__":
    main()
