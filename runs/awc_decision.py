"""What a decision of the window policy AWC costs: microseconds of processor time, the best of 20 repetitions.

    python -m runs.awc_decision

The network has random weights: its cost does not depend on them.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Final

from goodspeed.testing.awc_network import random_network
from goodspeed.windows.awc.features import AwcFeatures
from goodspeed.windows.awc.policy import AwcConfig, AwcWindow
from goodspeed.windows.window_policy import WindowView

NUM_CALLS: Final = 5_000
REPETITIONS: Final = 20
VIEW: Final = WindowView(16, 0.7, 0.03, 0.002, 0.02, tpot_s=0.03, queue_utilisation=0.9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    network = random_network(0)
    policy, features = AwcWindow(16, AwcConfig(), network), AwcFeatures(network.manifest.scaling)
    features.observe(VIEW, 4)
    vector = features.vector()
    print("| part | us |", "|---|---|", sep="\n")
    calls: dict[str, Callable[[], object]] = {
        "features: observe": partial(features.observe, VIEW, 4),
        "features: vector": features.vector,
        "network": partial(network.window, vector),
        "decision": partial(policy.next_window, VIEW),
    }
    for part, call in calls.items():
        print(f"| {part} | {min(_call_us(call) for _ in range(REPETITIONS)):.1f} |")


def _call_us(call: Callable[[], object]) -> float:
    """Processor time of a call: other processes of the machine do not count."""
    started = time.process_time()
    for _ in range(NUM_CALLS):
        call()
    return (time.process_time() - started) / NUM_CALLS * 1e6


if __name__ == "__main__":
    main()
