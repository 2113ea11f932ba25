"""Networks that stand in for AWC's: the policy and its features are the live ones, and each decision is recorded."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from goodspeed.awc.feature_rows import FeatureRows
from goodspeed.windows.awc.features import NUM_FEATURES, InputScaling
from goodspeed.windows.awc.network import AwcManifest

Floats = npt.NDArray[np.float32]
SETTLED_SHARE: Final = 0.4
"""First decisions of a run from which no rows are taken: measurements have not settled."""
SEGMENT: Final = 10
"""Decisions for which a client keeps a window."""
SPREAD: Final = 2
"""Tokens by which a client's window differs from that of the run."""
EXCURSION_SHARE: Final = 0.15
"""Segments of a run in the local mode in which a client has a short window instead."""
UNSCALED: Final = AwcManifest(InputScaling(), training_set="", commit="", label_score="")


class ExploringNetwork:
    """Its windows stay near one, and change from segment to segment, so that the history of a decision varies."""

    def __init__(self, centre: int, rng: np.random.Generator) -> None:
        """`centre` is 1 for the local mode."""
        self.manifest = UNSCALED
        self.vectors: list[Floats] = []
        """Of all decisions, without scaling."""
        self._centre = centre
        self._rng = rng
        self._window = float(centre)

    def window(self, vector: Floats) -> float:
        if len(self.vectors) % SEGMENT == 0:
            self._window = self._next_window()
        self.vectors.append(vector)
        return self._window

    def _next_window(self) -> float:
        rng = self._rng
        if self._centre == 1:
            return 1.0 if rng.random() >= EXCURSION_SHARE else float(rng.integers(2, 6))
        return float(max(1, self._centre + int(rng.integers(-SPREAD, SPREAD, endpoint=True))))


def sampled_rows(vectors_by_client: Mapping[int, Sequence[Floats]], num_rows: int) -> FeatureRows:
    """Up to `num_rows` decisions of each client, evenly from those after measurements have settled."""
    clients: list[int] = []
    rows: list[Floats] = []
    for client, vectors in vectors_by_client.items():
        first = int(SETTLED_SHARE * len(vectors))
        places = sorted({int(place) for place in np.linspace(first, len(vectors) - 1, num_rows)} if vectors else ())
        rows += [vectors[place] for place in places]
        clients += [client] * len(places)
    features = np.array(rows, dtype=np.float32).reshape(len(rows), NUM_FEATURES)
    return FeatureRows(np.array(clients, dtype=np.int32), features)
