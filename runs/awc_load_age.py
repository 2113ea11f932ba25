"""AWC with reports of the verifier's load each 0.1, 1 and 10 seconds: is once a second too stale?

Four drafters at 40 ms are served all the time. Twelve others at 20 ms have their network for 3 s, then not for 3 s, and
so on: a load step every three seconds. A step takes 10 ms and 0.3 ms a token, 0.8 of the draft tokens are right, and
drafting takes 1 ms a token. Without `--weights` the network follows the load alone: 9 - 6 * queue utilisation, so its
windows are as sensitive to a stale report as can be. Goodputs are means over seeds with a 95% interval of the mean;
"diff" is the paired difference to reports each second. "changes": of the mode, per drafter. A minute; no model.

    python -m runs.awc_load_age --seeds 5
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from unittest import mock

import numpy as np

from goodspeed.simulator.result import RunResult
from goodspeed.simulator.scenario import Scenario, scenario_of
from goodspeed.simulator.world import simulate
from goodspeed.testing.awc_network import linear_network
from goodspeed.verifier.core import message_handler

INTERVALS_S: Final = (0.1, 1.0, 10.0)
USUAL_S: Final = message_handler.LOAD_INTERVAL_S
PERIOD_S: Final = 6.0
DURATION_S: Final = 36.0
ANSWER: Final = {
    "closed": {"think_s": 0.0},
    "prompt": {"distribution": "fixed", "fixed": {"num_tokens": 50}},
    "answer": {"distribution": "fixed", "fixed": {"num_tokens": 120}},
}


def scenario(window: dict[str, Any]) -> Scenario:
    """Resident drafters beside others that come and go."""
    drafter = {
        "latency": {"linear": {"base_s": 0.0, "token_s": 0.001}},
        "acceptance": {"fixed": {"rate": 0.8}},
        "workload": ANSWER,
        "window": window,
        "run_ahead": "never",
    }
    starts = np.arange(PERIOD_S / 2, DURATION_S, PERIOD_S).tolist()
    cuts = [{"start_s": at_s, "duration_s": PERIOD_S / 2} for at_s in starts]
    residents = {**drafter, "name": "resident", "count": 4, "link": {"rtt_ms": 40.0}}
    others = {**drafter, "name": "other", "count": 12, "link": {"rtt_ms": 20.0}, "cuts": cuts}
    verifier = {
        "latency": {"linear": {"base_s": 0.010, "token_s": 0.0003}},
        "core": {"scheduler": "fixed", "budget": 16 * 12, "draft_selection": "arrival"},
    }
    return scenario_of({"duration_s": DURATION_S, "drafters": [residents, others], "verifiers": [verifier]})


def goodput(run: RunResult, tier: str) -> float:
    """Tokens per second of finished answers of a tier's drafters."""
    return sum(answer.num_answer_tokens for answer in run.answers if answer.client.startswith(tier)) / run.simulated_s


def row(name: str, runs: Sequence[RunResult], usual: Sequence[RunResult]) -> str:
    cells = []
    for tier in ("resident", "other", ""):
        values = np.array([goodput(run, tier) for run in runs])
        differences = values / np.array([goodput(run, tier) for run in usual]) - 1.0
        cells.append(f"{values.mean():.1f} ± {half_width(values):.1f}")
        cells.append(f"{100 * differences.mean():+.1f}% ± {100 * half_width(differences):.1f}")
    num_changes = sum(answer.num_mode_changes for run in runs for answer in run.answers)
    minutes = sum(run.simulated_s for run in runs) / 60 * 16
    bytes_down = sum(run.num_bytes_down for run in runs) / sum(run.num_rounds for run in runs)
    return f"| {name} | {' | '.join(cells)} | {num_changes / minutes:.2f} | {bytes_down:.1f} |"


def half_width(values: np.ndarray[Any, np.dtype[np.float64]]) -> float:
    """Of a 95% interval of the mean, by the normal distribution."""
    return float(1.96 * values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds")
    parser.add_argument("--weights", default="", help="weights of AWC; empty: the network that follows the load alone")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        weights = args.weights or str(Path(folder) / "weights.npz")
        if not args.weights:
            linear_network(9.0, queue_utilisation=-6.0).save(Path(weights))
        by_name: dict[str, list[RunResult]] = {}
        for interval_s in INTERVALS_S:
            with mock.patch.object(message_handler, "LOAD_INTERVAL_S", interval_s):
                by_name[f"each {interval_s:g} s"] = all_runs({"policy": "awc", "awc": {"weights": weights}}, args.seeds)
        by_name["fixed 4"] = all_runs({"policy": "fixed", "max_tokens": 4}, args.seeds)
    print("| load | resident, tokens/s | diff | other | diff | all | diff | changes a minute | bytes down a round |")
    print("|---" * 9 + "|")
    for name, runs in by_name.items():
        print(row(name, runs, by_name[f"each {USUAL_S:g} s"]))


def all_runs(window: dict[str, Any], num_seeds: int) -> list[RunResult]:
    return [simulate(scenario(window), seed) for seed in range(num_seeds)]


if __name__ == "__main__":
    main()
