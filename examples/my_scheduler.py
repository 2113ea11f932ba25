"""A scheduler of your own, found by its entry point, without a fork of goodspeed.

    python examples/my_scheduler.py

In a package of yours, pyproject.toml has these two lines, and `pip install .` makes the scheduler known:

    [project.entry-points."goodspeed.scheduler"]
    best_first = "my_scheduler:BestFirst"

Then `goodspeed verifier --core.scheduler best_first` uses it, and so does every scenario.
"""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from goodspeed.scheduling.scheduler import Budget, ClientView
from goodspeed.simulator.scenario import scenario_of
from goodspeed.simulator.world import simulate


class BestFirst:
    """All tokens to the clients with the highest acceptance rate, after the floors."""

    def grants(self, clients: Sequence[ClientView], budget: Budget, rng: np.random.Generator) -> list[int]:
        del rng  # for schedulers that draw
        grants = [client.min_grant for client in clients]
        for i in sorted(range(len(clients)), key=lambda i: -clients[i].acceptance_rate):
            left = max(0, budget.tokens - sum(grants))
            grants[i] += min(left, clients[i].max_grant - grants[i])
        return grants


def goodputs(scheduler: str) -> dict[str, int]:
    """Tokens per client in a minute of a small scenario with a good and a poor draft."""
    verifier = {"core": {"scheduler": scheduler, "budget": 8}, "latency": {"linear": {"base_s": 0.05}}}
    drafts = {"latency": {"linear": {"base_s": 0.001}}, "link": {"rtt_ms": 5.0}}
    rates = {"good": 0.9, "poor": 0.6}
    tiers = [{"name": name, "acceptance": {"fixed": {"rate": rate}}, **drafts} for name, rate in rates.items()]
    run = simulate(scenario_of({"verifiers": [verifier], "drafters": tiers}), seed=0)
    tokens = dict.fromkeys(rates, 0)
    for answer in run.answers:
        tokens[answer.client.removesuffix("-0")] += answer.num_answer_tokens
    return tokens


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        info = Path(folder) / "my_scheduler-1.0.dist-info"  # what `pip install` would write
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my_scheduler\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[goodspeed.scheduler]\nbest_first = my_scheduler:BestFirst\n")
        sys.path.append(folder)
        for scheduler in ("gradient", "best_first"):
            print(scheduler, goodputs(scheduler))
