"""The configuration of `goodspeed awc train`. It does not import torch."""

from goodspeed.awc.scores import ScoreConfig
from goodspeed.config import config_dataclass, option, table
from goodspeed.windows.awc.features import INPUTS
from goodspeed.windows.awc.network import HIDDEN
from goodspeed.windows.awc.policy import LOCAL_MODES


@config_dataclass
class ScheduleConfig:
    """The network and the schedule of its training. Loss, optimiser and epochs are the paper's."""

    epochs: int = option(100, "passes over the rows", ge=1)
    batch: int = option(512, "rows of an update", ge=1)
    learning_rate: float = option(0.002, "learning rate of AdamW; it falls to 0 along a cosine", gt=0.0)
    weight_decay: float = option(0.01, "weight decay of AdamW", ge=0.0)
    hidden: int = option(HIDDEN, "hidden width", ge=1, le=1024)
    without: str = option("", "input that is left out", choices=("", *INPUTS))
    seed: int = option(0, "seed of the initial weights and of the order of rows", ge=0)


@config_dataclass
class TrainConfig:
    """The scenarios to learn from, their labels, and the weights."""

    data: str = option("", "folder of `goodspeed awc collect`", is_required=True)
    out: str = option("awc_weights.npz", "file of the weights", is_required=True)
    mode: str = option("target_only", "mode without remote drafts that a window of 1 stands for", choices=LOCAL_MODES)
    held_out_share: float = option(0.2, "share of scenarios that are held out", gt=0.0, lt=1.0)
    split_seed: int = option(0, "seed of the choice of held-out scenarios", ge=0)
    half: int = option(0, "1 or 2: learn from one half of the other scenarios only; 0: from all", ge=0, le=2)
    score: ScoreConfig = table(ScoreConfig)
    schedule: ScheduleConfig = table(ScheduleConfig)
