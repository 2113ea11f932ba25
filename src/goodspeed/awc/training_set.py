"""The rows and labels that the network learns from, split by scenario."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from goodspeed.awc.scores import ScoreConfig, labels
from goodspeed.awc.sweep_folder import SweepFolder
from goodspeed.windows.awc.features import HISTORY, INPUTS, InputScaling

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class LabelledRows:
    """Features of decisions with the window that would be best there."""

    features: Floats  # [rows, features], without scaling
    labels: Floats  # [rows] 1 (the local mode) to 12

    def scaling(self) -> InputScaling:
        """Mean 0 and standard deviation 1 of each input."""
        inputs = self.features.astype(np.float64).reshape(-1, HISTORY, len(INPUTS))[:, 0]
        scales = inputs.std(axis=0)
        return InputScaling(
            tuple(inputs.mean(axis=0).round(6).tolist()),
            tuple(np.where(scales > 1e-6, scales, 1.0).round(6).tolist()),
        )

    def scaled(self, scaling: InputScaling) -> Floats:
        """[rows, features] as the network reads them."""
        offsets, scales = (np.tile(np.array(each), HISTORY) for each in (scaling.offsets, scaling.scales))
        return np.asarray((self.features - offsets) / scales, dtype=np.float32)


def split(indices: Sequence[int], held_out_share: float, seed: int) -> tuple[list[int], list[int]]:
    """Scenarios to learn from, and those held out. A scenario stays where it is when the folder grows."""
    chances = {index: np.random.default_rng((seed, index)).random() for index in indices}
    held_out = [index for index in indices if chances[index] < held_out_share]
    return [index for index in indices if chances[index] >= held_out_share], held_out


def labelled_rows(folder: SweepFolder, indices: Sequence[int], score: ScoreConfig, mode: str) -> LabelledRows:
    """The rows of these scenarios, at least one. Raises ConfigError for an invalid file."""
    features, targets = [], []
    for index in indices:
        rows = folder.features(index)
        features.append(rows.features)
        targets.append(labels(folder.answers(index), score, mode)[rows.clients])
    return LabelledRows(np.concatenate(features), np.concatenate(targets).astype(np.float32))
