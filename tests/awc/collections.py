"""Small collections whose best window is known."""

from pathlib import Path

import numpy as np

from goodspeed.awc.collector import EXPLORED
from goodspeed.awc.feature_rows import FeatureRows
from goodspeed.awc.scenarios import SamplingConfig
from goodspeed.awc.sweep_folder import SCHEMA, CollectionManifest, SweepFolder
from goodspeed.awc.sweep_record import SweepRecord
from goodspeed.windows.awc.features import HISTORY

WINDOWS = (2, 4, 8)
ARMS = (*(f"remote {window}" for window in WINDOWS), "target_only")


def record(goodputs: dict[str, list[float]], duration_s: float = 10.0) -> SweepRecord:
    """One answer of 100 tokens by client and arm, with this goodput; 0: no answer."""
    arms = tuple(goodputs)
    answers = [
        (arm, client, goodput)
        for arm, name in enumerate(arms)
        for client, goodput in enumerate(goodputs[name])
        if goodput
    ]
    rates = np.array([goodput for _, _, goodput in answers], dtype=np.float32)
    return SweepRecord(
        duration_s=duration_s,
        num_clients=len(goodputs[arms[0]]),
        arms=arms,
        answer_arms=np.array([arm for arm, _, _ in answers], dtype=np.int32),
        answer_clients=np.array([client for _, client, _ in answers], dtype=np.int32),
        num_tokens=np.full(len(answers), 100, dtype=np.int32),
        latencies_s=100.0 / rates,
        ttfts_s=np.full(len(answers), 0.1, dtype=np.float32),
        tpots_s=1.0 / rates,
    )


def write_collection(path: Path, num_scenarios: int, sampling: SamplingConfig | None = None) -> SweepFolder:
    """Scenarios of one client, whose best window is 8 at an acceptance above .5 and 2 below, and 1 if it is far."""
    folder = SweepFolder(path)
    folder.open(CollectionManifest(SCHEMA, sampling or SamplingConfig(), WINDOWS))
    rng = np.random.default_rng(0)
    for index in range(num_scenarios):
        acceptance, rtt_s = rng.random(), rng.choice([0.01, 0.1])
        best = "target_only" if rtt_s > 0.05 else "remote 8" if acceptance > 0.5 else "remote 2"
        folder.save_answers(index, record({arm: [60.0 if arm == best else 40.0] for arm in ARMS}))
        now = np.stack([rng.random(20), np.full(20, acceptance), np.full(20, rtt_s), np.full(20, 0.02), np.full(20, 4)])
        features = np.tile(now.T, HISTORY).astype(np.float32)
        folder.save_features(index, EXPLORED, FeatureRows(np.zeros(20, dtype=np.int32), features))
    return folder
