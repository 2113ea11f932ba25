"""What could be had beyond run-ahead: a model of one stream whose drafts take 10 ms a token.

    python -m runs.pipelined_rounds

Columns are tokens per second, each with its best window of 1 to 12 tokens:

- none: the drafter drafts after the verdict. run-ahead: as `drafter/core/run_ahead.py` does it.
- branch: run-ahead that also drafts for a rejection at the least sure position, with the second-best token there. It
  drafts the likelier of this and the next proposal first. The second-best token is right in half of these rejections,
  which is generous.
- streamed: more than one round under way, at its best. Drafted tokens leave one by one, without end. The verifier
  starts a step as soon as it has a token of the right prefix, and verifies all that it has. After a rejection the
  drafter starts anew when it hears of it. No digests, no cancellations and no budget are counted.
- target-only; local: rounds at the verifier with co-located drafts of which 0.7 tokens are accepted, as measured.

A token's acceptance is drawn from a Beta distribution of the given mean with a + b = 1.5, like the confidences of
hybrids, and the drafter knows it. 20,000 rounds of each kind, seed 0; half a minute; no model.
"""

import argparse
import itertools
from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

DRAFT_S: Final = 0.010
RTTS_S: Final = (0.020, 0.050)
STEPS_S: Final = (0.020, 0.007)
RATES: Final = (0.6, 0.8, 0.9)
WINDOWS: Final = range(1, 13)
NUM_ROUNDS: Final = 20_000
SPREAD: Final = 1.5
SECOND_RIGHT: Final = 0.5
"""Pr(the second-best token is the target's | the best is not)."""
LOCAL_ACCEPTED: Final = 0.7

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


class Rounds:
    """Random rounds with a window: the tokens of the proposals, and the guess at the token after them."""

    def __init__(self, rate: float, window: int) -> None:
        rng = np.random.default_rng(0)
        shape = NUM_ROUNDS, window + 1
        self.confidences: Floats = rng.beta(SPREAD * rate, SPREAD * (1.0 - rate), shape)  # [rounds, window + 1]
        self.is_right: Bools = rng.random(shape) < self.confidences
        self.is_second_right: Bools = rng.random(NUM_ROUNDS) < SECOND_RIGHT
        self.window = window

    @property
    def num_accepted(self) -> npt.NDArray[np.int64]:
        num_accepted: npt.NDArray[np.int64] = np.cumprod(self.is_right[:, :-1], axis=1).sum(axis=1)
        return num_accepted

    @property
    def is_hit(self) -> Bools:
        return np.asarray(self.is_right.all(axis=1))


def none(rounds: Rounds, rtt_s: float, step_s: float) -> float:
    round_s = rounds.window * DRAFT_S + rtt_s + step_s
    return float((1.0 + rounds.num_accepted).mean() / round_s)


def run_ahead(rounds: Rounds, rtt_s: float, step_s: float) -> float:
    under_way_s = rtt_s + step_s
    whole_s = (rounds.window + 1) * DRAFT_S
    drafting_s = np.where(
        rounds.is_hit, max(0.0, whole_s - under_way_s), rounds.window * DRAFT_S + _rest_of_call_s(under_way_s, whole_s)
    )
    return float((1.0 + rounds.num_accepted).sum() / (under_way_s + drafting_s).sum())


def branch(rounds: Rounds, rtt_s: float, step_s: float) -> float:
    """The likelier of the two is drafted first, the other in the rest of the time."""
    under_way_s, window = rtt_s + step_s, rounds.window
    least = rounds.confidences[:, :-1].argmin(axis=1)
    index = np.arange(NUM_ROUNDS)
    before = np.where(np.arange(window) < least[:, np.newaxis], rounds.confidences[:, :-1], 1.0).prod(axis=1)
    branch_prob = before * (1.0 - rounds.confidences[index, least]) * SECOND_RIGHT
    hit_prob = rounds.confidences.prod(axis=1)
    is_branch_hit = (rounds.num_accepted == least) & rounds.is_second_right
    main_first = hit_prob >= branch_prob
    num_drafted = under_way_s / DRAFT_S  # the main line needs window + 1 tokens, the branch window
    num_main = np.where(main_first, num_drafted, num_drafted - window)
    num_branch = np.where(main_first, num_drafted - window - 1.0, num_drafted)
    saved = np.where(rounds.is_hit, np.clip(num_main - 1.0, 0.0, window), 0.0)
    saved = np.where(is_branch_hit, np.clip(num_branch, 0.0, window), saved)
    is_miss = ~(rounds.is_hit | is_branch_hit)
    wait_s = np.where(is_miss, _rest_of_call_s(under_way_s, (2 * window + 1) * DRAFT_S), 0.0)
    round_s = under_way_s + (window - saved) * DRAFT_S + wait_s
    return float((1.0 + rounds.num_accepted).sum() / round_s.sum())


def streamed(rate: float, rtt_s: float, step_s: float) -> float:
    """From one rejection to the next: n right tokens; each step takes those that have arrived."""
    rng = np.random.default_rng(0)
    num_tokens, total_s = 0, 0.0
    for _ in range(NUM_ROUNDS // 4):
        num_right = 0
        while rng.random() < rng.beta(SPREAD * rate, SPREAD * (1.0 - rate)):
            num_right += 1
        # Seconds since the rejection left the verifier; draft token i, of which num_right + 1 matter, arrives at:
        arrivals = rtt_s + DRAFT_S * np.arange(1, num_right + 2)
        now, num_verified = 0.0, 0
        while num_verified <= num_right:
            now = max(now, float(arrivals[num_verified])) + step_s
            num_arrived = int(np.searchsorted(arrivals, now - step_s, side="right"))
            # The target's own token equals the next draft token if that is right.
            num_verified = max(num_verified, num_arrived) + (num_arrived <= num_right)
        num_tokens += num_right + 1
        total_s += now + _rest_of_call_s(now, float("inf")) / 2.0
    return num_tokens / total_s


def best(strategy: Callable[[Rounds, float, float], float], rate: float, rtt_s: float, step_s: float) -> float:
    return max(strategy(Rounds(rate, window), rtt_s, step_s) for window in WINDOWS)


def _rest_of_call_s(under_way_s: float, whole_s: float) -> float:
    """How long the engine's call still takes when the verdict comes: half a token, unless all is drafted by then."""
    return DRAFT_S / 2.0 if under_way_s < whole_s else 0.0


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print("| step, ms | RTT, ms | acceptance | none | run-ahead | branch | streamed | target-only | local |")
    print("|---|---|---|---|---|---|---|---|---|")
    for step_s, rtt_s, rate in itertools.product(STEPS_S, RTTS_S, RATES):
        found = [
            *(best(strategy, rate, rtt_s, step_s) for strategy in (none, run_ahead, branch)),
            streamed(rate, rtt_s, step_s),
            1.0 / step_s,
            (1.0 + LOCAL_ACCEPTED) / step_s,
        ]
        shown = " | ".join(f"{value:.1f}" for value in found)
        print(f"| {step_s * 1e3:g} | {rtt_s * 1e3:g} | {rate} | {shown} |", flush=True)


if __name__ == "__main__":
    main()
