"""The configuration of `goodspeed tune collect` and `goodspeed tune distil`. It does not import torch."""

from goodspeed.config import config_dataclass, option, table
from goodspeed.engine.target_config import DEVICES, DTYPES, TargetConfig
from goodspeed.errors import ConfigError

LOSS_NAMES = ("forward_kl", "reverse_kl", "total_variation", "likeliest")
"""The names of goodspeed.tuning.train.losses.LOSSES, which need torch."""


@config_dataclass
class CollectConfig:
    """The target, the prompts and the data set that its answers form."""

    out: str = option("", "folder of the data set; an interrupted run continues there", is_required=True)
    prompts: tuple[str, ...] = option((), "JSONL files of prompts, or domains of `goodspeed bench`")
    traffic_logs: tuple[str, ...] = option((), "traffic logs of drafters, whose answers are scored", was=("recorded",))
    generated_prompts: int = option(
        0, "prompts that the target generates itself, by sampling the user's turn", ge=0, was=("write",)
    )
    temperatures: tuple[float, ...] = option(
        (), "temperatures at which an answer is sampled, in addition to the greedy one", gt=0.0, le=100.0
    )
    max_tokens: int = option(256, "maximum length of an answer, in tokens", ge=1)
    max_prompt: int = option(1024, "longer prompts, in tokens, are left out", ge=1)
    top_k: int = option(64, "log-probabilities stored at every position", ge=1)
    seed: int = option(0, "seed of the sampling and of the order of prompts", ge=0)
    split: str = option("train", "purpose of the data set: train, validation, test or another name")
    streams: int = option(64, "answers that are generated at once", ge=1)
    shard_answers: int = option(32, "answers that are written together; an interruption loses fewer", ge=1)
    target: TargetConfig = table(TargetConfig)

    def __post_init__(self) -> None:
        if not (self.prompts or self.traffic_logs or self.generated_prompts):
            raise ConfigError("prompts, traffic_logs and generated_prompts are empty, expected at least one of them")


@config_dataclass
class StudentConfig:
    """The initial weights of a student and the parts of it that learn."""

    init: str = option("layers", "layers: layers of the target; fresh: random weights; or the folder of a checkpoint")
    layers: tuple[int, ...] = option(
        (0, 1), "layers of the target that the student starts from", ge=0, is_required=True
    )
    hidden_size: int = option(256, "fresh: hidden size; a multiple of 64", ge=64)
    intermediate_size: int = option(768, "fresh: intermediate size of the MLP", ge=1)
    num_layers: int = option(4, "fresh: number of layers", ge=1)
    vocabulary: int = option(0, "rows of the output head: the most frequent tokens of the answers; 0: all", ge=0)
    mlp_width: int = option(0, "units of every MLP: those with the largest activations; 0: all", ge=0)
    train_head: bool = option(True, "train the output head; false: it stays the target's")
    train_embedding: bool = option(False, "train the embedding")
    lora_rank: int = option(0, "rank of LoRA updates to the layers' matrices; 0: train the matrices", ge=0)

    def __post_init__(self) -> None:
        if self.hidden_size % 64:
            raise ConfigError(f"hidden_size is {self.hidden_size}, expected a multiple of 64")


@config_dataclass
class DistilConfig:
    """The data, the loss and the schedule of a distillation."""

    data: str = option("", "folder of the data set to learn from", is_required=True)
    validation: str = option("", "folder of the data set on which acceptance is measured; empty: none")
    out: str = option(
        "", "folder of the run and, at its end, of the checkpoint; an interrupted run continues there", is_required=True
    )
    target: str = option("smollm2-135m-instruct", "target model")
    student: StudentConfig = table(StudentConfig)
    loss: str = option("forward_kl", "loss between the target's and the student's distribution", choices=LOSS_NAMES)
    likeliest_share: float = option(
        0.0, "share of the loss that is the cross-entropy of the target's most likely token", ge=0.0, le=1.0
    )
    on_policy: float = option(
        0.0, "share of updates on answers that the student generated and the target scored", ge=0.0, lt=1.0
    )
    on_policy_every: int = option(200, "updates between generations of on-policy answers", ge=1)
    on_policy_answers: int = option(64, "on-policy answers per generation", ge=1)
    on_policy_tokens: int = option(64, "maximum length of an on-policy answer, in tokens", ge=1)
    weights: str = option(
        "uniform",
        "weight of each position: uniform, or stored: as in the data set (`goodspeed tune weight`)",
        choices=("uniform", "stored"),
    )
    temperature: float = option(1.0, "temperature of the target's distribution; below 1: sharper", gt=0.0)
    top_k: int = option(32, "most likely tokens of the target that the loss uses", ge=1)
    steps: int = option(1000, "number of updates; may be changed when a run continues", ge=1)
    learning_rate: float = option(1e-3, "peak learning rate", gt=0.0)
    warmup: int = option(50, "updates until the peak learning rate", ge=0)
    decay: int = option(0, "last updates, in which the learning rate falls to zero along a cosine; 0: all", ge=0)
    weight_decay: float = option(0.01, "weight decay of AdamW, on matrices", ge=0.0)
    length: int = option(512, "tokens of a row, into which several answers are packed", ge=1)
    max_prompt: int = option(192, "last tokens of a prompt that the student reads", ge=1)
    rows: int = option(4, "rows per forward pass", ge=1)
    accumulate: int = option(1, "forward passes per update", ge=1)
    validate_every: int = option(200, "updates between validations", ge=1)
    validation_answers: int = option(96, "answers per validation", ge=1)
    checkpoint_every: int = option(200, "updates between checkpoints", ge=1)
    patience: int = option(0, "validations without a new best after which the run stops; 0: never", ge=0)
    seed: int = option(0, "seed of the order of answers and of random weights", ge=0)
    dtype: str = option(
        "auto", "number format of matrix products; auto: bf16 where the hardware multiplies it", choices=DTYPES
    )
    device: str = option("auto", "device; auto: cuda if there is one", choices=DEVICES)
    threads: int = option(0, "CPU threads; 0: one per core", ge=0, le=1024)

    def __post_init__(self) -> None:
        if self.max_prompt >= self.length:
            raise ConfigError(f"max_prompt is {self.max_prompt}, expected less than length {self.length}")
